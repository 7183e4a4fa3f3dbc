"""The candidate and the champion score the same holdout, each in its own image, and are compared with uncertainty."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from airflow_mlops.domain.audit.events import model_evaluated
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import (
    Evaluation,
    Evidence,
    EvidenceReference,
    JudgedModel,
    LearningTask,
    evidence_path,
    evidence_report_path,
)
from airflow_mlops.domain.evaluation_spec import EvaluationSpec
from airflow_mlops.domain.overlap import Overlap
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.links.mlflow import ModelVersionLink, ReportLink
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.facts import gather_drift, gather_facts
from airflow_mlops.operators.groups import measure_fairness, measure_slices
from airflow_mlops.operators.holdout import look_for_overlap, refuse_overlap, refuse_seen
from airflow_mlops.operators.jobs import job_limits, local_channel
from airflow_mlops.operators.measured import explanation, serving_figures
from airflow_mlops.operators.promise import keep_predictions
from airflow_mlops.operators.scoring import Bench, ScoredHoldout, ScoringOperator

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine


class EvaluateModelOperator(ScoringOperator):
    """Score a candidate and the champion on one holdout snapshot, and compare them.

    Each version is scored in the image that trained it, by its recorded digest, or as a process if it was trained as
    one. What scores it is a program that the worker puts into the job: all models are scored by the same code, and an
    image needs no more than MLflow for it. Where no version has the champion alias, the candidate is
    judged alone. Numbers that describe the holdout also go to the candidate's MLflow run, as ``holdout_<metric>``.

    :param model_version: the candidate, as ``RegisterModelOperator`` returns it (templated).
    :param holdout: a snapshot with rows that the candidate has not seen (templated).
    :param target: column of the holdout that holds the truth (templated).
    :param task: ``binary``, ``multiclass`` or ``regression``.
    :param spec: what to look at besides the metrics: an :class:`~airflow_mlops.domain.evaluation_spec.EvaluationSpec`,
        or the same as a mapping (templated).
    :param program: program and arguments that take the command ``score`` instead; ``()`` is the image's own entrypoint.
    :param limits: hard limits of each scoring job.
    :param confidence_level: of the bootstrap intervals, such as 0.95.
    :param resamples: number of bootstrap samples.
    :param docker_conn_id: connection of the Docker host; ``None`` is the worker's own engine.
    :param mlflow_conn_id: the MLflow connection.

    Returns an :class:`~airflow_mlops.domain.evaluation.EvidenceReference` as a dict. The evaluation is stored in the
    artifact store as ``evidence/<model>/<digest>.json``, and beside it a readable report as ``.html``, which the
    candidate's MLflow run keeps, too, so that a browser can open it.

    :raises EvaluationError: when predictions or labels cannot be compared, or the candidate has seen the holdout.
    :raises ImageNotFoundError: when the image of the candidate or of the champion is gone.
    :raises JobError: when scoring fails.
    """

    template_fields: Sequence[str] = ("model_version", "holdout", "target", "spec")
    operator_extra_links = (ReportLink(), ModelVersionLink())
    ui_color = "#fff2cc"

    def __init__(
        self,
        *,
        model_version: Any,
        holdout: Any,
        target: str,
        task: str = LearningTask.BINARY.value,
        spec: EvaluationSpec | Mapping[str, Any] | None = None,
        confidence_level: float = 0.95,
        resamples: int = 1000,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_version = model_version
        self.holdout = holdout
        self.target = target
        self.task = LearningTask(task)
        self.spec = spec
        self.confidence_level = confidence_level
        self.resamples = resamples
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure both models, and record the evidence."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        evaluation = self.measure(mlflow, context)
        evidence = self.record(evaluation, mlflow, context)
        return evidence.to_dict()

    def measure(self, mlflow: MlflowEngine, context: Context) -> Evaluation:
        """Score both versions on the holdout, compare what they say with the truth, and look at what ``spec`` names."""
        candidate = ModelVersion.from_dict(self.model_version)
        champion = mlflow.version_by_alias(candidate.model_name, CHAMPION)
        holdout = Snapshot.from_dict(self.holdout)
        if champion is None:
            self.log.info("No version of %s has the alias %r yet.", candidate.model_name, CHAMPION)
        with local_channel(holdout) as channel, tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
            bench = Bench(channel=channel, folder=Path(folder), mlflow=mlflow, context=context)
            spec = EvaluationSpec.read(self.spec)
            overlaps = self.look_for_overlaps(candidate, champion, bench, spec)
            return self.analyse(self.score_both(candidate, champion, overlaps, bench), spec, bench)

    def look_for_overlaps(
        self, candidate: ModelVersion, champion: ModelVersion | None, bench: Bench, spec: EvaluationSpec
    ) -> tuple[Overlap, ...]:
        """Look for rows of the holdout in the training data of both, and refuse what the candidate has seen."""
        holdout = Snapshot.from_dict(self.holdout)
        refuse_seen(candidate, holdout)
        overlap = look_for_overlap("candidate", candidate, holdout, bench.files)
        refuse_overlap(overlap, spec.max_overlap)
        if champion is None:
            return (overlap,)
        return overlap, look_for_overlap("champion", champion, holdout, bench.files)

    def score_both(
        self,
        candidate: ModelVersion,
        champion: ModelVersion | None,
        overlaps: tuple[Overlap, ...],
        bench: Bench,
    ) -> ScoredHoldout:
        """Let the candidate, then the champion score the holdout, which must fit both before either starts."""
        from airflow_mlops.engines.numpy import check_truth
        from airflow_mlops.engines.pyarrow import read_column

        truth = read_column(bench.files, self.target, "the holdout")
        check_truth(self.task, truth)
        ours = self.fetch(candidate, "candidate", bench)
        theirs = self.fetch(champion, "champion", bench) if champion else None
        return ScoredHoldout(
            snapshot=Snapshot.from_dict(self.holdout),
            files=bench.files,
            truth=truth,
            overlaps=overlaps,
            candidate=self.score(candidate, "candidate", ours, bench),
            champion=self.score(champion, "champion", theirs, bench) if champion and theirs else None,
        )

    def analyse(self, scored: ScoredHoldout, spec: EvaluationSpec, bench: Bench) -> Evaluation:
        """Put the evidence together: the metrics always, and a line for each part that ``spec`` asks for.

        :param bench: for parts that need further jobs.
        """
        from airflow_mlops.engines.numpy import compare, diagnose

        candidate, champion = scored.candidate, scored.champion
        facts = gather_facts(scored, bench, spec.as_of)
        compared = compare(
            task=self.task,
            truth=scored.truth,
            candidate=candidate.predictions,
            champion=champion.predictions if champion else None,
            confidence_level=self.confidence_level,
            resamples=self.resamples,
        )
        return Evaluation(
            model_name=candidate.version.model_name,
            candidate=_judged(candidate.version),
            champion=_judged(champion.version) if champion else None,
            dataset_name=scored.snapshot.dataset_name,
            dataset_digest=scored.snapshot.digest,
            target=self.target,
            task=self.task,
            rows=len(scored.truth),
            confidence_level=self.confidence_level,
            resamples=self.resamples,
            metrics=compared.metrics,
            notes=(*compared.notes, *(str(found) for found in scored.overlaps if not found.is_known_to_be_none)),
            overlaps=scored.overlaps,
            diagnostics=tuple(
                diagnose(model.role, self.task, scored.truth, model.predictions) for model in scored.models
            ),
            slices=measure_slices(
                scored,
                spec.slices,
                facts,
                target=self.target,
                task=self.task,
                confidence_level=self.confidence_level,
            ),
            serving=serving_figures(scored, job_limits(self.limits)) if spec.serving else None,
            explanation=explanation(scored) if spec.explain else None,
            facts=facts,
            drift=gather_drift(scored, spec.production, facts.signature, self.target),
            fairness=measure_fairness(scored, spec.sensitive, self.task),
            predictions_digest=keep_predictions(scored, bench),
        )

    def questions(self, role: str) -> dict[str, Any]:
        """Let the jobs of both models measure what ``spec`` asks for."""
        if role not in {"candidate", "champion"}:
            return {}
        spec = EvaluationSpec.read(self.spec)
        return {
            "target": self.target,
            "task": self.task.value,
            "serving": spec.serving.to_dict() if spec.serving else None,
            "explanation": spec.explain.to_dict() if spec.explain else None,
        }

    def record(self, evaluation: Evaluation, mlflow: MlflowEngine, context: Context) -> EvidenceReference:
        """Store the evaluation and its report under its digest, and its numbers with the candidate's run."""
        from airflow_mlops.domain.evaluation_html import render

        digest = evaluation.content_digest()
        file = artifact_store() / evidence_path(evaluation.model_name, digest)
        file.write_json(evaluation.to_dict())
        report = artifact_store() / evidence_report_path(evaluation.model_name, digest)
        page = render(evaluation, digest)
        report.write_text(page)
        report_url = mlflow.log_page(evaluation.candidate.run_id, f"evaluation/{digest}.html", page)
        ReportLink.persist(context, report_url)
        metrics = {f"holdout_{item.metric}": item.candidate.value for item in evaluation.metrics}
        mlflow.log_metrics(evaluation.candidate.run_id, metrics)
        mlflow.log_dataset(evaluation.candidate.run_id, Snapshot.from_dict(self.holdout), "evaluation")
        ModelVersionLink.persist(context, mlflow.version_url(evaluation.model_name, evaluation.candidate.version))
        for item in evaluation.metrics:
            self.log.info("%s", item)
        evidence = Evidence(
            uri=file.uri, digest=digest, evaluation=evaluation, report_uri=report.uri, report_url=report_url
        )
        append_event(context, model_evaluated(evaluation, evidence.reference()))
        return evidence.reference()


def _judged(version: ModelVersion) -> JudgedModel:
    return JudgedModel(
        version=version.version,
        run_id=version.run_id,
        model_digest=version.model_digest,
        image_digest=version.image_digest,
    )
