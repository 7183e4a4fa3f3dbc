"""What the checks of answers share: the window of the prediction log, the labels that have come, and who answered."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.performance import AnswerCounts
from airflow_mlops.domain.prediction_log import LABEL, PREDICTION, PROBABILITY
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.links.mlflow import ModelVersionLink, ReportLink
from airflow_mlops.operators.base import MlopsOperator, report_folder
from airflow_mlops.operators.dataset import find_source_files
from airflow_mlops.operators.jobs import local_channel
from airflow_mlops.operators.watched import watched_version
from airflow_mlops.operators.windows import record_check

if TYPE_CHECKING:
    from airflow_mlops.domain.bias import BiasReport
    from airflow_mlops.domain.performance import PerformanceReport
    from airflow_mlops.engines.duckdb import LocalSource
    from airflow_mlops.engines.mlflow import MlflowEngine
    from airflow_mlops.engines.numpy import Predictions
    from airflow_mlops.engines.numpy.metrics import Array

_NOTHING = frozenset({"", "None"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of one version in one window. The files live as long as the measuring."""

    version: ModelVersion
    window: Window
    counts: AnswerCounts
    labelled: Path | None
    """Answers with their label; ``None`` when there is none."""
    unlabelled: Path | None
    has_probability: bool
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """All answers, those with a label first."""
        return [file for file in (self.labelled, self.unlabelled) if file is not None]

    def predictions(self, files: Sequence[Path]) -> Predictions:
        """Return what the model said, in the order of the files and of their rows."""
        from airflow_mlops.engines.numpy import Predictions
        from airflow_mlops.engines.pyarrow import read_column

        return Predictions(
            prediction=read_column(files, PREDICTION, "the prediction log"),
            probability=read_column(files, PROBABILITY, "the prediction log") if self.has_probability else None,
        )

    def labels(self) -> Array:
        """Return the labels of the labelled answers."""
        from airflow_mlops.engines.pyarrow import read_column

        assert self.labelled is not None  # noqa: S101 - the caller has looked
        return read_column([self.labelled], LABEL, "the labels")


class AnswersOperator(MlopsOperator):
    """Base of checks of what a version answered in a window of the prediction log."""

    template_fields: Sequence[str] = (
        "model_name", "predictions", "labels", "window_start", "window_end", "model_version", "spec",
    )  # fmt: skip
    operator_extra_links = (ReportLink(), ModelVersionLink())
    ui_color = "#d0e0e3"
    kind: ClassVar[CheckKind]
    noun: ClassVar[str]
    """The name of the page and of the detail."""

    def __init__(
        self,
        *,
        model_name: str,
        predictions: Any,
        window_start: str,
        window_end: str,
        labels: Any = None,
        model_version: str | None = None,
        spec: Any = None,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.predictions = predictions
        self.window_start = window_start
        self.window_end = window_end
        self.labels = labels
        self.model_version = model_version
        self.spec = spec
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure the window, judge it, and record both."""
        mlflow = MlflowHook(self.mlflow_conn_id).engine()
        version = watched_version(mlflow, self.model_name, self.model_version)
        check = self.unwatched() if version is None else self.check(version, mlflow, context)
        return check.bounded().to_dict()

    def check(self, version: ModelVersion, mlflow: MlflowEngine, context: Context) -> WindowCheck:
        """Check what a version answered, and record it."""
        raise NotImplementedError

    def unwatched(self) -> WindowCheck:
        """Record that there is no champion yet, so nothing to judge."""
        check = WindowCheck(
            kind=self.kind,
            window=Window.parse(self.window_start, self.window_end),
            verdict=CheckVerdict.UNDECIDED,
            model_name=self.model_name,
            model_version="",
            rows=0,
            reasons=(f"No version of {self.model_name} has the alias {CHAMPION!r}, so there is none to judge.",),
        )
        record_check(check)
        return check

    @contextlib.contextmanager
    def join(self, version: ModelVersion) -> Iterator[Answers]:
        """Give the answers of a version with the labels that have come for them."""
        from airflow_mlops.engines.duckdb import join_labels

        window = Window.parse(self.window_start, self.window_end)
        snapshot = Snapshot.from_dict(self.predictions) if _is_given(self.predictions) else None
        if snapshot is None:
            yield Answers(
                version=version,
                window=window,
                counts=AnswerCounts(),
                labelled=None,
                unlabelled=None,
                has_probability=False,
                notes=("No predictions of the window were given.",),
            )
            return
        with contextlib.ExitStack() as stack:
            log = sorted(stack.enter_context(local_channel(snapshot)).glob("*.parquet"))
            sources, notes = stack.enter_context(_label_sources(self.labels))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-mlops-")))
            joined = join_labels(
                log,
                sources,
                folder,
                window=window,
                model_name=version.model_name,
                model_version=version.version,
                limits=duckdb_limits(),
            )
            counts = joined.counts
            yield Answers(
                version=version,
                window=window,
                counts=counts,
                labelled=joined.labelled if counts.labelled else None,
                unlabelled=joined.unlabelled if counts.rows > counts.labelled + counts.unusable else None,
                has_probability=joined.has_probability,
                notes=notes,
            )

    def keep(
        self,
        report: PerformanceReport | BiasReport,
        *,
        page: str,
        version: ModelVersion,
        mlflow: MlflowEngine,
        context: Context,
    ) -> WindowCheck:
        """Write a report and its page to the folder of the task, show the page in MLflow, and record the check."""
        folder = report_folder(context)
        file = folder / f"{self.noun}.html"
        file.write_text(page)
        (folder / f"{self.noun}.json").write_json(report.to_dict())
        check = WindowCheck(
            kind=self.kind,
            window=report.window,
            verdict=report.verdict,
            model_name=report.model_name,
            model_version=report.model_version,
            rows=report.counts.rows,
            reasons=report.reasons,
            figures=report.figures(),
            report_uri=file.uri,
        )
        url = mlflow.log_page(version.run_id, f"{self.noun}/{check.window.key}/{self.noun}.html", page)
        ReportLink.persist(context, url)
        ModelVersionLink.persist(context, mlflow.version_url(version.model_name, version.version))
        record_check(check)
        self.log.info("%s: %s", check.verdict.value, " ".join(check.reasons[:3]))
        return check


@contextlib.contextmanager
def _label_sources(labels: Any) -> Iterator[tuple[list[LocalSource], tuple[str, ...]]]:
    """Give the files of labels on this machine, and a note where there are none."""
    from airflow_mlops.engines.duckdb import LocalSource

    if not _is_given(labels):
        yield [], ("No labels were given.",)
        return
    with contextlib.ExitStack() as stack:
        if isinstance(labels, Mapping):
            snapshot = Snapshot.from_dict(labels)
            parts = sorted(stack.enter_context(local_channel(snapshot)).glob("*.parquet"))
            yield [LocalSource(uri=f"{snapshot.uri}/{part.name}", path=part) for part in parts], ()
            return
        addresses = [labels] if isinstance(labels, str) else list(labels)
        try:
            files = {file.uri: file for address in addresses for file in find_source_files(str(address))}
        except DatasetError as error:
            if any("://" not in str(address) and not str(address).startswith("/") for address in addresses):
                raise
            yield [], (f"There are no labels: {error}",)
            return
        yield [LocalSource(uri=file.uri, path=stack.enter_context(file.local())) for file in files.values()], ()


def _is_given(value: Any) -> bool:
    return value is not None and value != [] and not (isinstance(value, str) and value in _NOTHING)
