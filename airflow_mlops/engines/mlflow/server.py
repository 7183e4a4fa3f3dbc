"""A connection to an MLflow server, under its login, whose errors say whether a retry can help."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mlops.engines.mlflow.environment import SharedEnvironment
from airflow_mlops.exceptions import MlflowUnavailableError, RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
"""Answers that stay the same however often one asks."""
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's own 7 wait for minutes; Airflow's retries do that better.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_ENVIRONMENT = SharedEnvironment(_DEFAULTS)


@dataclass(frozen=True, kw_only=True)
class MlflowServer:
    """One MLflow tracking server with its registry.

    :param tracking_uri: address of the server, or ``sqlite:///…`` for tests.
    :param ui_url: address that people open in a browser; the tracking URI where it is the same.
    :param environment: MLflow's own environment variables for login and TLS, set for the time of each call only,
        since its client reads them from nowhere else.
    """

    tracking_uri: str
    ui_url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def check(self) -> str:
        """Ask the server for an experiment, and return what to tell the person who asked whether it works."""
        with self._client() as client:
            client.search_experiments(max_results=1)
        return f"MLflow answers at {self.tracking_uri}"

    @property
    def _ui(self) -> str:
        return (self.ui_url or self.tracking_uri).rstrip("/")

    @contextlib.contextmanager
    def _client(self) -> Iterator["MlflowClient"]:
        """Give a client under this connection's login, and tell an unreachable server apart from other errors."""
        with _ENVIRONMENT.hold({**self.environment, **self._address()}):
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            try:
                yield MlflowClient(self.tracking_uri, self.tracking_uri)
            except (MlflowException, OSError) as error:
                if is_unreachable(error):
                    msg = (
                        f"MLflow at {self.tracking_uri} does not answer: {_shorten(error)} "
                        f"Check that it runs, and the host of the connection."
                    )
                    raise MlflowUnavailableError(msg) from error
                if getattr(error, "error_code", "") in _REFUSALS:
                    msg = f"MLflow at {self.tracking_uri} refuses: {_shorten(error)}"
                    raise RegistryError(msg) from error
                raise

    def _address(self) -> dict[str, str]:
        """Name the server for ``models:/`` addresses, which MLflow resolves by its environment, whatever it is told."""
        return {"MLFLOW_TRACKING_URI": self.tracking_uri, "MLFLOW_REGISTRY_URI": self.tracking_uri}


def is_unreachable(error: Exception) -> bool:
    """Whether the server could not be asked, or failed itself, so that the same request may succeed later."""
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, RestException):
        return error.error_code in {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
    if isinstance(error, MlflowException):
        # The client wraps connection errors and 5xx answers into one class with an unspecific code.
        text = str(error)
        return "API request to" in text and ("failed with exception" in text or "error code 5" in text)
    return isinstance(error, ConnectionError) or type(error).__module__.startswith("requests")


def _shorten(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"  # noqa: PLR2004 - about three lines of a terminal
