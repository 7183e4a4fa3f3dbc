"""Who may approve, tried on a running Airflow: two people in a browser, and the ways around them over its API."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, expect

from airflow_mlops.domain.approval import Approval
from airflow_mlops.domain.promotion import PromotionDecision
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.engines.mlflow import MlflowEngine
from demo.airflow import AirflowClient, Run
from demo.loop import pause
from demo.stack import ENGINEER, USER, Stack
from tests.e2e.models import judge, register

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

GRACE = "grace"
SECONDS = 180.0
AWAITING = "awaiting_input"


class Question:
    """One Dag run that has got as far as its approval, and what people can do with it."""

    def __init__(self, stack: Stack, dag_id: str, folder: Path, **params: str) -> None:
        self.stack, self.dag_id = stack, dag_id
        self.mlflow = MlflowEngine(tracking_uri=stack.mlflow_uri)
        self.version = register(self.mlflow, dag_id, folder / "model", {"learning_rate": "0.05", **params})
        self.run_id = f"run-{self.version.version}"
        evidence = judge(self.mlflow, self.version, stack.folder / "run" / "artifacts")
        stack.trigger(dag_id, self.run_id, {"evidence": evidence})

    def run(self) -> Run:
        return self.stack.airflow.run(self.dag_id, self.run_id)

    def wait_until(self, is_so: Callable[[Run], bool]) -> Run:
        return wait_for_run(self.stack, self.dag_id, self.run_id, is_so)

    def wait_for_question(self, asked: int = 1) -> None:
        wait_until_asked(self.stack, self.dag_id, self.run_id, asked)

    def end(self) -> Run:
        return self.wait_until(lambda run: run.has_ended)

    def errors(self, task_id: str = "promote") -> str:
        task = next(task for task in self.run().tasks if task.task_id == task_id)
        return "\n".join(self.stack.airflow.error_lines(self.dag_id, self.run_id, task))

    def champion(self) -> str | None:
        version = self.mlflow.version_by_alias(self.dag_id, CHAMPION)
        return version.version if version else None

    def send(self, user: str, method: str, path: str, body: Any) -> httpx.Response:
        """Call the API as a user; the path begins below the Dag run."""
        client = AirflowClient(self.stack.airflow.url, user, self.stack.password)
        try:
            client.log_in()
            return client.request(method, f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/{path}", body)
        finally:
            client.close()

    def clear(self, task_id: str) -> None:
        """Clear a task and what follows, which starts the Dag run again."""
        what = {"dag_run_id": self.run_id, "task_ids": [task_id], "include_downstream": True}
        how = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        path = f"/api/v2/dags/{self.dag_id}/clearTaskInstances"
        assert self.stack.airflow.request("POST", path, {**what, **how}).is_success

    def answer(self, user: str, option: str = "Approve") -> int:
        (asked,) = self.stack.airflow.approvals(self.dag_id, self.run_id)
        decision = asked.params["decision"]
        given = {"comment": "over the API", "decision": decision["value"] if isinstance(decision, dict) else decision}
        body = {"chosen_options": [option], "params_input": given}
        return self.send(user, "PATCH", "taskInstances/approve/-1/hitlDetails", body).status_code


def test_two_people_approve_in_the_browser_and_whoever_started_the_run_cannot(
    stack: Stack, page: Page, tmp_path: Path, screenshots: Path
) -> None:
    question = Question(stack, "two_people", tmp_path)
    question.wait_for_question(asked=2)

    # The engineer has started the run, and is no admin.
    open_question(page, stack, ENGINEER, "seat 1 of 2")
    choose_reason(page, "better")
    page.get_by_test_id("hitl-option-Approve").click()
    expect(page.get_by_text("You do not have permission to perform this action.")).to_be_visible()
    page.screenshot(path=screenshots / "refused.png")

    # One of two is not enough.
    for user, seat, left in ((USER, 1, 1), (GRACE, 2, 0)):
        assert question.champion() is None
        open_question(page, stack, user, f"seat {seat} of 2")
        expect(page.get_by_text("roc_auc is 0.8000, which clears the bar.")).to_be_visible()
        choose_reason(page, "better")
        page.locator("input[name=element_comment]").fill(f"{user} agrees.")
        page.screenshot(path=screenshots / f"approved_by_{user}.png")
        page.get_by_test_id("hitl-option-Approve").click()
        question.wait_for_question(asked=left)

    assert question.end().state == "success", question.errors()
    assert question.champion() == question.version.version
    tags = question.mlflow.version("two_people", question.version.version).tags
    assert tags["airflow_mlops.promoted_by"] == "reviewer, grace"
    assert tags["airflow_mlops.approval_comment"] == "reviewer agrees. | grace agrees."

    # The next candidate is shown beside this one.
    following = Question(stack, "two_people", tmp_path / "next", learning_rate="0.1")
    following.wait_for_question(asked=2)
    open_question(page, stack, GRACE, r"Promote version 2 of .*seat 1 of 2")
    expect(page.get_by_role("heading", name="What changed since version 1")).to_be_visible()
    expect(page.get_by_role("row", name="learning_rate 0.05 0.1")).to_be_visible()
    page.screenshot(path=screenshots / "what_changed.png")


def test_ways_around_an_approval_are_refused_by_name(stack: Stack, tmp_path: Path) -> None:
    question = Question(stack, "one_person", tmp_path)
    question.wait_for_question()
    assert question.answer(ENGINEER) == httpx.codes.FORBIDDEN

    # Marked as success by hand, as who may edit tasks can.
    marked = question.send(USER, "PATCH", "taskInstances/approve", {"new_state": "success"})
    assert marked.is_success, marked.text
    assert question.end().state == "failed"
    assert "nobody answered. Was the approval task marked as success by hand?" in question.errors()
    assert question.champion() is None

    # An approval written into the XCom by hand.
    decision = PromotionDecision.from_dict(stack.airflow.xcom(question.dag_id, question.run_id, "gate"))
    forged = Approval(
        decision_digest=decision.content_digest(),
        model_name=decision.model_name,
        version=decision.version,
        approved=True,
        responder_id=GRACE,
        responder_name=GRACE,
        responded_at=datetime.now(UTC),
    )
    xcom = {"key": "return_value", "value": forged.to_dict(), "map_index": -1}
    assert question.send(USER, "POST", "taskInstances/approve/xcomEntries", xcom).is_success
    question.clear("promote")
    assert question.end().state == "failed"
    assert "The audit trail has no approval by grace" in question.errors()
    assert question.champion() is None

    # Asked again and answered: the second answer is refused, and the promotion goes through.
    question.clear("approve")
    question.wait_for_question()
    assert question.answer(GRACE) == httpx.codes.OK
    assert question.answer(USER, "Reject") == httpx.codes.CONFLICT
    assert question.end().state == "success", question.errors()
    assert question.champion() == question.version.version


def test_what_changed_after_the_question_is_found_at_promotion(stack: Stack, tmp_path: Path) -> None:
    question = Question(stack, "looked_at", tmp_path)
    question.wait_for_question()
    decision = PromotionDecision.from_dict(stack.airflow.xcom(question.dag_id, question.run_id, "gate"))

    def refused(reason: str) -> None:
        assert question.answer(GRACE) == httpx.codes.OK
        run = question.end()
        assert run.state == "failed"
        failed = [task.task_id for task in run.tasks if task.state == "failed"]
        assert reason in "".join(map(question.errors, failed))
        assert question.champion() != question.version.version

    # The evidence is edited between the question and the answer.
    evidence = Path(decision.evidence_uri)
    honest = evidence.read_text()
    evidence.write_text(honest.replace("0.8", "0.9"))
    refused("It was changed; run the evaluation again.")
    evidence.write_text(honest)
    question.clear("approve")
    question.wait_for_question()

    # Another version is made the champion by hand.
    other = register(question.mlflow, question.dag_id, tmp_path / "other", {"learning_rate": "0.2"})
    question.mlflow.set_alias(other, CHAMPION)
    refused(f"The champion is version {other.version} now")
    question.mlflow.delete_alias(question.dag_id, CHAMPION)
    question.clear("approve")
    question.wait_for_question()

    # The policy in the Dag's file is changed.
    dag_file = stack.folder / "run" / "dags" / "approvals.py"  # The stack works on a copy.
    written = dag_file.read_text()
    try:
        dag_file.write_text(written.replace("at_least=0.7", "at_least=0.6"))
        refused("The policy has changed since the gates ran")
    finally:
        dag_file.write_text(written)
    question.clear("approve")
    question.wait_for_question()

    # The candidate's weights are replaced.
    replaced = tmp_path / "replaced"
    replaced.mkdir()
    (replaced / "weights.bin").write_text("others")
    model_id = question.version.source.removeprefix("models:/")
    MlflowClient(stack.mlflow_uri).log_model_artifacts(model_id, str(replaced))
    refused("have changed since it was registered")


def test_reminder_and_escalation_are_sent_and_the_deadline_rejects(stack: Stack, tmp_path: Path) -> None:
    question = Question(stack, "in_time", tmp_path)
    run = question.end()
    assert {task.task_id: task.state for task in run.tasks}["promote"] == "skipped", question.errors("approve")
    mail = (stack.folder / "run" / "airflow" / "mailbox.txt").read_text().splitlines()
    mine = [line for line in mail if "of in_time to champion?" in line]
    assert [line.partition(" of ")[0] for line in mine] == ["team: question", "team: reminder", "boss: escalation"]
    assert f"{stack.airflow.url}/dags/in_time/runs/{question.run_id}/tasks/approve/required_actions" in mine[1]
    answer = stack.airflow.xcom("in_time", question.run_id, "approve")
    assert (answer["approved"], answer["given_by"], answer["responder_id"]) == (False, "timeout", "")
    assert question.champion() is None


def test_policy_approves_a_model_of_low_risk_and_says_that_it_was_no_person(stack: Stack, tmp_path: Path) -> None:
    question = Question(stack, "nobody", tmp_path)
    assert question.end().state == "success", question.errors()
    tags = question.mlflow.version("nobody", question.version.version).tags
    assert tags["airflow_mlops.promoted_by"] == "the policy (every gate passed)"
    assert tags["airflow_mlops.promoted_by_id"] == ""


def open_question(page: Page, stack: Stack, user: str, subject: str) -> None:
    """Log in as somebody else and open a question."""
    page.set_viewport_size({"width": 1280, "height": 1640})
    page.context.clear_cookies()
    page.goto(f"{stack.airflow.url}/required_actions")
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(stack.password)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(subject)).click()


def choose_reason(page: Page, reason: str) -> None:
    expect(page.get_by_test_id("hitl-option-Approve")).to_be_disabled()
    page.get_by_role("combobox", name="Reason code").click()
    page.get_by_role("option", name=reason).click()


def wait_for_run(stack: Stack, dag_id: str, run_id: str, is_so: Callable[[Run], bool]) -> Run:
    deadline = time.monotonic() + SECONDS
    while not is_so(run := stack.airflow.run(dag_id, run_id)):
        assert time.monotonic() < deadline, run
        pause(stack, 0.5)
    return run


def wait_until_asked(stack: Stack, dag_id: str, run_id: str, asked: int = 1) -> None:
    """Wait for questions, and for Airflow to see the end of the processes that asked.

    Airflow 3.3 fails a task that is answered before: it takes the end of the one process for that of the next. People
    are slower than that.
    """
    run = wait_for_run(stack, dag_id, run_id, lambda run: awaiting(run) == asked)
    for task in run.tasks:
        if task.state == AWAITING:
            wait_for_run(stack, dag_id, run_id, lambda _: stack.ended_processes(dag_id, run_id, task) >= asked)  # noqa: B023 - at once


def awaiting(run: Run) -> int:
    return sum(task.state == AWAITING for task in run.tasks)
