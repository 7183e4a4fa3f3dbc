"""Whether a model is still as good as it was when it was promoted, and treats groups of people as alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_mlops.domain.bias import BiasReport, BiasSpec
from airflow_mlops.domain.bias_verdict import judge_bias
from airflow_mlops.domain.monitoring import CheckKind, WindowCheck
from airflow_mlops.domain.performance import PerformanceReport, PerformanceSpec
from airflow_mlops.domain.performance_verdict import judge
from airflow_mlops.operators.answers import AnswersOperator
from airflow_mlops.operators.group_rates import measure_bias
from airflow_mlops.operators.measuring import Measuring
from airflow_mlops.operators.promise import read_promise

if TYPE_CHECKING:
    from airflow_mlops.domain.registry import ModelVersion
    from airflow_mlops.engines.mlflow import MlflowEngine


class PerformanceCheckOperator(AnswersOperator):
    """Measure how good a version's answers of a window were, and compare that with what was promised at promotion.

    Labels that have come are joined to the prediction log by their id, and every metric is measured with a confidence
    interval. Where labels are few or none, nothing is decided; for a binary classifier with probabilities there is an
    estimate then, which says that it is one. Where labels suffice, the change is split into what the same inputs have
    (concept drift) and what comes of other inputs (data drift). A model that has decayed is a verdict, not an error.

    :param model_name: the registered model (templated).
    :param predictions: the window of the prediction log: what ``DatasetSnapshotOperator`` returned (templated).
    :param labels: a snapshot, or a file, a folder, a glob or a list of them, as for ``DatasetSnapshotOperator``; with
        the columns ``prediction_id``, ``label`` and, optionally, ``labelled_at`` (templated).
    :param window_start: first moment of the window, in ISO 8601; without a zone it is UTC (templated).
    :param window_end: first moment after the window (templated).
    :param model_version: whose answers are judged; ``None`` is the champion's of this moment (templated).
    :param evidence: what ``EvaluateModelOperator`` returned for that version; ``None`` is what it was promoted on
        (templated).
    :param spec: a :class:`~airflow_mlops.domain.performance.PerformanceSpec`, or the same as a mapping (templated).
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.monitoring.WindowCheck` of the kind ``decay`` as a dict. Writes
    ``performance.html`` and ``performance.json`` to the task's report folder, and the check to the model's history: the
    same window again replaces it, so a run after late labels have come corrects the record.

    :raises DatasetError: when the log or the labels lack the columns of their contract.
    :raises EvaluationError: when labels and predictions cannot be compared, or the evidence has changed.
    :raises RegistryError: when there is no such version.
    """

    kind = CheckKind.DECAY
    noun = "performance"

    template_fields: Sequence[str] = (*AnswersOperator.template_fields, "evidence")

    def __init__(self, *, evidence: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evidence = evidence

    def check(self, version: ModelVersion, mlflow: MlflowEngine, context: Context) -> WindowCheck:
        """Measure the window, judge it, and record both."""
        return self.record(judge(self.measure(version)), version, mlflow, context)

    def measure(self, version: ModelVersion) -> PerformanceReport:
        """Join labels and answers, measure or estimate every metric, and look for the cause of a change."""
        spec = PerformanceSpec.read(self.spec)
        promise = read_promise(version, self.evidence)
        with self.join(version) as answers:
            return Measuring(spec=spec, promise=promise, answers=answers).report()

    def record(
        self, report: PerformanceReport, version: ModelVersion, mlflow: MlflowEngine, context: Context
    ) -> WindowCheck:
        """Write the report and the check, and link both in the UI."""
        from airflow_mlops.domain.performance_html import render

        return self.keep(report, page=render(report), version=version, mlflow=mlflow, context=context)


class BiasCheckOperator(AnswersOperator):
    """Measure how alike a version treated groups of people in a window, and compare that with the bars of promotion.

    The measures are those of ``FairnessGate``. Demographic parity is of all answers and needs no labels; the others are
    of the answers that have one, and undecided while labels are few.

    :param spec: a :class:`~airflow_mlops.domain.bias.BiasSpec`, or the same as a mapping: the bars (templated).

    The other parameters are those of :class:`PerformanceCheckOperator`. The sensitive columns must be in the log.

    Returns a :class:`~airflow_mlops.domain.monitoring.WindowCheck` of the kind ``bias`` as a dict. Writes ``bias.html``
    and ``bias.json`` to the task's report folder, and the check to the model's history.

    :raises EvaluationError: when the log has no such column, or labels and predictions cannot be compared.
    """

    kind = CheckKind.BIAS
    noun = "bias"

    def check(self, version: ModelVersion, mlflow: MlflowEngine, context: Context) -> WindowCheck:
        """Measure the window, judge it, and record both."""
        return self.record(judge_bias(self.measure(version)), version, mlflow, context)

    def measure(self, version: ModelVersion) -> BiasReport:
        """Join labels and answers, and measure the rates of every group."""
        spec = BiasSpec.read(self.spec)
        promise = read_promise(version, None)
        with self.join(version) as answers:
            return measure_bias(spec, promise, answers)

    def record(self, report: BiasReport, version: ModelVersion, mlflow: MlflowEngine, context: Context) -> WindowCheck:
        """Write the report and the check, and link both in the UI."""
        from airflow_mlops.domain.bias_html import render_bias

        return self.keep(report, page=render_bias(report), version=version, mlflow=mlflow, context=context)
