"""The gates of a promotion policy, one file a subject. What a file defines is found by its ``kind``."""

from airflow_mlops.domain.gates.base import GATES, FirstModel, Gate, GateMode, GateVerdict
from airflow_mlops.domain.gates.metric import ImprovementGate, MetricGate
from airflow_mlops.domain.gates.slices import SliceGate

__all__ = [
    "GATES",
    "FirstModel",
    "Gate",
    "GateMode",
    "GateVerdict",
    "ImprovementGate",
    "MetricGate",
    "SliceGate",
]
