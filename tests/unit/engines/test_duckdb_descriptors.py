"""Descriptors of texts in SQL are Evidently's."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.drift.text import TextColumn
from airflow_mlops.engines.duckdb import DuckDbLimits
from airflow_mlops.engines.duckdb.descriptors import write_descriptors
from airflow_mlops.exceptions import InvalidInputError

TEXTS = TextColumn(column="c", contains=("Refund", "it's"), patterns={"order": "[A-Z]{2}.*[0-9]"}, is_json=True)
HARD = [
    "", " ", "One. Two? Three! Four", "e.g. this Mr. Smith said so. Yes", "a.b. c.d? e", "tab.\tand.\nnew.\x85line",
    "naïve café. Ünïcode. 東京。", "I asked for a Refund. it's late", "AB 12\n3", "AB123", '{"a": [1, 2]}',
    "[1,]", "[1, 2", '{"a": "x,]"}', "// no\n[1]", '["//"]', "NaN", '"a\\"b,}"', "1.", "no", "...? ? .",
    "x.\u00a0y.\u2003z", "🤦🏼. Yes. e\u0301",
]  # fmt: skip


def measure(folder: Path, texts: Sequence[str | None], column: TextColumn = TEXTS) -> dict[str, list[Any]]:
    pq.write_table(pa.table({"c": pa.array(texts, pa.string())}), folder / "c.parquet")
    write_descriptors([folder / "c.parquet"], column.descriptors, folder / "d.parquet", DuckDbLimits())
    return {name.removeprefix("c."): values for name, values in pq.read_table(folder / "d.parquet").to_pydict().items()}


def by_evidently(texts: Sequence[str]) -> dict[str, list[int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from evidently import Dataset
        from evidently.descriptors import Contains, IsValidJSON, RegExp, SentenceCount, TextLength, WordCount

        found = Dataset.from_pandas(
            pd.DataFrame({"c": list(texts)}),
            descriptors=[
                TextLength("c", alias="text_length"),
                WordCount("c", alias="word_count"),
                SentenceCount("c", alias="sentence_count"),
                IsValidJSON("c", alias="is_valid_json"),
                Contains("c", ["Refund"], alias="contains(Refund)"),
                Contains("c", ["it's"], alias="contains(it's)"),
                RegExp("c", "[A-Z]{2}.*[0-9]", alias="matches(order)"),
            ],
        ).as_dataframe()
    return {name: found[name].astype(int).tolist() for name in found.columns if name != "c"}


def test_hard_texts_have_the_descriptors_that_evidently_gives_them(tmp_path: Path) -> None:
    assert measure(tmp_path, HARD) == by_evidently(HARD)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.one_of(
            st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
            st.text(alphabet='aB.? \t\n,[]{}"1_', max_size=20),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_text_has_the_descriptors_that_evidently_gives_it(tmp_path: Path, texts: list[str]) -> None:
    assert measure(tmp_path, texts) == by_evidently(texts)


def test_a_missing_text_has_no_length_and_is_not_one_of_no_words(tmp_path: Path) -> None:
    assert {name: values[0] for name, values in measure(tmp_path, [None, "a"]).items()} == dict.fromkeys(
        measure(tmp_path, ["a"])
    )


def test_a_pattern_that_could_backtrack_for_years_takes_no_time(tmp_path: Path) -> None:
    column = TextColumn(column="c", patterns={"slow": "^(a+)+$"})
    assert measure(tmp_path, ["a" * 5_000 + "b"], column)["matches(slow)"] == [0]


@pytest.mark.parametrize(
    ("texts", "pattern", "reason"),
    [(["a"], "(?=a)a", "no look-around"), ([1], "a", "a column of texts")],
)
def test_what_cannot_be_measured_is_said(tmp_path: Path, texts: list[Any], pattern: str, reason: str) -> None:
    pq.write_table(pa.table({"c": texts}), tmp_path / "c.parquet")
    column = TextColumn(column="c", patterns={"p": pattern})
    with pytest.raises(InvalidInputError, match=rf"c\.text_length.* cannot be measured: .*{reason}"):
        write_descriptors([tmp_path / "c.parquet"], column.descriptors, tmp_path / "d.parquet", DuckDbLimits())
