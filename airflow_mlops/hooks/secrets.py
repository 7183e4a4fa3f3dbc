"""Connections and variables become the secrets of a job: read on the worker, at the moment that it is submitted."""

from collections.abc import Mapping

from airflow.sdk import Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError, ErrorType
from airflow.sdk.log import mask_secret

from airflow_mlops.domain.secrets import SecretReference, SecretSource, hidden_texts, parse_secrets
from airflow_mlops.exceptions import InvalidInputError


def read_secrets(secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the content of each file, and have Airflow mask it in the task's log.

    :param secrets: file name to reference, such as ``{"warehouse": "conn:my_db", "token": "var:api_token"}``.
    :raises InvalidInputError: when a reference cannot be read, or names what does not exist or is empty.
    """
    values = {name: _read(name, reference) for name, reference in parse_secrets(secrets).items()}
    for text in hidden_texts(values):
        mask_secret(text)
    return values


def _read(name: str, reference: SecretReference) -> str:
    try:
        if reference.source is SecretSource.VARIABLE:
            value = Variable.get(reference.key)
        else:
            connection = Connection.get(reference.key)
            value = connection.get_uri() if reference.part is None else getattr(connection, reference.part)
    except (AirflowNotFoundException, AirflowRuntimeError) as error:
        if isinstance(error, AirflowRuntimeError) and error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
            raise  # The API server could not say.
        msg = f"The secret {name!r} names {reference}, which Airflow does not have. Create it, or correct the name."
        raise InvalidInputError(msg) from error
    if value in (None, ""):
        msg = f"The secret {name!r} names {reference}, which is empty."
        raise InvalidInputError(msg)
    return str(value)
