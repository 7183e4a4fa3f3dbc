"""Evidence that tests of gates judge: two models on one holdout, with whatever parts a test adds."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow_mlops.domain.evaluation import (
    Estimate,
    Evaluation,
    Evidence,
    JudgedModel,
    LearningTask,
    MetricComparison,
    PairedTest,
    TestMethod,
)
from airflow_mlops.domain.facts import Facts, Signature, SignatureColumn, TrainingFacts

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


def comparison(
    candidate: float,
    champion: float | None = None,
    *,
    name: str = "auc",
    up: bool = True,
    width: float = 0.01,
    p_value: float | None = None,
) -> MetricComparison:
    def around(value: float) -> Estimate:
        return Estimate(value=value, low=value - width, high=value + width)

    return MetricComparison(
        metric=name,
        higher_is_better=up,
        candidate=around(candidate),
        champion=None if champion is None else around(champion),
        difference=None if champion is None else around(candidate - champion),
        test=None if p_value is None else PairedTest(method=TestMethod.DELONG, p_value=p_value),
    )


def evaluation(*metrics: MetricComparison, champion: str | None = "1", **parts: Any) -> Evaluation:
    made = Evaluation(
        model_name="delays",
        candidate=JudgedModel(version="2", run_id="r2", model_digest="m2"),
        champion=JudgedModel(version=champion, run_id="r1", model_digest="m1") if champion else None,
        dataset_name="holdout",
        dataset_digest="d",
        target="late",
        task=LearningTask.BINARY,
        rows=100,
        confidence_level=0.95,
        resamples=10,
        metrics=metrics,
    )
    return replace(made, **parts)


def evidence(*metrics: MetricComparison, champion: str | None = "1", **parts: Any) -> Evidence:
    judged = evaluation(*metrics, champion=champion, **parts)
    return Evidence(uri="/evidence", digest=judged.content_digest(), evaluation=judged)


def signature(outputs: str = "long", **inputs: str) -> Signature:
    """Return a signature of columns by their types; a type that ends in ``?`` is of a column that may be left out."""
    return Signature(
        inputs=tuple(
            SignatureColumn(name=name, type=type_.rstrip("?"), required=not type_.endswith("?"))
            for name, type_ in inputs.items()
        ),
        outputs=(SignatureColumn(name="", type=outputs),),
    )


def facts(*, champion_signature: Signature | None = None, **training: Any) -> Facts:
    return Facts(
        as_of=AS_OF,
        training=TrainingFacts(**training),
        signature=signature(x="double"),
        champion_signature=champion_signature,
    )
