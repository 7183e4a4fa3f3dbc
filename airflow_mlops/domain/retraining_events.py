"""What a decision to train again has to tell: its entry of the audit trail."""

from airflow_mlops.domain.audit.entry import Chain, EventKind, Happening
from airflow_mlops.domain.retraining import RetrainDecision


def retraining_decided(decision: RetrainDecision) -> Happening:
    """Tell of a retraining that was started. Whoever tells of the same decision again tells nothing new."""
    return Happening(
        chain=Chain.of_model(decision.model_name),
        event_kind=EventKind.RETRAINING,
        summary=decision.summary,
        version=decision.model_version or None,
        facts={
            "decision": decision.key,
            "window": str(decision.window),
            "kinds": [kind.value for kind in decision.kinds],
            "attempt": decision.attempt,
            "reports": dict(decision.reports),
        },
        key=f"retraining {decision.key}",
    )
