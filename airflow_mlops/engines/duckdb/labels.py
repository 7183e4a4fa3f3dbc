"""Labels that arrive late find the answers of the prediction log that they belong to.

Both may be larger than memory: what does not fit is spilled. Of each answer the last label counts.
"""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops.domain.dataset import CsvDialect
from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.performance import AnswerCounts
from airflow_mlops.domain.prediction_log import (
    LABEL,
    LABELLED_AT,
    MODEL_NAME,
    MODEL_VERSION,
    PREDICTED_AT,
    PREDICTION,
    PREDICTION_ID,
    PROBABILITY,
    check_label_columns,
    check_log_columns,
)
from airflow_mlops.engines.duckdb.connection import (
    DuckDbLimits,
    connect,
    identifier,
    literal,
    path_literal,
    reading,
    working,
)
from airflow_mlops.engines.duckdb.sources import UNTYPED, LocalSource, read_tables
from airflow_mlops.exceptions import EvaluationError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_INTEGERS = frozenset(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")) | {
    "INTEGER",
    "UINTEGER",
}
_FLOATS = frozenset({"FLOAT", "DOUBLE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedAnswers:
    """The answers of one version, apart by whether they have a label. Both files have all columns of the log."""

    labelled: Path
    """With the column ``label``, of the same type as ``prediction``."""
    unlabelled: Path
    has_probability: bool
    counts: AnswerCounts


def join_labels(
    predictions: Sequence[Path],
    labels: Sequence[LocalSource],
    folder: Path,
    *,
    window: Window,
    model_name: str,
    model_version: str,
    limits: DuckDbLimits,
) -> JoinedAnswers:
    """Write the answers of a version to ``labelled.parquet`` and ``unlabelled.parquet`` in ``folder``.

    :param predictions: Parquet files of the prediction log.
    :param labels: CSV or Parquet files; none are no labels.
    :raises DatasetError: when files lack the columns of their contract, or cannot be read.
    :raises EvaluationError: when labels are texts and predictions are numbers, or the other way round.
    """
    with connect(limits) as connection, working(limits):
        join = _Join(connection, predictions, window, model_name, model_version)
        counts = join.find_labels(labels, join.count_answers())
        labelled, unlabelled = (join.write(folder / f"{name}.parquet", name) for name in ("labelled", "unlabelled"))
        return JoinedAnswers(
            labelled=folder / "labelled.parquet",
            unlabelled=folder / "unlabelled.parquet",
            has_probability=join.has_probability,
            counts=replace(counts, labelled=labelled, unusable=counts.rows - labelled - unlabelled),
        )


class _Join:
    def __init__(
        self,
        connection: "DuckDBPyConnection",
        predictions: Sequence[Path],
        window: Window,
        model_name: str,
        model_version: str,
    ) -> None:
        self.connection, self.window = connection, window
        self.model_name, self.model_version = model_name, model_version
        files = ", ".join(path_literal(file) for file in predictions)
        self.log = f"read_parquet([{files}], hive_partitioning = false)"
        with reading("The prediction log", predictions[0]):
            table = connection.sql(f"FROM {self.log}")
        self.types = {name: str(kind) for name, kind in zip(table.columns, table.types, strict=True)}
        check_log_columns(self.types, "The data of the window")
        self.value_type = _value_type("prediction", self.types[PREDICTION])
        self.has_probability = False

    def count_answers(self) -> AnswerCounts:
        """Make the table of the answers that are judged, and count the others."""
        bounds = " AND ".join(
            f"{PREDICTED_AT}::TIMESTAMPTZ {sign} TIMESTAMPTZ {literal(time.isoformat())}"
            for sign, time in ((">=", self.window.start), ("<", self.window.end))
        )
        inside = f"(SELECT * FROM {self.log} WHERE {bounds})"
        total = self._number(f"SELECT count(*) FROM {self.log}")
        with reading("The prediction log", Path()):
            made_by = self.connection.execute(
                f"SELECT {MODEL_NAME}::VARCHAR, {MODEL_VERSION}::VARCHAR, count(*) FROM {inside} GROUP BY ALL"
            ).fetchall()
        ours = (self.model_name, self.model_version)
        others = {
            f"version {version}" if name == self.model_name else f"{name} version {version}": rows
            for name, version, rows in made_by
            if (name, version) != ours
        }
        mine = (
            f"(FROM {inside} WHERE {MODEL_NAME}::VARCHAR = {literal(self.model_name)} "
            f"AND {MODEL_VERSION}::VARCHAR = {literal(self.model_version)})"
        )
        all_rows = sum(rows for name, version, rows in made_by if (name, version) == ours)
        self.connection.execute(
            f"CREATE TEMP TABLE repeated AS SELECT {PREDICTION_ID}::VARCHAR AS id, count(*) AS rows FROM {mine} "
            f"WHERE {PREDICTION_ID} IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
        )
        repeated = self._number("SELECT coalesce(sum(rows - 1), 0) FROM repeated")
        self.answers = mine
        if repeated:
            rank = f"row_number() OVER (PARTITION BY {PREDICTION_ID} ORDER BY {PREDICTED_AT})"
            self.answers = f"(FROM {mine} QUALIFY {PREDICTION_ID} IS NULL OR {rank} = 1)"
        self.connection.execute(
            f"CREATE TEMP TABLE known AS SELECT DISTINCT {PREDICTION_ID}::VARCHAR AS id FROM {inside}"
        )
        if PROBABILITY in self.types:
            self.has_probability = self._number(f"SELECT count({PROBABILITY}) FROM {mine}") > 0
        return AnswerCounts(
            rows=all_rows - repeated,
            other_versions=others,
            outside=total - sum(rows for *_, rows in made_by),
            repeated=repeated,
        )

    def find_labels(self, sources: Sequence[LocalSource], counts: AnswerCounts) -> AnswerCounts:
        """Make the table of the last label of each answer in the window, and count what is peculiar."""
        if not sources:
            self.connection.execute(f"CREATE TEMP TABLE labels (id VARCHAR, label {self.value_type})")
            return counts
        relation = self._label_relation(sources)
        with reading("The labels", sources[0].path):
            self.connection.execute(f"CREATE TEMP TABLE given AS SELECT * FROM {relation} SEMI JOIN known USING (id)")
            unknown = self._number(
                f"SELECT count(DISTINCT id) FROM {relation} ANTI JOIN known USING (id) WHERE id IS NOT NULL"
            )
        odd = 0
        if self.value_type == "DOUBLE":
            odd = self._number("SELECT count(*) FROM given WHERE NOT isfinite(label)")
        finite = "isfinite(label)" if self.value_type == "DOUBLE" else "label IS NOT NULL"
        self.connection.execute(f"""
            CREATE TEMP TABLE labels AS
            WITH told AS (FROM given WHERE {finite}),
            times AS (
                SELECT id, max(moment) AS moment, count(*) AS rows, min(label) <> max(label) AS changed
                FROM told GROUP BY id
            ),
            last AS (
                SELECT id, min(told.label) AS label, min(told.label) <> max(told.label) AS contradictory
                FROM told JOIN times USING (id) WHERE told.moment IS NOT DISTINCT FROM times.moment GROUP BY id
            )
            SELECT id, CASE WHEN NOT contradictory THEN label END AS label, contradictory, changed, rows
            FROM last JOIN times USING (id)
        """)
        (counted,) = self.connection.execute("""
            SELECT coalesce(sum(rows - 1) FILTER (NOT changed), 0), count(*) FILTER (changed AND NOT contradictory),
                count(*) FILTER (contradictory) FROM labels
        """).fetchall()
        return replace(
            counts,
            repeated_labels=int(counted[0]),
            changed_labels=int(counted[1]),
            contradictory_labels=int(counted[2]),
            odd_labels=odd,
            unknown_ids=unknown,
        )

    def _label_relation(self, sources: Sequence[LocalSource]) -> str:
        # An id is a text, whatever it looks like: 007 is not 7.
        tables = read_tables(self.connection, sources, CsvDialect(column_types={PREDICTION_ID: "VARCHAR"}))
        columns = tables[0].columns
        check_label_columns(columns, tables[0].source.uri)
        kind = columns[LABEL]
        if kind != UNTYPED:
            _check_same(kind, self.types[PREDICTION], tables[0].source.uri)
            if self.value_type == "BIGINT" and _value_type("label", kind) == "DOUBLE":
                self.value_type = "DOUBLE"
        at = f"{LABELLED_AT}::TIMESTAMPTZ" if LABELLED_AT in columns else "NULL::TIMESTAMPTZ"
        selects = [
            f"SELECT {PREDICTION_ID}::VARCHAR AS id, {LABEL}::{self.value_type} AS label, {at} AS moment "
            f"FROM {table.relation} WHERE {LABEL} IS NOT NULL"
            for table in tables
        ]
        return f"({' UNION ALL '.join(selects)})"

    def write(self, file: Path, which: str) -> int:
        """Write the usable answers with or without a label, in the order of time, and return how many they are."""
        said = f"a.{PREDICTION}::{self.value_type}"
        usable = f"isfinite({said})" if self.value_type == "DOUBLE" else f"a.{PREDICTION} IS NOT NULL"
        if self.has_probability:
            # DuckDB skips a comparison that holds for a Parquet file's least and greatest value, which are never NaN.
            usable += f" AND isfinite(a.{PROBABILITY}::DOUBLE) AND a.{PROBABILITY} BETWEEN 0 AND 1"
        kept = [f"a.{identifier(name)}" for name in self.types if name not in {PREDICTION, LABEL, LABELLED_AT}]
        kept.append(f"{said} AS {PREDICTION}")
        if which == "labelled":
            kept.append(f"labels.label AS {LABEL}")
        query = (
            f"COPY (SELECT {', '.join(kept)} FROM {self.answers} AS a "
            f"LEFT JOIN labels ON labels.id = a.{PREDICTION_ID}::VARCHAR "
            f"WHERE {usable} AND labels.label IS {'NOT ' if which == 'labelled' else ''}NULL "
            f"ORDER BY a.{PREDICTED_AT}, a.{PREDICTION_ID}) "
            f"TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)"
        )
        return self._number(query)

    def _number(self, query: str) -> int:
        ((number,),) = self.connection.execute(query).fetchall()
        return int(number)


def _value_type(what: str, kind: str) -> str:
    """Return the type in which predictions and labels are compared.

    :raises EvaluationError: when values of the type cannot be compared.
    """
    if kind in _INTEGERS or kind == "BOOLEAN":
        return "BIGINT"
    if kind in _FLOATS or kind.startswith("DECIMAL"):
        return "DOUBLE"
    if kind in {"VARCHAR", "UUID"} or kind.startswith("ENUM"):
        return "VARCHAR"
    msg = f"The column {what!r} has the type {kind}. Labels and predictions are numbers, texts or truth values."
    raise EvaluationError(msg)


def _check_same(label: str, prediction: str, uri: str) -> None:
    ours, theirs = _value_type("prediction", prediction), _value_type("label", label)
    if (ours == "VARCHAR") != (theirs == "VARCHAR"):
        msg = (
            f"The labels in {uri} are {label}, but the log's predictions are {prediction}: they cannot be compared. "
            f"Write both with one type."
        )
        raise EvaluationError(msg)
