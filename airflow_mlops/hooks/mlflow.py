"""An ``mlflow`` connection becomes an MLflow engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    from airflow_mlops.engines.mlflow import MlflowEngine


class MlflowHook(BaseHook):
    """Connect to an MLflow tracking server and its registry.

    The connection's fields: *Host* is the tracking URI with its scheme (``https://mlflow.example.com``; *Port* may be
    given apart), *Login* and *Password* are for basic authentication. In *Extra*: ``token`` for a bearer token,
    ``verify_tls`` (default true), ``ca_certificate`` and ``client_certificate`` (paths on the worker), and ``ui_url``
    where people reach MLflow under another address than the workers.

    :param mlflow_conn_id: the Airflow connection.
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "mlflow"
    hook_name = "MLflow"

    def __init__(self, mlflow_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.mlflow_conn_id = mlflow_conn_id

    def engine(self) -> MlflowEngine:
        """Return the engine of this connection.

        :raises InvalidInputError: when the connection has no usable host.
        """
        return self._engine(self.get_connection(self.mlflow_conn_id))

    async def aengine(self) -> MlflowEngine:
        """Return the engine of this connection, in a triggerer."""
        return self._engine(await self.aget_connection(self.mlflow_conn_id))

    def _engine(self, connection: Any) -> MlflowEngine:
        from airflow_mlops.engines import mlflow

        extra: dict[str, Any] = connection.extra_dejson
        environment = {
            "MLFLOW_TRACKING_USERNAME": connection.login,
            "MLFLOW_TRACKING_PASSWORD": connection.password,
            "MLFLOW_TRACKING_TOKEN": extra.get("token"),
            "MLFLOW_TRACKING_INSECURE_TLS": "true" if extra.get("verify_tls", True) is False else None,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": extra.get("ca_certificate"),
            "MLFLOW_TRACKING_CLIENT_CERT_PATH": extra.get("client_certificate"),
        }
        return mlflow.MlflowEngine(
            tracking_uri=_tracking_uri(self.mlflow_conn_id, connection),
            ui_url=extra.get("ui_url") or "",
            environment={name: value for name, value in environment.items() if value},
        )

    def get_conn(self) -> MlflowEngine:
        """Return the engine; the name that Airflow's own hooks have for it."""
        return self.engine()

    def test_connection(self) -> tuple[bool, str]:
        """Answer the *Test* button of the connection form."""
        try:
            return True, self.engine().check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the person at the form wants to read it
            return False, str(error)


def _tracking_uri(conn_id: str, connection: Any) -> str:
    """Return the tracking URI that the fields of a connection give together.

    An ``AIRFLOW_CONN_…`` URI such as ``mlflow://http%3A%2F%2Fhost%3A5000`` or ``mlflow://host:5000/http`` gives the
    scheme in the host or in the schema field.
    """
    host = (connection.host or "").rstrip("/")
    if not host:
        msg = f"The connection {conn_id!r} has no host. Set it to the tracking URI, such as https://mlflow.example.com."
        raise InvalidInputError(msg)
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    has_port = host.rpartition("/")[2].rpartition(":")[2].isdigit()
    return f"{host}:{connection.port}" if connection.port and not has_port else host
