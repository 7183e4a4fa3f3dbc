"""The audit trail: ``audit/`` in the artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops.hooks.storage import artifact_store

if TYPE_CHECKING:
    from airflow_mlops.engines.ledger import Ledger


def audit_trail() -> Ledger:
    """Open the audit trail."""
    from airflow_mlops.engines.ledger import Ledger

    return Ledger(root=artifact_store() / "audit")
