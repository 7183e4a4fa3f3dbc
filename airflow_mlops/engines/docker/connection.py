"""A connection to a Docker host, whose errors tell a host that does not answer from a request that it refuses."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_mlops.engines.docker.containers import explain
from airflow_mlops.exceptions import DockerUnavailableError, InvalidInputError

if TYPE_CHECKING:
    from docker import DockerClient

Certificates = tuple[str | None, str | None, str | None]
"""Paths of the certificate that the host's own is signed with, of this client's certificate, and of its key."""

_API_VERSIONS: dict[str, str] = {}
"""What each host speaks, by its address: asking costs a request for each connection."""


@contextlib.contextmanager
def open_client(url: str | None, address: str, certificates: Certificates) -> Iterator["DockerClient"]:
    """Give a client.

    :param url: where the host is; ``None`` is what the environment names, else the local one.
    :param address: the same in words.
    :raises InvalidInputError: when the host refuses a request, or the certificates cannot be used.
    :raises DockerUnavailableError: when it does not answer, or fails.
    """
    from docker.errors import APIError, DockerException, TLSParameterError
    from requests.exceptions import RequestException  # The SDK lets the errors of its HTTP library through.

    try:
        with contextlib.closing(_connect(url, certificates, _API_VERSIONS.get(address))) as client:
            _API_VERSIONS[address] = client.api.api_version
            yield client
    except APIError as error:
        _API_VERSIONS.pop(address, None)
        if error.is_client_error():
            msg = f"The Docker host {address} refuses the job: {explain(error)}"
            raise InvalidInputError(msg) from error
        msg = f"The Docker host {address} failed: {explain(error)}"
        raise DockerUnavailableError(msg) from error
    except TLSParameterError as error:
        msg = f"The certificates for the Docker host {address} cannot be used: {error}"
        raise InvalidInputError(msg) from error
    except (DockerException, RequestException) as error:
        msg = (
            f"The Docker host {address} does not answer: {error}. "
            f"Check that it runs, the address of the connection, and that the worker may use it."
        )
        raise DockerUnavailableError(msg) from error


def _connect(url: str | None, certificates: Certificates, version: str | None) -> "DockerClient":
    import docker
    from docker.tls import TLSConfig

    if url is None:
        return docker.from_env(version=version)
    authority, certificate, key = certificates
    tls: TLSConfig | bool = False
    if authority or certificate:
        pair = (certificate, key) if certificate and key else None
        tls = TLSConfig(ca_cert=authority, client_cert=pair, verify=True)
    return docker.DockerClient(base_url=url, tls=tls, version=version)
