"""What a promotion is judged by: the policy, wherever its author wrote it, and the evidence in the artifact store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Context

from airflow_mlops.domain.evaluation import Evidence, EvidenceReference
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.exceptions import InvalidInputError, PolicyError
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.base import dag_file

PolicySource = PromotionPolicy | Mapping[str, Any] | str
"""A policy, the same as a mapping, or the path of a YAML or JSON file; relative paths start at the Dag's folder."""


def read_policy(source: PolicySource, context: Context) -> PromotionPolicy:
    """Return the policy of this moment.

    :raises PolicyError: when it cannot be used.
    """
    from airflow_mlops.engines.yaml import read_document

    if isinstance(source, PromotionPolicy):
        return source
    try:
        document = read_document(dag_file(source, context)) if isinstance(source, str) else source
        return PromotionPolicy.from_dict(document)
    except InvalidInputError as error:
        msg = f"The promotion policy cannot be used: {error}"
        raise PolicyError(msg) from error


def read_evidence(reference: EvidenceReference) -> Evidence:
    """Return the evidence that an evaluation has left in the artifact store.

    :raises EvaluationError: when it is not what the evaluation wrote.
    """
    return Evidence.read(open_storage(reference.uri).read_json(), reference)
