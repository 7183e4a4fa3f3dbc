"""How good a candidate is, alone and against the champion, on the same rows and with the uncertainty of each number."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from airflow_mlops.domain.drift import DataDrift
from airflow_mlops.domain.evaluation_diagnostics import Diagnostics
from airflow_mlops.domain.explanation import Explanation
from airflow_mlops.domain.facts import Facts
from airflow_mlops.domain.fairness import Fairness
from airflow_mlops.domain.overlap import Overlap
from airflow_mlops.domain.serialization import Document, digest_of
from airflow_mlops.domain.serving import ServingFigures
from airflow_mlops.domain.slices import Slices
from airflow_mlops.exceptions import EvaluationError


class LearningTask(enum.StrEnum):
    """What the model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric that evaluation computes."""

    name: str
    higher_is_better: bool
    needs_probability: bool = False


METRICS: Final[dict[LearningTask, tuple[Metric, ...]]] = {
    LearningTask.BINARY: (
        Metric(name="roc_auc", higher_is_better=True, needs_probability=True),
        Metric(name="average_precision", higher_is_better=True, needs_probability=True),
        Metric(name="log_loss", higher_is_better=False, needs_probability=True),
        Metric(name="brier_score", higher_is_better=False, needs_probability=True),
        Metric(name="accuracy", higher_is_better=True),
        Metric(name="precision", higher_is_better=True),
        Metric(name="recall", higher_is_better=True),
        Metric(name="f1", higher_is_better=True),
    ),
    LearningTask.MULTICLASS: (
        Metric(name="accuracy", higher_is_better=True),
        Metric(name="balanced_accuracy", higher_is_better=True),
        Metric(name="f1_macro", higher_is_better=True),
    ),
    LearningTask.REGRESSION: (
        Metric(name="rmse", higher_is_better=False),
        Metric(name="mae", higher_is_better=False),
        Metric(name="r2", higher_is_better=True),
    ),
}
"""The metrics of each task, named as scikit-learn names them and defined as it defines them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Document):
    """A number on the holdout, and the bootstrap percentile interval around it."""

    value: float
    low: float
    high: float


class TestMethod(enum.StrEnum):
    """How a difference was tested; ``engines/numpy/significance.py`` has the sources."""

    __test__: ClassVar[bool] = False  # pytest takes classes of this name for tests

    DELONG = "DeLong"
    """Of two areas under the ROC curve."""
    MCNEMAR = "McNemar, exact mid-p"
    """Of two shares of right answers."""
    PAIRED_T = "paired t"
    """Of two means of losses, row by row."""
    BOOTSTRAP = "paired bootstrap"
    """Of whatever else: the level at which the interval of the difference would reach zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest(Document):
    """How surprising the difference would be, if neither model were better: two-sided, on the same rows."""

    method: TestMethod
    p_value: float

    def __str__(self) -> str:
        """Return the value and the method, for tables."""
        return f"{'< 0.0001' if self.p_value < 0.0001 else f'{self.p_value:.4f}'} ({self.method})"  # noqa: PLR2004 - digits


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison(Document):
    """One metric of the candidate, and of the champion on the same rows."""

    metric: str
    higher_is_better: bool
    candidate: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    """Candidate minus champion, from the same bootstrap samples of both (paired)."""
    test: PairedTest | None = None
    """Of the hypothesis that there is no difference."""

    def __str__(self) -> str:
        """Return the values in a line, for logs."""
        against = f" against {self.champion.value:.4f}" if self.champion else ""
        interval = f"[{self.candidate.low:.4f}, {self.candidate.high:.4f}]"
        return f"{self.metric} {self.candidate.value:.4f} {interval}{against}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedModel(Document):
    """A model version that was scored."""

    version: str
    run_id: str
    model_digest: str
    image_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Document):
    """The evidence of one evaluation. Its content digest is the evidence digest that gates and approvals carry."""

    model_name: str
    candidate: JudgedModel
    champion: JudgedModel | None
    """``None`` when no version had the champion alias."""
    dataset_name: str
    dataset_digest: str
    target: str
    task: LearningTask
    rows: int
    confidence_level: float
    """Of every interval, such as 0.95."""
    resamples: int
    metrics: tuple[MetricComparison, ...]
    notes: tuple[str, ...] = ()
    """What could not be computed, and why."""
    diagnostics: tuple[Diagnostics, ...] = ()
    """What the report plots, of the candidate and then of the champion."""
    overlaps: tuple[Overlap, ...] = ()
    """Rows of the holdout in the training data of the candidate and of the champion."""
    slices: Slices | None = None
    """Where the candidate is worse; ``None`` when nobody looked."""
    serving: ServingFigures | None = None
    """How fast the models answered, and how large they are."""
    explanation: Explanation | None = None
    """What the models depend on."""
    facts: Facts | None = None
    """What is known of the models beside their predictions. Evidence of an earlier release has none."""
    drift: DataDrift | None = None
    """Production data against the training data, where the spec asks for it."""
    fairness: Fairness | None = None
    """How groups of people are treated; ``None`` when no column was called sensitive."""
    predictions_digest: str | None = None
    """Of what the candidate said of each row, which is kept beside the evaluation: against it production is measured.
    Evidence of an earlier release has none."""

    def find(self, metric: str) -> MetricComparison | None:
        """Return the comparison of one metric, or ``None`` when it was not computed."""
        return next((item for item in self.metrics if item.metric == metric), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReference(Document):
    """Where an evaluation is stored and which one it is, as it crosses XCom: the evaluation itself may be large."""

    model_name: str
    version: str
    """The candidate."""
    uri: str
    digest: str
    report_uri: str
    """The readable report in the artifact store."""
    report_url: str
    """The same report in the MLflow UI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Document):
    """An evaluation and where it is stored."""

    uri: str
    digest: str
    evaluation: Evaluation
    report_uri: str = ""
    report_url: str = ""

    @classmethod
    def read(cls, document: Mapping[str, Any], reference: EvidenceReference) -> Self:
        """Read a stored evaluation.

        The digest is of the document as it is stored, so it also holds for one that an earlier release wrote.

        :raises EvaluationError: when it is not the one that the reference names.
        """
        found = digest_of(document)
        if found != reference.digest:
            msg = (
                f"The evaluation at {reference.uri} has the digest {found}, but {reference.digest} was recorded. "
                f"It was changed; run the evaluation again."
            )
            raise EvaluationError(msg)
        return cls(
            uri=reference.uri,
            digest=found,
            evaluation=Evaluation.from_dict(document),
            report_uri=reference.report_uri,
            report_url=reference.report_url,
        )

    def reference(self) -> EvidenceReference:
        """Return what crosses XCom."""
        return EvidenceReference(
            model_name=self.evaluation.model_name,
            version=self.evaluation.candidate.version,
            uri=self.uri,
            digest=self.digest,
            report_uri=self.report_uri,
            report_url=self.report_url,
        )


def evidence_path(model_name: str, digest: str) -> str:
    """Return where an evaluation lies below the artifact store's root."""
    return f"evidence/{model_name}/{digest}.json"


def predictions_path(model_name: str, digest: str) -> str:
    """Return where the candidate's predictions of the holdout lie, with the truth, in the order of its rows."""
    return f"evidence/{model_name}/predictions-{digest}.parquet"


def evidence_report_path(model_name: str, digest: str) -> str:
    """Return where the readable report of an evaluation lies, beside it."""
    return f"evidence/{model_name}/{digest}.html"
