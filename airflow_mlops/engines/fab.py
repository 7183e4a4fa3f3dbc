"""The users of Airflow's FAB auth manager and their roles, over its REST API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_mlops.exceptions import AirflowUnavailableError, InvalidInputError

_PAGE = 100
_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FabUsers:
    """Airflow's API server, as a user sees it who may read users.

    :param url: such as ``https://airflow.example.com``.
    """

    url: str
    login: str
    password: str = field(repr=False)

    def roles(self) -> Mapping[str, tuple[str, ...]]:
        """Return the roles of every active user by user name. FAB's API tells no ids.

        :raises InvalidInputError: when the server does not let this user read users.
        :raises AirflowUnavailableError: when it does not answer.
        """
        found: dict[str, tuple[str, ...]] = {}
        seen = 0
        token = self._send("POST", "/auth/token", json={"username": self.login, "password": self.password})
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        while True:
            page = self._send(
                "GET", "/auth/fab/v1/users", headers=headers, params={"limit": _PAGE, "offset": seen, "order_by": "id"}
            )
            users: list[dict[str, Any]] = page["users"]
            found |= {
                user["username"]: tuple(role["name"] for role in user["roles"] or ())
                for user in users
                if user["active"]
            }
            seen += len(users)
            if not users or seen >= page["total_entries"]:
                return found

    def _send(self, method: str, path: str, **arguments: Any) -> Any:
        import requests

        try:
            answer = requests.request(method, f"{self.url.rstrip('/')}{path}", timeout=_SECONDS, **arguments)
        except requests.RequestException as error:
            msg = f"Airflow's API server at {self.url} does not answer: {error}"
            raise AirflowUnavailableError(msg) from error
        if answer.status_code >= requests.codes.server_error:
            msg = f"Airflow's API server at {self.url} answers {method} {path} with {answer.status_code}."
            raise AirflowUnavailableError(msg)
        if not answer.ok:
            msg = (
                f"Airflow's API server at {self.url} refuses {method} {path} to the user {self.login!r} with "
                f"{answer.status_code}: {answer.text:.200} Check the login, and that it may read users."
            )
            raise InvalidInputError(msg)
        return answer.json()
