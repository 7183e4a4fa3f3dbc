"""What the demo asks of Airflow's REST API, as any other client would."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

TASK_FAILURES = {"failed", "upstream_failed"}
RUN_ENDS = {"success", "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a Dag run, as it stands."""

    task_id: str
    state: str
    seconds: float | None
    try_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question that waits for a person, or what a person answered."""

    task_id: str
    subject: str
    body: str
    params: Mapping[str, Any]
    chosen: str | None
    responder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A Dag run and its tasks, as they stand."""

    run_id: str
    state: str
    tasks: Sequence[Task]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen in it."""
        return self.state in RUN_ENDS


class AirflowClient:
    """A user of Airflow's REST API.

    :param url: the API server, such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self._password = password
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)  # A proxy does not lead to loopback.

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def log_in(self) -> bool:
        """Fetch a token for all later calls; ``False`` when the server does not know this user."""
        answer = self._http.post("/auth/token", json={"username": self.user, "password": self._password})
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            return False
        self._http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        return True

    def health(self) -> dict[str, str | None]:
        """Return each component's status, or nothing while the API server does not answer."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5)
        except httpx.TransportError:
            return {}
        return {name: part["status"] for name, part in answer.json().items()} if answer.is_success else {}

    def has_dag(self, dag_id: str) -> bool:
        """Whether the Dag processor has read the Dag."""
        return self._http.get(f"/api/v2/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        """Return why Dag files could not be read."""
        return [error["stack_trace"] for error in self._get("/api/v2/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start the runs of a Dag."""
        self._send("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def run_ids(self, dag_id: str) -> dict[str, str | None]:
        """Return the runs of a Dag and their logical dates, in the order in which they were due."""
        runs = self._get(f"/api/v2/dags/{dag_id}/dagRuns", limit=100, order_by="run_after")["dag_runs"]
        return {run["dag_run_id"]: run["logical_date"] for run in runs}

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a Dag run with these Params."""
        self._send(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        )

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return how a Dag run stands, its tasks in the order in which they started."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        state = self._get(path)["state"]
        tasks = self._get(f"{path}/taskInstances", limit=100)["task_instances"]
        tasks.sort(key=lambda task: (task["start_date"] or "9", task["id"]))
        return Run(
            run_id=run_id,
            state=state,
            tasks=tuple(
                Task(
                    task_id=task["task_id"],
                    state=task["state"] or "waiting",
                    seconds=task["duration"],
                    try_number=task["try_number"],
                )
                for task in tasks
            ),
        )

    def approvals(self, dag_id: str, run_id: str) -> list[Approval]:
        """Return the questions that a run has asked so far."""
        details = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
        return [
            Approval(
                task_id=detail["task_instance"]["task_id"],
                subject=detail["subject"],
                body=detail["body"] or "",
                params=detail["params"] or {},
                chosen=detail["chosen_options"][0] if detail["chosen_options"] else None,
                responder=(detail["responded_by_user"] or {}).get("name"),
            )
            for detail in details
        ]

    def answer(self, dag_id: str, run_id: str, approval: Approval, option: str, comment: str) -> bool:
        """Answer as this client's user; ``False`` when somebody else was faster."""
        params = {name: _param_value(param) for name, param in approval.params.items()}
        if "comment" in params:
            params["comment"] = comment
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{approval.task_id}/-1/hitlDetails"
        try:
            self._send("PATCH", path, {"chosen_options": [option], "params_input": params})
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.CONFLICT:
                return False
            raise
        return True

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """Return what a task returned, or ``None``."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self._http.get(path, params={"map_index": map_index})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        value = answer.json()["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[") else value

    def link(self, dag_id: str, run_id: str, task_id: str, name: str, map_index: int = -1) -> str:
        """Return the address behind a link of a task; empty where there is none."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        return self._get(path, map_index=map_index)["extra_links"].get(name) or ""

    def error_lines(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        """Return the errors in a task's log, each with its exception, or the log's end when it shows none."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{max(task.try_number, 1)}"
        lines: list[dict[str, Any]] = self._get(path, full_content="true")["content"]
        errors: list[str] = []
        for line in lines:
            if line.get("level") in {"error", "critical"}:
                errors.append(line["event"])
                errors += [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
        return errors or [line["event"] for line in lines][-20:]

    def request(self, method: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Send what Airflow may refuse."""
        return self._http.request(method, path, json=dict(body))

    def _get(self, path: str, **query: Any) -> Any:
        answer = self._http.get(path, params=query, headers={"Accept": "application/json"})
        answer.raise_for_status()
        return answer.json()

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        answer = self._http.request(method, path, json=body)
        if answer.is_error and answer.status_code != httpx.codes.CONFLICT:
            msg = f"Airflow refused {method} {path} with {answer.status_code}: {answer.text}"
            raise RuntimeError(msg)
        answer.raise_for_status()


def _param_value(param: Any) -> Any:
    """Return a form field's default: the API gives either the serialised Param or its bare value."""
    return param.get("value") if isinstance(param, dict) else param
