"""The page behind a task's *Report* link, on Airflow's own API server app."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.links.report import report_url

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]  # Airflow's own app has warnings.

KEY = WorkKey(dag_id="loop", run_id="manual__2026-01-01T00:00:00+00:00", task_id="validate")


@pytest.fixture
def server(airflow_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Airflow's app with nothing but the plugin's own mounted, and the login of its simple auth manager."""
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    from airflow_mlops.plugins import MlopsPlugin

    purge_cached_app()
    app = create_app(apps="core")
    for mounted in MlopsPlugin.fastapi_apps:
        app.mount(mounted["url_prefix"], mounted["app"])
    app.router.routes.insert(0, app.router.routes.pop())  # Before the route that gives the UI for every address.
    with TestClient(app) as client:
        client.app = app
        yield client
    purge_cached_app()


def token(server: Any, role: str) -> dict[str, str]:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username="ada", role=role)
    return {"Authorization": f"Bearer {server.app.state.auth_manager.generate_jwt(user)}"}


def test_a_person_who_may_see_the_dag_sees_the_report_and_no_script_runs_in_it(server: Any) -> None:
    (artifact_store() / f"reports/{KEY.path}/validation.html").write_text("<h1>flights é</h1>")
    found = server.get(report_url(KEY, "validation.html"), headers=token(server, "viewer"))
    assert (found.status_code, found.text) == (200, "<h1>flights é</h1>")
    assert "sandbox" in found.headers["content-security-policy"]


def test_nobody_sees_it_without_a_login(server: Any) -> None:
    (artifact_store() / f"reports/{KEY.path}/validation.html").write_text("secret")
    found = server.get(report_url(KEY, "validation.html"))
    assert found.status_code == 401
    assert "secret" not in found.text


@pytest.mark.parametrize("name", ["validation.json", "../validation.html", "other.html"])
def test_nothing_else_is_served(name: str, server: Any) -> None:
    (artifact_store() / f"reports/{KEY.path}/validation.json").write_text("{}")
    found = server.get(report_url(KEY, name), headers=token(server, "admin"))
    assert found.status_code in {404, 422}


def test_who_may_see_another_dag_alone_gets_none_of_this_one(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def may_see(_: Any, *, details: Any = None, **__: Any) -> bool:
        return details is not None and details.id == "other"

    monkeypatch.setattr(type(server.app.state.auth_manager), "is_authorized_dag", may_see)
    (artifact_store() / f"reports/{KEY.path}/validation.html").write_text("secret")
    own = WorkKey(dag_id="other", run_id=KEY.run_id, task_id=KEY.task_id)
    (artifact_store() / f"reports/{own.path}/validation.html").write_text("own")

    def ask(url: str) -> tuple[int, str]:
        found = server.get(url, headers=token(server, "viewer"))
        return found.status_code, found.text

    mine, theirs = report_url(own, "validation.html"), report_url(KEY, "validation.html")
    assert ask(mine) == (200, "own")
    assert ask(theirs)[0] == 403
    assert ask(theirs.replace("dag_id=loop", "dag_id=~"))[0] == 403
    for elsewhere in ("../loop", "..%2Floop", "%2E%2E"):
        run = report_url(replace(own, run_id=f"{elsewhere}/{KEY.run_id}"), "validation.html")
        task = report_url(replace(own, task_id=f"../../{KEY.path}"), "validation.html")
        assert [ask(run)[0], ask(task)[0]] == [404, 404]
    # Whichever of two Dags is asked about, the report is of the same.
    for both in (f"{mine}&dag_id=loop", f"{theirs}&dag_id=other"):
        assert "secret" not in ask(both)[1]
