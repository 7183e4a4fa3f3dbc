"""Compare a window of production data with what the champion learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Context

from airflow_mlops.domain.audit.events import drift_found
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift import ComparedData, DriftSpec, judge_columns, judge_window, volume_of
from airflow_mlops.domain.drift.columns import free_texts, notes_on_free_texts, without_mixed_predictions
from airflow_mlops.domain.drift.report import DriftReport, ProfileReference
from airflow_mlops.domain.drift.volume import RECENT
from airflow_mlops.domain.drift_html import render
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.profile import DatasetProfile
from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import ModelVersionLink, ReportLink
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import MlopsOperator, report_folder
from airflow_mlops.operators.comparison import compare_profiles
from airflow_mlops.operators.drift_samples import ComparedWindow, evidently_page
from airflow_mlops.operators.first_window import keep_first_window, read_first_window
from airflow_mlops.operators.kept_profiles import profile_parts, profile_snapshot, read_parts
from airflow_mlops.operators.unstructured import compare_unstructured
from airflow_mlops.operators.watched import earlier_checks, given_snapshot, training_snapshot, watched_version
from airflow_mlops.operators.windows import record_check

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine


class DriftCheckOperator(MlopsOperator):
    """Compare a window of production data with a reference, column by column, and give a verdict on the window.

    The statistics are those of all rows, from profiles: the reference is profiled once, and its profile kept with its
    snapshot. A violated window is a verdict, and the task succeeds; what follows from it another task decides.

    :param model_name: the registered model that is watched (templated).
    :param current: the window: a snapshot, a profile of ``ProfileOperator``, or a list of them; ``None`` or an empty
        list is a window without rows (templated).
    :param window_start: its first moment, such as ``{{ data_interval_start }}`` (templated).
    :param window_end: the moment after its last (templated).
    :param reference: a snapshot to compare with; ``None`` is what the version was trained on (templated).
    :param spec: a :class:`~airflow_mlops.domain.drift.DriftSpec`, or the same as a mapping (templated).
    :param model_version: the version that is watched; ``None`` is the champion of this moment (templated).
    :param prediction_reference: a snapshot with the model's predictions, to compare those of the window with; ``None``
        is the reference if it has those columns, else the first window that was checked of this version (templated).
    :param evidently_report: make Evidently's own report as well, on a sample.
    :param mlflow_conn_id: the MLflow connection.

    Returns a :class:`~airflow_mlops.domain.monitoring.WindowCheck` of the kind ``data_drift`` as a dict. Writes
    ``drift.html``, ``evidently.html`` and ``drift.json`` to the task's report folder; the pages also go to the MLflow
    run of the version.

    :raises DatasetError: when a snapshot cannot be read.
    :raises InvalidInputError: when the version does not say what it was trained on, or profiles do not fit together.
    """

    template_fields: Sequence[str] = (
        "model_name",
        "current",
        "window_start",
        "window_end",
        "reference",
        "spec",
        "model_version",
        "prediction_reference",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"current": "json", "reference": "json", "spec": "json"}
    operator_extra_links = (ReportLink(), ModelVersionLink())
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        model_name: str,
        current: Any,
        window_start: datetime | str,
        window_end: datetime | str,
        reference: Any = None,
        spec: DriftSpec | Mapping[str, Any] | None = None,
        model_version: str | None = None,
        prediction_reference: Any = None,
        evidently_report: bool = True,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.current = current
        self.window_start = window_start
        self.window_end = window_end
        self.reference = reference
        self.spec = spec
        self.model_version = model_version
        self.prediction_reference = prediction_reference
        self.evidently_report = evidently_report
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure the window, and record what was found."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        window = Window.parse(self.window_start, self.window_end)
        version = watched_version(mlflow, self.model_name, self.model_version)
        parts = read_parts(self.current)
        if version is None or not parts:
            return self.undecided(window, version).bounded().to_dict()
        compared = self.measure(mlflow, version, window, parts)
        return self.record(compared, mlflow, version, context).bounded().to_dict()

    def measure(
        self,
        mlflow: MlflowEngine,
        version: ModelVersion,
        window: Window,
        parts: tuple[Snapshot | ProfileReference, ...],
    ) -> ComparedWindow:
        """Profile both sides, compare them, and judge the window."""
        spec = DriftSpec.read(self.spec)
        snapshot = given_snapshot(self.reference) or training_snapshot(version)
        reference = profile_snapshot(snapshot)
        apart = self.prediction_profile(version, window)
        grids = {**(apart.grids if apart else {}), **reference.profile.grids}
        current = profile_parts(parts, grids)
        read = _inputs(mlflow, version)
        spec, mixed = without_mixed_predictions(current, spec, self.model_name, version.version)
        by_rows = free_texts(reference.profile, current, spec, read)
        spec = spec.with_texts(by_rows)
        note = keep_first_window(version, window, reference.profile, current, spec) if apart is None else ""
        drift = compare_profiles(
            (reference.data, reference.profile),
            (_of_parts(parts, current), current),
            spec,
            read=read,
            apart=apart,
        )
        volume = volume_of(
            window,
            current.rows,
            recent=earlier_checks(self.model_name, CheckKind.DATA_DRIFT, window, 2 * RECENT),
            reference_rows=reference.profile.rows,
            reference_window=reference.manifest.window,
        )
        of_rows = compare_unstructured(snapshot, parts, spec)
        drift = replace(
            drift,
            columns=judge_columns((*drift.columns, *of_rows.columns), spec),
            lost=(*drift.lost, *of_rows.lost),
            notes=(*drift.notes, *of_rows.notes, *notes_on_free_texts(by_rows), *mixed, *([note] if note else [])),
        )
        verdict, reasons = judge_window(drift, spec, volume)
        report = DriftReport(
            model_name=self.model_name,
            model_version=version.version,
            window=window,
            drift=drift,
            spec=spec,
            verdict=verdict,
            reasons=reasons,
            volume=volume,
        )
        return ComparedWindow(
            report=report,
            reference=replace(reference.profile, columns=(*reference.profile.columns, *of_rows.profiles[0])),
            current=replace(current, columns=(*current.columns, *of_rows.profiles[1])),
            reference_snapshot=snapshot,
            parts=parts,
        )

    def prediction_profile(self, version: ModelVersion, window: Window) -> DatasetProfile | None:
        """Return the profile that predictions and labels are compared with where the reference has none."""
        if (named := given_snapshot(self.prediction_reference)) is not None:
            return profile_snapshot(named).profile
        first = read_first_window(version)
        return first.profile if first and first.window != window else None

    def record(
        self, compared: ComparedWindow, mlflow: MlflowEngine, version: ModelVersion, context: Context
    ) -> WindowCheck:
        """Write the reports and the record of the window; the audit trail tells of a violated one."""
        report, folder = compared.report, report_folder(context)
        place, links = f"drift/{report.window.key}", ("", "")
        if self.evidently_report and (sampled := evidently_page(compared)):
            (folder / "evidently.html").write_text(sampled)
            links = "evidently.html", mlflow.log_page(version.run_id, f"{place}/evidently.html", sampled)
        profiles = compared.reference, compared.current
        file = folder / "drift.html"
        file.write_text(render(report, *profiles, evidently=links[0]))
        page = render(report, *profiles, evidently=links[1])
        ReportLink.persist(context, mlflow.log_page(version.run_id, f"{place}/drift.html", page))
        ModelVersionLink.persist(context, mlflow.version_url(self.model_name, version.version))
        (folder / "drift.json").write_json(report.to_dict())
        check = report.check(file.uri)
        record_check(check)
        if check.verdict is CheckVerdict.VIOLATED:
            append_event(context, drift_found(report, file.uri))
        self.log.info("%s: %s", check.verdict.value, " ".join(check.reasons))
        return check

    def undecided(self, window: Window, version: ModelVersion | None) -> WindowCheck:
        """Record that nothing can be said, since there is no version to watch, or there are no rows."""
        no_rows = "The window has no rows, so nothing can be said of it. Did the data arrive?"
        no_version = f"No version of {self.model_name} has the alias champion yet, so there is nothing to watch."
        check = WindowCheck(
            kind=CheckKind.DATA_DRIFT,
            window=window,
            verdict=CheckVerdict.UNDECIDED,
            model_name=self.model_name,
            model_version=version.version if version else "",
            rows=0,
            reasons=(no_rows if version else no_version,),
        )
        record_check(check)
        return check


def _of_parts(parts: Sequence[Snapshot | ProfileReference], profile: DatasetProfile) -> ComparedData:
    digests = [part.digest for part in parts]
    return ComparedData(
        dataset_name=", ".join(dict.fromkeys(part.dataset_name for part in parts)),
        dataset_digest=digests[0] if len(digests) == 1 else digest_of(sorted(digests)),
        rows=profile.rows,
    )


def _inputs(mlflow: MlflowEngine, version: ModelVersion) -> list[str]:
    """Return the names of the columns that the model reads, as far as its signature has names."""
    signature = mlflow.signature(version.source)
    return [column.name for column in signature.inputs if column.name] if signature else []
