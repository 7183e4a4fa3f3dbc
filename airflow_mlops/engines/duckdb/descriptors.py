"""Descriptors of texts as columns of numbers, in one scan: their drift is measured like that of any other."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from airflow_mlops.domain.drift.text import Descriptor, DescriptorKind
from airflow_mlops.engines.duckdb.connection import (
    DuckDbLimits,
    connect,
    identifier,
    literal,
    path_literal,
    working,
)
from airflow_mlops.exceptions import InvalidInputError

# RE2 knows ASCII only, where Python's classes mean Unicode.
_SPACE: Final = r"[\s\v\x1c-\x1f\x{85}\p{Z}]"
_WORD: Final = r"[\p{L}\p{N}_]"
_BLANK_STRINGS: Final = r'"(?:\\.|[^"\\])*"'
_NOT_JSON: Final = r",\s*[\]}]|/"
"""Commas before a closing bracket and comments, which DuckDB's reader of JSON forgives; outside of strings."""


def write_descriptors(
    files: Sequence[Path], descriptors: Sequence[Descriptor], file: Path, limits: DuckDbLimits
) -> None:
    """Write a Parquet file with a column for each descriptor and a row for each row of ``files``, in their order.

    A missing text has no length and no words: its descriptors are null.

    :raises InvalidInputError: when a column is not of texts, or RE2 refuses a pattern.
    """
    import duckdb

    relation = f"read_parquet([{', '.join(path_literal(part) for part in files)}], hive_partitioning = false)"
    columns = ", ".join(f"{_expression(item)} AS {identifier(item.name)}" for item in descriptors)
    with connect(limits) as connection, working(limits):
        try:
            connection.execute(
                f"COPY (SELECT {columns} FROM {relation}) TO {literal(str(file))} (FORMAT parquet, COMPRESSION lz4_raw)"
            )
        except (duckdb.InvalidInputException, duckdb.BinderException) as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            msg = (
                f"The descriptors {', '.join(item.name for item in descriptors)} cannot be measured: {reason} "
                f"They need a column of texts, and patterns in RE2's syntax, which has no look-around."
            )
            raise InvalidInputError(msg) from error


def _expression(descriptor: Descriptor) -> str:
    """Return the SQL of one descriptor, as Evidently 0.7 defines it."""
    text, argument = identifier(descriptor.column), literal(descriptor.argument)
    match descriptor.kind:
        case DescriptorKind.TEXT_LENGTH:
            return f"length({text})"
        case DescriptorKind.WORD_COUNT:
            return f"len(regexp_extract_all(regexp_replace({text}, '[^a-zA-Z ]+', '', 'g'), '[^ ]+'))"
        case DescriptorKind.SENTENCE_COUNT:
            # Evidently looks behind each space, which RE2 cannot: what its two exceptions hold is subtracted. No two
            # matches of one of these patterns overlap, and none is of both exceptions.
            ends, initials, title = rf"[.?]{_SPACE}", rf"{_WORD}\.{_WORD}[.?]{_SPACE}", rf"[A-Z][a-z]\.{_SPACE}"
            return f"1 + {_count(text, ends)} - {_count(text, initials)} - {_count(text, title)}"
        case DescriptorKind.IS_VALID_JSON:
            bare = f"""regexp_replace({text}, {literal(_BLANK_STRINGS)}, '""', 'gs')"""
            return f"(json_valid({text}) AND NOT regexp_matches({bare}, {literal(_NOT_JSON)}))::TINYINT"
        case DescriptorKind.CONTAINS:
            return f"contains({text}, {argument})::TINYINT"
        case DescriptorKind.REG_EXP:
            return f"regexp_matches({text}, {argument})::TINYINT"


def _count(text: str, pattern: str) -> str:
    return f"len(regexp_extract_all({text}, {literal(pattern)}))"
