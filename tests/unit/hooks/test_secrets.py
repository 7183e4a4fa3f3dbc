"""Connections and variables, as the environment gives them, become the content of files."""

import pytest

from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.secrets import read_secrets


@pytest.fixture(autouse=True)
def _airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://me:p%40ss-word@db:5432/lake")
    monkeypatch.setenv("AIRFLOW_VAR_API_TOKEN", "hunter2hunter2")


def test_connections_and_variables_become_files() -> None:
    references = {"uri": "conn:warehouse", "password": "conn:warehouse#password", "token": "var:api_token"}
    assert read_secrets(references) == {
        "uri": "postgres://me:p%40ss-word@db:5432/lake",
        "password": "p@ss-word",
        "token": "hunter2hunter2",
    }


def test_they_are_masked_in_the_tasks_log() -> None:
    from airflow.sdk._shared.secrets_masker import redact

    read_secrets({"uri": "conn:warehouse", "token": "var:api_token"})
    assert redact("with p@ss-word and hunter2hunter2") == "with *** and ***"


@pytest.mark.parametrize("reference", ["conn:nowhere", "var:nothing"])
def test_what_airflow_does_not_have_is_named(reference: str) -> None:
    with pytest.raises(InvalidInputError, match=f"The secret 'token' names {reference}, which Airflow does not have"):
        read_secrets({"token": reference})


def test_an_empty_field_is_named() -> None:
    with pytest.raises(InvalidInputError, match="names conn:warehouse#extra, which is empty"):
        read_secrets({"token": "conn:warehouse#extra"})
