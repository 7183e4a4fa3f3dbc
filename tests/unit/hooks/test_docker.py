"""The fields of a Docker host connection become an engine."""

import json

import pytest

from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.docker import DockerHostHook


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FARM", json.dumps({"conn_type": "docker_host", **request.param}))


def test_without_a_connection_the_engine_of_the_environment_is_used() -> None:
    assert DockerHostHook().engine() == DockerEngine()


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ({"host": "tcp://farm:2376"}, "tcp://farm:2376"),
        ({"host": "tcp://farm", "port": 2376}, "tcp://farm:2376"),
        ({"host": "farm", "port": 2376}, "tcp://farm:2376"),
        ({"host": "unix:///run/docker.sock"}, "unix:///run/docker.sock"),
    ],
    indirect=["connection"],
)
def test_the_host_is_the_address(url: str) -> None:
    assert DockerHostHook("farm").engine().url == url


FULL = {
    "host": "tcp://farm:2376",
    "login": "puller",
    "password": "secret",
    "extra": {"tls_ca_cert": "/ca.pem", "tls_client_cert": "/cert.pem", "tls_client_key": "/key.pem"},
}


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("connection", [FULL], indirect=True)
def test_certificates_and_the_registrys_login_are_passed_on() -> None:
    assert DockerHostHook("farm").engine() == DockerEngine(
        url="tcp://farm:2376",
        ca_certificate="/ca.pem",
        client_certificate="/cert.pem",
        client_key="/key.pem",
        username="puller",
        password="secret",  # noqa: S106 - of nothing
    )


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("connection", [FULL], indirect=True)
def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(DockerHostHook("farm").engine())


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({}, "'farm' has no host"),
        ({"host": "farm", "extra": {"tls_client_cert": "/cert.pem"}}, "both tls_client_cert and tls_client_key"),
    ],
    indirect=["connection"],
)
def test_a_connection_that_cannot_work_is_refused(words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        DockerHostHook("farm").engine()


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("connection", [{"host": "tcp://127.0.0.1:1"}], indirect=True)
def test_the_test_button_says_why_a_host_does_not_answer() -> None:
    is_answering, words = DockerHostHook("farm").test_connection()
    assert not is_answering
    assert "The Docker host tcp://127.0.0.1:1 does not answer" in words
