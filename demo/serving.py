"""Production for the demo: a service that answers for a month of flights, and learns later which of them were late.

    python -m demo.serving MONTH.parquet --mlflow URI --log FOLDER --labels FOLDER

It asks the registry for the champion of the moment, as a service does when it starts, lets it answer, and writes each
answer to the prediction log. The labels, which a real service learns when the flights have landed, go to a dataset of
their own.
"""

import argparse
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_mlops.domain.job import PREDICTIONS, SCORE_CHANNEL, Job, JobCommand
from airflow_mlops.domain.job_end import require_success
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.engines.process import ProcessEngine
from airflow_mlops.prediction_log import PredictionLog

MODEL_NAME = "flight-delays"
SCORER = Path(__file__).parents[1] / "airflow_mlops" / "scorer"
ID, TIME, TARGET = "flight_id", "scheduled_departure", "late"
TYPES: dict[str, type] = {
    **dict.fromkeys(("carrier", "origin", "dest"), str),
    **dict.fromkeys(("hour", "minute", "weekday"), int),
    **dict.fromkeys(("distance", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"), float),
    **dict.fromkeys(("precip", "pressure", "visib"), float),
}
LANDED = timedelta(days=1)
"""By then everybody knows whether the flight was late."""


def serve(month: Path, *, mlflow_uri: str, log: Path) -> ModelVersion:
    """Let the champion answer for each flight of a month, and return which version that was.

    :param month: Parquet, as :func:`demo.flights.write_months` writes it.
    :param log: folder of the prediction log.
    :raises LookupError: when there is no champion.
    """
    mlflow = MlflowEngine(tracking_uri=mlflow_uri)
    champion = mlflow.version_by_alias(MODEL_NAME, CHAMPION)
    if champion is None:
        message = f"{MODEL_NAME} has no champion yet, so nothing can be served."
        raise LookupError(message)
    with (
        tempfile.TemporaryDirectory(prefix="serving-") as folder,
        PredictionLog(
            log,
            model_name=MODEL_NAME,
            model_version=champion.version,
            features=TYPES,
            prediction=int,
            has_probability=True,
        ) as predictions,
    ):
        answers = _score(month, mlflow.download(champion, Path(folder) / "model"), Path(folder))
        for flight, answer in zip(_rows(month, [ID, TIME, *TYPES]), answers, strict=True):
            predictions.write(
                {name: flight[name] for name in TYPES},
                prediction=answer["prediction"],
                probability=answer["probability"],
                prediction_id=flight[ID],
                predicted_at=flight[TIME],
            )
        predictions.flush()
        if predictions.refused or predictions.dropped:
            message = f"{predictions.refused} answers were refused by the prediction log, {predictions.dropped} lost."
            raise RuntimeError(message)
    return champion


def label(month: Path, *, labels: Path) -> None:
    """Write down which flights of a month were late: whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flights = list(_rows(month, [ID, TIME, TARGET]))
    known = [flight[TIME].replace(tzinfo=UTC) + LANDED for flight in flights]
    table = pa.table(
        {
            "prediction_id": [flight[ID] for flight in flights],
            "label": [flight[TARGET] for flight in flights],
            "labelled_at": pa.array(known, pa.timestamp("us", tz="UTC")),
        }
    )
    labels.mkdir(parents=True, exist_ok=True)
    partial = labels / f".{month.name}.partial"
    pq.write_table(table, partial)
    partial.replace(labels / month.name)


def _score(month: Path, model: Path, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Run the packaged scorer as a process of its own, and return its answers in the order of the rows."""
    channel = folder / "rows"
    channel.mkdir()
    (channel / month.name).symlink_to(month.resolve())
    job = Job(
        work_key=uuid.uuid4().hex,
        command=JobCommand.SCORE,
        hyperparameters={},
        channels={SCORE_CHANNEL: channel},
        model=model,
        program=("python", str(SCORER)),
    )
    engine = ProcessEngine(root=folder / "jobs")
    require_success(job, engine.run(job, folder / "result", print))
    return _rows(folder / "result" / PREDICTIONS, ["prediction", "probability"])


def _rows(file: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(columns=columns):
        yield from batch.to_pylist()


def main() -> None:
    """Serve a month from the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.serving", description="Serve a month of flights.")
    parser.add_argument("month", type=Path, help="Parquet file with the month's flights")
    parser.add_argument("--mlflow", required=True, help="tracking URI")
    parser.add_argument("--log", type=Path, required=True, help="folder of the prediction log")
    parser.add_argument("--labels", type=Path, required=True, help="folder of the labels")
    given = parser.parse_args()
    began = datetime.now(UTC)
    champion = serve(given.month, mlflow_uri=given.mlflow, log=given.log)
    label(given.month, labels=given.labels)
    print(f"{champion} answered for {given.month.name} in {(datetime.now(UTC) - began).total_seconds():.1f} s.")


if __name__ == "__main__":
    main()
