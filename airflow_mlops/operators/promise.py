"""What a model was promoted on: the evaluation, and what the model said of each row of the holdout."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.dataset import Snapshot, snapshot_path
from airflow_mlops.domain.evaluation import (
    Evaluation,
    Evidence,
    EvidenceReference,
    evidence_path,
    evidence_report_path,
    predictions_path,
)
from airflow_mlops.domain.prediction_log import LABEL, PREDICTION, PROBABILITY
from airflow_mlops.domain.registry import TAG_EVIDENCE, ModelVersion
from airflow_mlops.exceptions import EvaluationError, InvalidInputError
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.jobs import local_channel
from airflow_mlops.operators.policy import read_evidence

if TYPE_CHECKING:
    from airflow_mlops.engines.numpy.known import KnownRows
    from airflow_mlops.operators.scoring import Bench, ScoredHoldout


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The evaluation of a version, and what can be read of its holdout."""

    evidence: Evidence | None = None
    holdout: KnownRows | None = None
    notes: tuple[str, ...] = ()
    """What cannot be read, and why."""

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation, if there is one."""
        return self.evidence.evaluation if self.evidence else None


def keep_predictions(scored: ScoredHoldout, bench: Bench) -> str:
    """Store what the candidate said of each row of the holdout, and the truth; return the digest of the file."""
    from airflow_mlops.engines.fsspec import file_digest
    from airflow_mlops.engines.pyarrow import write_columns

    said = scored.candidate.predictions
    columns = {PREDICTION: said.prediction, LABEL: scored.truth}
    if said.probability is not None:
        columns[PROBABILITY] = said.probability
    model_name = scored.candidate.version.model_name
    folder = bench.folder / "kept"
    folder.mkdir()
    write_columns(folder / "predictions.parquet", columns)
    digest = file_digest(folder / "predictions.parquet")
    target = Path(predictions_path(model_name, digest))
    (folder / "predictions.parquet").rename(folder / target.name)
    (artifact_store() / str(target.parent)).upload(folder)
    return digest


def read_promise(version: ModelVersion, given: Mapping[str, Any] | None) -> Promise:
    """Return what a version was promoted on; what cannot be read is told in the notes.

    :param given: a reference to an evaluation, for a version that was not promoted by this package.
    :raises EvaluationError: when evidence is not what its digest says, or is of another model.
    """
    if given is not None:
        reference = EvidenceReference.from_dict(given)
    elif digest := version.tags.get(TAG_EVIDENCE, ""):
        store = artifact_store()
        reference = EvidenceReference(
            model_name=version.model_name,
            version=version.version,
            uri=(store / evidence_path(version.model_name, digest)).uri,
            digest=digest,
            report_uri=(store / evidence_report_path(version.model_name, digest)).uri,
            report_url="",
        )
    else:
        return Promise(notes=(f"{version} was not promoted on an evaluation: it has no tag {TAG_EVIDENCE!r}.",))
    try:
        evidence = read_evidence(reference)
    except EvaluationError:
        raise
    except InvalidInputError as error:
        return Promise(notes=(f"The evaluation that {version} was promoted on cannot be read: {error}",))
    judged = evidence.evaluation
    if (judged.model_name, judged.candidate.version) != (version.model_name, version.version):
        msg = (
            f"The evaluation {reference.uri} is of {judged.model_name} version {judged.candidate.version}, and says "
            f"nothing of {version}. Give the evaluation of that version."
        )
        raise EvaluationError(msg)
    try:
        return Promise(evidence=evidence, holdout=_read_predictions(judged))
    except InvalidInputError as error:
        return Promise(evidence=evidence, notes=(f"The predictions of the holdout cannot be read: {error}",))


@contextlib.contextmanager
def holdout_files(evaluation: Evaluation) -> Iterator[list[Path]]:
    """Give the Parquet parts of the holdout of an evaluation, in the order of the rows.

    :raises DatasetError: when the snapshot is gone.
    """
    snapshot = Snapshot(
        dataset_name=evaluation.dataset_name,
        digest=evaluation.dataset_digest,
        uri=(artifact_store() / snapshot_path(evaluation.dataset_name, evaluation.dataset_digest)).uri,
        rows=evaluation.rows,
        created=False,
    )
    with local_channel(snapshot) as channel:
        yield sorted(channel.glob("*.parquet"))


def _read_predictions(evaluation: Evaluation) -> KnownRows:
    from airflow_mlops.engines.fsspec import file_digest
    from airflow_mlops.engines.numpy import Predictions
    from airflow_mlops.engines.numpy.known import KnownRows
    from airflow_mlops.engines.pyarrow import column_names, read_column

    digest = evaluation.predictions_digest
    if digest is None:
        msg = "the evaluation is of an earlier release, which kept none. Evaluate and promote again."
        raise InvalidInputError(msg)
    with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
        file = Path(folder) / "predictions.parquet"
        place = artifact_store() / predictions_path(evaluation.model_name, digest)
        place.download(file)
        if (found := file_digest(file)) != digest:
            msg = f"{place.uri} has the digest {found}: it was changed."
            raise EvaluationError(msg)
        has_probability = PROBABILITY in column_names(file)
        return KnownRows(
            truth=read_column([file], LABEL, place.uri),
            predictions=Predictions(
                prediction=read_column([file], PREDICTION, place.uri),
                probability=read_column([file], PROBABILITY, place.uri) if has_probability else None,
            ),
        )
