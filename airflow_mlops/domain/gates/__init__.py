"""The gates of a promotion policy, one file a subject. What a file defines is found by its ``kind``."""

from airflow_mlops.domain.gates.base import GATES, FirstModel, Gate, GateMode, GateVerdict
from airflow_mlops.domain.gates.explanation import ExplanationGate
from airflow_mlops.domain.gates.metric import ImprovementGate, MetricGate
from airflow_mlops.domain.gates.serving import LatencyFigure, LatencyGate, ModelSizeGate, ThroughputGate
from airflow_mlops.domain.gates.slices import SliceGate

__all__ = [
    "GATES",
    "ExplanationGate",
    "FirstModel",
    "Gate",
    "GateMode",
    "GateVerdict",
    "ImprovementGate",
    "LatencyFigure",
    "LatencyGate",
    "MetricGate",
    "ModelSizeGate",
    "SliceGate",
    "ThroughputGate",
]
