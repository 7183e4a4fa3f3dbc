"""The numbers of one window: what labels show, what is estimated without them, and what a change is due to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_mlops.domain.drift import ColumnDrift, DriftMethod
from airflow_mlops.domain.evaluation import METRICS, Estimate, LearningTask
from airflow_mlops.domain.evaluation_diagnostics import CalibrationBin, Diagnostics
from airflow_mlops.domain.performance import Cause, PerformanceReport, PerformanceSpec, WindowMetric, metric_of
from airflow_mlops.domain.performance_verdict import why_too_few
from airflow_mlops.exceptions import EvaluationError
from airflow_mlops.operators.answers import Answers
from airflow_mlops.operators.causes import look_for_cause
from airflow_mlops.operators.promise import Promise

if TYPE_CHECKING:
    from airflow_mlops.engines.numpy import Predictions
    from airflow_mlops.engines.numpy.known import KnownRows

_ESTIMATE_RESAMPLES = 200
_APART = 0.1
"""Labelled answers are called unlike the others when their means are further apart, in standard deviations."""


@dataclass(kw_only=True)
class Measuring:
    """Measures one window. What cannot be measured is noted, with the reason."""

    spec: PerformanceSpec
    promise: Promise
    answers: Answers
    notes: list[str] = field(default_factory=list)

    @cached_property
    def task(self) -> LearningTask:
        """What the model predicts.

        :raises EvaluationError: when neither the spec nor an evaluation says it.
        """
        evaluation = self.promise.evaluation
        if self.spec.task is None and evaluation is None:
            why = " ".join(self.promise.notes)
            msg = f"Nothing says what {self.answers.version} predicts. {why} Give the spec a task."
            raise EvaluationError(msg)
        if evaluation is not None and self.spec.task not in {None, evaluation.task}:
            version = self.answers.version
            msg = f"The spec has the task {self.spec.task}, but {version} was evaluated as {evaluation.task}."
            raise EvaluationError(msg)
        return self.spec.task or (evaluation.task if evaluation else LearningTask.BINARY)

    @cached_property
    def metric(self) -> str:
        """The metric that decides."""
        if self.spec.metric is not None:
            return metric_of(self.task, self.spec.metric).name
        has_probability = self.answers.has_probability or not self.answers.counts.rows
        return next(item.name for item in METRICS[self.task] if has_probability or not item.needs_probability)

    def report(self) -> PerformanceReport:
        """Return everything but the verdict."""
        evaluation = self.promise.evaluation
        task, metric = self.task, self.metric
        measured = self.measure()
        estimated = self.estimate()
        promised = self.promised()
        label_drift = self.label_drift() if measured else None
        enough = not why_too_few(self.answers.counts, self.spec)
        is_rare = self.rests_on.get(metric, self.spec.min_of_class) < self.spec.min_of_class
        return PerformanceReport(
            model_name=self.answers.version.model_name,
            model_version=self.answers.version.version,
            window=self.answers.window,
            task=task,
            metric=metric,
            spec=self.spec,
            counts=self.answers.counts,
            evidence_digest=self.promise.evidence.digest if self.promise.evidence else None,
            metrics=tuple(
                WindowMetric(
                    metric=item.name,
                    higher_is_better=item.higher_is_better,
                    promised=promised.get(item.name),
                    measured=measured.get(item.name),
                    estimated=estimated.get(item.name),
                    rests_on=self.rests_on.get(item.name) if item.name in measured else None,
                )
                for item in METRICS[task]
            ),
            cause=self.cause() if enough and not is_rare and metric in measured else None,
            label_drift=label_drift,
            calibration_promised=_calibration_of_candidate(evaluation.diagnostics) if evaluation else (),
            calibration=self.calibration() if measured else (),
            notes=(*self.promise.notes, *self.answers.notes, *self.notes),
        )

    def promised(self) -> dict[str, Estimate]:
        """Return what was promised, by metric: what the evaluation says, and the spec of the one that decides."""
        evaluation = self.promise.evaluation
        found = {item.metric: item.candidate for item in evaluation.metrics} if evaluation else {}
        if (value := self.spec.promised) is not None:
            found[self.metric] = Estimate(value=value, low=value, high=value)
        return found

    def measure(self) -> dict[str, Estimate]:
        """Return every metric of the labelled answers, by name."""
        from airflow_mlops.engines.numpy import compare

        known = self.known
        if known is None:
            return {}
        if why := known.why_not_judged(self.task):
            self.notes.append(why)
            return {}
        found = compare(
            task=self.task,
            truth=known.truth,
            candidate=known.predictions,
            champion=None,
            confidence_level=self.spec.confidence_level,
            resamples=self.spec.resamples,
        )
        self._note_selection(known.predictions)
        return {item.metric: item.candidate for item in found.metrics}

    @cached_property
    def rests_on(self) -> dict[str, int]:
        """How many labelled answers each metric rests on, where that is not all of them."""
        from airflow_mlops.engines.numpy.known import rests_on

        return rests_on(self.known) if self.known and self.task is LearningTask.BINARY else {}

    @cached_property
    def known(self) -> KnownRows | None:
        """The labelled answers."""
        from airflow_mlops.engines.numpy.known import KnownRows

        answers = self.answers
        if answers.labelled is None:
            return None
        return KnownRows(truth=answers.labels(), predictions=answers.predictions([answers.labelled]))

    def _note_selection(self, labelled: Predictions) -> None:
        """Note when the answers that have a label are unlike those that have none yet."""
        from airflow_mlops.engines.numpy.known import means_apart

        if self.answers.unlabelled is None:
            return
        apart = means_apart(labelled, self.answers.predictions([self.answers.unlabelled]))
        if apart is not None and abs(apart[2]) > _APART:
            self.notes.append(
                f"The answers that have a label are unlike those that have none: on average the model said "
                f"{apart[0]:.3g} of the former and {apart[1]:.3g} of the latter. What is measured may not hold for all."
            )

    def estimate(self) -> dict[str, Estimate]:
        """Return what is to be expected of every metric without labels, of a binary classifier with probabilities."""
        from airflow_mlops.engines.numpy.estimate import estimate_metrics
        from airflow_mlops.engines.numpy.known import sample_positions

        answers, holdout = self.answers, self.promise.holdout
        if not answers.files or holdout is None:
            return {}
        if self.task is not LearningTask.BINARY:
            if not why_too_few(answers.counts, self.spec):
                return {}
            self.notes.append(
                f"Without labels there is no estimate for a {self.task.value} task, only for a binary one."
            )
            return {}
        if not answers.has_probability or holdout.predictions.probability is None:
            self.notes.append("Without labels there is no estimate for a model that gives no probabilities.")
            return {}
        said = answers.predictions(answers.files)
        assert said.probability is not None  # noqa: S101 - it has_probability
        chosen = sample_positions(len(said.prediction), self.spec.sample_rows)
        return estimate_metrics(
            probability=said.probability[chosen],
            called=said.prediction[chosen] == holdout.positive,
            holdout_probability=holdout.predictions.probability,
            holdout_positive=holdout.truth == holdout.positive,
            confidence_level=self.spec.confidence_level,
            resamples=min(self.spec.resamples, _ESTIMATE_RESAMPLES),
        )

    def cause(self) -> Cause | None:
        """Return what the change of the metric is due to, where the holdout can be read."""
        if (
            self.known is None
            or self.answers.labelled is None
            or self.promise.holdout is None
            or self.promise.evaluation is None
        ):
            return None
        cause, notes = look_for_cause(
            metric_of(self.task, self.metric),
            evaluation=self.promise.evaluation,
            holdout=self.promise.holdout,
            now=self.answers.labelled,
            known=self.known,
            spec=self.spec,
        )
        self.notes += notes
        return cause

    def label_drift(self) -> ColumnDrift | None:
        """Return whether what comes true has changed since the holdout, and note it when it has."""
        from airflow_mlops.engines.numpy.label_drift import compare_labels

        holdout = self.promise.holdout
        if holdout is None or self.known is None:
            return None
        found = compare_labels(self.task, holdout.truth, self.known.truth)
        if found.drifted:
            sign = "≤" if DriftMethod(found.method).is_p_value else "≥"
            self.notes.append(
                f"The labels have drifted from those of the holdout: {found.method} {found.value:.2g} "
                f"({sign} {found.threshold:g})."
            )
        return found

    def calibration(self) -> tuple[CalibrationBin, ...]:
        """Return how often what was said came true."""
        from airflow_mlops.engines.numpy import diagnose

        if self.known is None:
            return ()
        return diagnose("window", self.task, self.known.truth, self.known.predictions).calibration


def _calibration_of_candidate(found: Sequence[Diagnostics]) -> tuple[CalibrationBin, ...]:
    return next((item.calibration for item in found if item.role == "candidate"), ())
