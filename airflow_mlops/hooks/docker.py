"""A ``docker_host`` connection, or the worker's own Docker, becomes an engine that runs jobs in containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    from airflow_mlops.engines.docker import DockerEngine


class DockerHostHook(BaseHook):
    """Connect to a Docker host, which runs jobs. Airflow's own ``docker`` connection is a registry instead.

    The connection's fields: *Host* is the address with its scheme (``tcp://host:2376`` or ``unix:///path``; *Port* may
    be given apart), *Login* and *Password* are for the registry that images are pulled from. In *Extra*, paths on the
    worker: ``tls_ca_cert``, ``tls_client_cert`` and ``tls_client_key``.

    :param docker_conn_id: the Airflow connection; ``None`` for the host that the worker's ``DOCKER_HOST`` names, or the
        local one.
    """

    conn_name_attr = "docker_conn_id"
    default_conn_name = "docker_host_default"
    conn_type = "docker_host"
    hook_name = "Docker Host"

    def __init__(self, docker_conn_id: str | None = None) -> None:
        super().__init__()
        self.docker_conn_id = docker_conn_id

    def engine(self) -> DockerEngine:
        """Return the engine of this connection.

        :raises InvalidInputError: when the connection has no host, or half a client certificate.
        """
        if self.docker_conn_id is None:
            return self._local()
        return self._engine(self.docker_conn_id, self.get_connection(self.docker_conn_id))

    async def aengine(self) -> DockerEngine:
        """Return the engine of this connection, in a triggerer."""
        if self.docker_conn_id is None:
            return self._local()
        return self._engine(self.docker_conn_id, await self.aget_connection(self.docker_conn_id))

    @staticmethod
    def _local() -> DockerEngine:
        from airflow_mlops.engines import docker

        return docker.DockerEngine()

    @staticmethod
    def _engine(conn_id: str, connection: Any) -> DockerEngine:
        from airflow_mlops.engines import docker

        extra: dict[str, Any] = connection.extra_dejson
        if bool(extra.get("tls_client_cert")) != bool(extra.get("tls_client_key")):
            msg = f"The connection {conn_id!r} must have both tls_client_cert and tls_client_key, or neither."
            raise InvalidInputError(msg)
        return docker.DockerEngine(
            url=_url(conn_id, connection),
            ca_certificate=extra.get("tls_ca_cert"),
            client_certificate=extra.get("tls_client_cert"),
            client_key=extra.get("tls_client_key"),
            username=connection.login or None,
            password=connection.password or None,
        )

    def get_conn(self) -> DockerEngine:
        """Return the engine; the name that Airflow's own hooks have for it."""
        return self.engine()

    def test_connection(self) -> tuple[bool, str]:
        """Answer the *Test* button of the connection form."""
        try:
            return True, self.engine().check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the person at the form wants to read it
            return False, str(error)


def _url(conn_id: str, connection: Any) -> str:
    host = connection.host or ""
    if not host:
        msg = f"The connection {conn_id!r} has no host. Set it to the Docker host's address, such as tcp://host:2376."
        raise InvalidInputError(msg)
    if "://" not in host:
        host = f"tcp://{host}"
    return f"{host}:{connection.port}" if connection.port else host
