"""Where a Docker host is: the same as the SDK would say."""

import asyncio
from pathlib import Path

import pytest
from docker.utils import kwargs_from_env

from airflow_mlops.engines.docker import DockerEngine
from airflow_mlops.engines.docker.aio import AsyncDocker, _Address
from airflow_mlops.exceptions import DockerUnavailableError, InvalidInputError


@pytest.mark.parametrize("verify", ["1", "", None])
def test_the_environment_means_what_it_means_to_the_sdk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verify: str | None
) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    monkeypatch.setenv("DOCKER_HOST", "tcp://farm:2376")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    if verify is not None:
        monkeypatch.setenv("DOCKER_TLS_VERIFY", verify)
    tls = kwargs_from_env()["tls"]
    address = _Address.of(DockerEngine())
    assert (address.ca, address.pair, address.is_verified) == (tls.ca_cert, tls.cert, bool(tls.verify))
    assert address.is_tls


def connect(engine: DockerEngine) -> None:
    async def ask() -> None:
        async with AsyncDocker.connect(engine):
            pass

    asyncio.run(ask())


def test_an_address_that_cannot_be_used_is_told() -> None:
    with pytest.raises(InvalidInputError, match=r"tcp:// or unix:// address, not ssh://farm"):
        connect(DockerEngine(url="ssh://farm"))


def test_certificates_that_cannot_be_read_are_told() -> None:
    with pytest.raises(InvalidInputError, match="certificates for the Docker host tcp://farm:2376 cannot be used"):
        connect(DockerEngine(url="tcp://farm:2376", ca_certificate="/no/such/file"))


def test_a_host_that_does_not_answer_is_told() -> None:
    with pytest.raises(DockerUnavailableError, match=r"tcp://127\.0\.0\.1:1 does not answer"):
        connect(DockerEngine(url="tcp://127.0.0.1:1"))
