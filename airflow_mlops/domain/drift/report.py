"""What a drift check found of a window: the whole of it, and what crosses XCom."""

from dataclasses import dataclass

from airflow_mlops.domain.drift.found import DataDrift, furthest_first
from airflow_mlops.domain.drift.spec import DriftSpec
from airflow_mlops.domain.drift.volume import Volume
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.serialization import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReference(Document):
    """Where the profile of some rows lies, as it crosses XCom."""

    dataset_name: str
    digest: str
    """Of the snapshot, or of the query that the rows came from."""
    uri: str
    """The JSON file of a :class:`~airflow_mlops.domain.profile.DatasetProfile`."""
    rows: int


MOST_TIMES = 1e6
"""Of a p-value of zero: infinity is no JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport(Document):
    """One window against its reference."""

    model_name: str
    model_version: str
    window: Window
    drift: DataDrift
    spec: DriftSpec
    verdict: CheckVerdict
    reasons: tuple[str, ...]
    volume: Volume | None = None

    def check(self, report_uri: str | None) -> WindowCheck:
        """Return the outcome: the share first, then predictions and labels, then features, the furthest first."""
        drift = self.drift
        figures = {"drift_share": drift.share} if drift.compared else {}
        if self.volume is not None:
            figures["volume"] = self.volume.ratio
        columns = (*drift.prediction, *drift.label, *furthest_first(drift.columns))
        figures |= {
            f"drift.{item.column}": min(item.times_threshold, MOST_TIMES) for item in columns if item.value is not None
        }
        return WindowCheck(
            kind=CheckKind.DATA_DRIFT,
            window=self.window,
            verdict=self.verdict,
            model_name=self.model_name,
            model_version=self.model_version,
            rows=drift.current.rows,
            reasons=self.reasons,
            figures=figures,
            report_uri=report_uri,
        )
