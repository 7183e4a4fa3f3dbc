"""One run of continuous training, from its start to the promoted model, as a person watches it."""

import textwrap
import time
from dataclasses import dataclass
from urllib.parse import quote

from airflow_mlops.domain.promotion import PromotionDecision
from demo.airflow import TASK_FAILURES, Approval, Task
from demo.mlflow import ModelVersion, version_of_alias
from demo.reviewers import Reviewer
from demo.stack import Stack
from demo.timetable import Timetable, Watch

DAG_ID = "continuous_training"
MODEL_NAME = "flight-delays"
ALIAS = "champion"
GATE_TASK_ID = "gate"
POLL_SECONDS = 1.0
ENDING_SECONDS = 60.0
QUIET = {"waiting", "scheduled", "queued", "none"}


class DemoError(RuntimeError):
    """The loop did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The months that one round trains on and is judged by: [train_start, train_end) and [train_end, holdout_end)."""

    title: str
    train_start: str
    train_end: str
    holdout_end: str


def play(stack: Stack, round_: Round, reviewer: Reviewer, timetable: Timetable, run_id: str) -> Watch:
    """Trigger the Dag, follow it to its end and say what came of it.

    :raises DemoError: when a task fails; its errors have been shown.
    """
    dates = {"train_start": round_.train_start, "train_end": round_.train_end, "holdout_end": round_.holdout_end}
    print(f"\n{round_.title}")
    stack.trigger(DAG_ID, run_id, dates)
    return follow(stack, reviewer, timetable, Watch(run_id=run_id))


def follow(stack: Stack, reviewer: Reviewer, timetable: Timetable, watch: Watch) -> Watch:
    """Follow a run to its end, whoever has started it, and say what came of it.

    :raises DemoError: when a task fails; its errors have been shown.
    """
    before, run_id = champion_of(stack), watch.run_id
    print(f"  {stack.airflow.url}/dags/{DAG_ID}/runs/{quote(run_id)}")
    seen: dict[str, tuple[str, int]] = {}
    while not watch.has_ended:
        pause(stack, POLL_SECONDS)
        watch.run = stack.airflow.run(DAG_ID, run_id)
        _show_changes(stack, watch, seen)
        if any(task.state == "awaiting_input" for task in watch.run.tasks):
            _review(stack, watch, reviewer, timetable)
    _raise_on_failure(stack, watch)
    now = champion_of(stack)
    watch.is_promoted = now is not None and (before is None or before.version != now.version)
    _show_outcome(stack, watch, before, now)
    return watch


def champion_of(stack: Stack) -> ModelVersion | None:
    """Return the model version that serves now."""
    return version_of_alias(stack.mlflow_uri, MODEL_NAME, ALIAS)


def pause(stack: Stack, seconds: float) -> None:
    """Let time pass, but not over the death of a server."""
    stack.check()
    time.sleep(seconds)


def _show_changes(stack: Stack, watch: Watch, seen: dict[str, tuple[str, int]]) -> None:
    """Print one line for each task whose state is new, and the errors of each try that failed."""
    for task in watch.tasks:
        now = (task.state, task.try_number)
        if seen.get(task.task_id) == now:
            continue
        seen[task.task_id] = now
        if task.state in QUIET:
            continue
        took = f" ({task.seconds:.1f} s)" if task.seconds and task.state in {"success", "failed"} else ""
        print(f"  {watch.elapsed():5.0f} s  {task.task_id:<20} {task.state}{took}", flush=True)
        if task.state in {"failed", "up_for_retry"}:
            _show_errors(stack, watch.run_id, task)


def _show_errors(stack: Stack, run_id: str, task: Task) -> None:
    for line in stack.airflow.error_lines(DAG_ID, run_id, task):
        print(textwrap.indent(line, "           | "))


def _review(stack: Stack, watch: Watch, reviewer: Reviewer, timetable: Timetable) -> None:
    """Show the approval and wait until somebody has answered it, here or in the browser."""
    approval = next((one for one in stack.airflow.approvals(DAG_ID, watch.run_id) if one.chosen is None), None)
    if approval is None:
        return  # Answered between two looks.
    _let_it_end(stack, watch, approval)
    asked = time.monotonic()
    _show_approval(stack, approval)
    print(timetable.until_approval(watch))
    reviewer.ask()
    while not _is_answered(stack, watch, approval):
        answer = reviewer.poll(POLL_SECONDS)
        if answer and not stack.airflow.answer(DAG_ID, watch.run_id, approval, answer.option, answer.comment):
            print("  Somebody else has answered first.")
    watch.seconds_of_review += time.monotonic() - asked


def _let_it_end(stack: Stack, watch: Watch, approval: Approval) -> None:
    """Wait for Airflow to see the end of the process that asked."""
    (task,) = (task for task in watch.tasks if task.task_id == approval.task_id)
    deadline = time.monotonic() + ENDING_SECONDS
    while not stack.ended_processes(DAG_ID, watch.run_id, task) and time.monotonic() < deadline:
        pause(stack, POLL_SECONDS)


def _is_answered(stack: Stack, watch: Watch, approval: Approval) -> bool:
    stack.check()
    answers = {one.task_id: one for one in stack.airflow.approvals(DAG_ID, watch.run_id)}
    answer = answers[approval.task_id]
    if answer.chosen is not None:
        print(f"\n  {answer.chosen}: answered by {answer.responder}.")
    return answer.chosen is not None


def _show_approval(stack: Stack, approval: Approval) -> None:
    print(f"\n  APPROVAL NEEDED: {approval.subject}\n")
    print(textwrap.indent(approval.body.strip(), "  | ", lambda _: True))
    print(f"\n  In the browser:  {stack.airflow.url}/required_actions")
    print(f"  Login:           {stack.airflow.user}   Password: {stack.password}")


def _raise_on_failure(stack: Stack, watch: Watch) -> None:
    failed = [task.task_id for task in watch.tasks if task.state in TASK_FAILURES]
    if failed or (watch.run and watch.run.state == "failed"):
        msg = f"The run {watch.run_id} failed in {', '.join(failed)}. See {stack.airflow.url}/dags/{DAG_ID}"
        raise DemoError(msg)


def _show_outcome(stack: Stack, watch: Watch, before: ModelVersion | None, now: ModelVersion | None) -> None:
    """Say what was promoted, or why nothing was."""
    if now is not None and watch.is_promoted:
        print(f"\n  PROMOTED: {now.name} version {now.version} is the {ALIAS}; {_named(before)} was.")
        for approval in stack.airflow.approvals(DAG_ID, watch.run_id):
            print(f"    {'approved by':<28} {approval.responder}")
        for name, value in sorted(now.metrics.items()):
            if name.startswith("holdout_"):
                print(f"    {name:<28} {value:.4f}")
        print(f"    {'in MLflow':<28} {now.url}")
        return
    print(f"\n  NOT PROMOTED: {_named(now)} stays the {ALIAS}.")
    for approval in stack.airflow.approvals(DAG_ID, watch.run_id):
        print(f"    {'answered by':<28} {approval.responder}: {approval.chosen}")
    if decision := stack.airflow.xcom(DAG_ID, watch.run_id, GATE_TASK_ID):
        for verdict in PromotionDecision.from_dict(decision).verdicts:
            print(f"    {'REFUSED' if verdict.refuses else 'passed '} {verdict.gate}: {verdict.reason}")


def _named(version: ModelVersion | None) -> str:
    return f"version {version.version}" if version else "no version"
