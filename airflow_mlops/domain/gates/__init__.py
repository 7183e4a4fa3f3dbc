"""The gates of a promotion policy, one file a subject. What a file defines is found by its ``kind``."""

from airflow_mlops.domain.gates.base import GATES, FirstModel, Gate, GateMode, GateVerdict
from airflow_mlops.domain.gates.cost import CostGate
from airflow_mlops.domain.gates.drift import DriftGate
from airflow_mlops.domain.gates.explanation import ExplanationGate
from airflow_mlops.domain.gates.fairness import FairnessGate
from airflow_mlops.domain.gates.freshness import FreshnessGate
from airflow_mlops.domain.gates.metric import ImprovementGate, MetricGate
from airflow_mlops.domain.gates.reproducibility import Origin, ReproducibilityGate
from airflow_mlops.domain.gates.rows import RowsGate
from airflow_mlops.domain.gates.serving import LatencyFigure, LatencyGate, ModelSizeGate, ThroughputGate
from airflow_mlops.domain.gates.signature import SignatureGate
from airflow_mlops.domain.gates.slices import SliceGate

__all__ = [
    "GATES",
    "CostGate",
    "DriftGate",
    "ExplanationGate",
    "FairnessGate",
    "FirstModel",
    "FreshnessGate",
    "Gate",
    "GateMode",
    "GateVerdict",
    "ImprovementGate",
    "LatencyFigure",
    "LatencyGate",
    "MetricGate",
    "ModelSizeGate",
    "Origin",
    "ReproducibilityGate",
    "RowsGate",
    "SignatureGate",
    "SliceGate",
    "ThroughputGate",
]
