"""What is asked of FAB's REST API. Its answers are those of a real one, the provider 3.10 on Airflow 3.3."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_mlops.engines.fab import FabUsers
from airflow_mlops.exceptions import AirflowUnavailableError, InvalidInputError

PASSWORD, BROKEN = "secret", "broken"
USERS = [
    {"username": f"user{number}", "active": number != 7, "roles": [{"name": "Op" if number % 2 else "User"}]}
    for number in range(150)
]


class Fab(BaseHTTPRequestHandler):
    """Two routes: a token for the right password, and users a page at a time for the right token."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = {PASSWORD: 201, BROKEN: 503}.get(given["password"], 401)
        self.answer(status, {"access_token": given["username"]} if status == 201 else {"detail": "Invalid credentials"})

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.headers["Authorization"] != "Bearer admin":
            self.answer(403, {"detail": "Forbidden"})
            return
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        self.answer(200, {"users": USERS[offset : offset + limit], "total_entries": len(USERS)})

    def answer(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Fab) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_roles_are_read_of_every_active_user_on_every_page(url: str) -> None:
    roles = FabUsers(url=f"{url}/", login="admin", password=PASSWORD).roles()
    assert (len(roles), roles["user149"], roles["user148"]) == (149, ("Op",), ("User",))
    assert "user7" not in roles


@pytest.mark.parametrize(("login", "password"), [("admin", "wrong"), ("grace", "secret")])
def test_login_that_may_not_read_users_is_named(url: str, login: str, password: str) -> None:
    with pytest.raises(InvalidInputError, match=f"to the user '{login}' with 40.* Check the login"):
        FabUsers(url=url, login=login, password=password).roles()


def test_server_that_does_not_answer_is_worth_a_retry(url: str) -> None:
    with pytest.raises(AirflowUnavailableError, match="503"):
        FabUsers(url=url, login="admin", password=BROKEN).roles()
    with pytest.raises(AirflowUnavailableError, match="does not answer"):
        FabUsers(url="http://127.0.0.1:9", login="admin", password=PASSWORD).roles()


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(FabUsers(url="http://x", login="admin", password=PASSWORD))
