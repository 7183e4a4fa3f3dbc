"""How many answers of a window have a label by now: a look, without joining what else the rows hold."""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_mlops.domain.dataset import CsvDialect
from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.prediction_log import (
    LABEL,
    MODEL_NAME,
    PREDICTED_AT,
    PREDICTION_ID,
    check_label_columns,
    check_log_columns,
)
from airflow_mlops.engines.duckdb.connection import DuckDbLimits, connect, literal, path_literal, reading, working
from airflow_mlops.engines.duckdb.sources import LocalSource, read_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShare:
    """How many answers there are, and how many of them have a label."""

    answers: int
    labelled: int

    @property
    def share(self) -> float:
        """The share that has one; 0 of no answers."""
        return self.labelled / self.answers if self.answers else 0.0


def count_labelled(
    log: Sequence[LocalSource],
    labels: Sequence[LocalSource],
    *,
    window: Window,
    model_name: str,
    limits: DuckDbLimits,
) -> LabelShare:
    """Count the answers of a model in a window, of all its versions, and those that have a label.

    :param log: at least one Parquet file.
    :raises DatasetError: when files lack the columns of their contract, or cannot be read.
    """
    with connect(limits) as connection, working(limits):
        answers = f"read_parquet([{', '.join(path_literal(file.path) for file in log)}], hive_partitioning = false)"
        with reading("The prediction log", log[0].path):
            check_log_columns(connection.sql(f"FROM {answers}").columns, log[0].uri)
        known = read_tables(connection, labels, CsvDialect(column_types={PREDICTION_ID: "VARCHAR"})) if labels else []
        for table in known:
            check_label_columns(table.columns, table.source.uri)
        bounds = " AND ".join(
            f"{PREDICTED_AT}::TIMESTAMPTZ {sign} TIMESTAMPTZ {literal(time.isoformat())}"
            for sign, time in ((">=", window.start), ("<", window.end))
        )
        ids = (
            f"SELECT DISTINCT {PREDICTION_ID}::VARCHAR AS id FROM {answers} "
            f"WHERE {MODEL_NAME}::VARCHAR = {literal(model_name)} AND {bounds}"
        )
        told = " UNION ".join(
            f"SELECT {PREDICTION_ID}::VARCHAR AS id FROM {table.relation} WHERE {LABEL} IS NOT NULL" for table in known
        )
        labelled = f"(SELECT count(*) FROM ids SEMI JOIN ({told}) USING (id))" if told else "0"
        query = f"WITH ids AS ({ids}) SELECT (SELECT count(*) FROM ids), {labelled}"
        ((answers, of_them),) = connection.execute(query).fetchall()
        return LabelShare(answers=int(answers), labelled=int(of_them))
