"""The second act: months go by, a Dag watches what the champion answers, and starts a training when it is worse."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from demo.airflow import TASK_FAILURES
from demo.loop import DAG_ID as TRAINING_DAG_ID
from demo.loop import MODEL_NAME, POLL_SECONDS, DemoError, follow, pause
from demo.reviewers import Reviewer
from demo.stack import Stack
from demo.timetable import Timetable, Watch

DAG_ID = "model_monitoring"
GROUP = "watch"
HISTORY = "Model history"
CHECKS = ("validate", "drift", "performance", "bias")
RUN_SECONDS = 900.0
ALERTS = {"ongoing": ": people know already, so nobody is told again", "recovery": ": people are told that it is over"}


def watch_production(stack: Stack, reviewer: Reviewer, timetable: Timetable, months: range) -> list[Watch]:
    """Let the champion serve month after month, and follow what the monitoring Dag makes of it.

    :return: the trainings that it has started, in their order.
    :raises DemoError: when a task of one of the two Dags fails.
    """
    if not months:
        return []
    print(f"\nACT TWO: production. {stack.airflow.url}/dags/{DAG_ID} watches what the champion answers.")
    stack.airflow.unpause(DAG_ID)
    trainings: list[Watch] = []
    for month in months:
        began = time.monotonic()
        _serve(stack, month)
        run_id = _wait_for_window(stack, month)
        decision = _tell(stack, run_id)
        timetable.add(f"{month:02d}/2013 served and checked", time.monotonic() - began)
        if decision["verdict"] == "retrain":
            trainings.append(_follow_training(stack, reviewer, timetable, len(trainings)))
    print(f"\n  The model's history:  {stack.airflow.link(DAG_ID, run_id, f'{GROUP}.decide', HISTORY, 0)}")
    return trainings


def _serve(stack: Stack, month: int) -> None:
    folder = stack.production / MODEL_NAME
    file = stack.data / f"flights-2013-{month:02d}.parquet"
    where = ("--mlflow", stack.mlflow_uri, "--log", str(folder / "predictions"), "--labels", str(folder / "labels"))
    print(f"\n{datetime(2013, month, 1):%B 2013}  {stack.run_errand('serving', 'demo.serving', str(file), *where)}")  # noqa: DTZ001 - a month


def _wait_for_window(stack: Stack, month: int) -> str:
    """Wait until the run of a month's window has ended, and return it.

    :raises DemoError: when a task of it has failed.
    """
    run_id = _wait_for_run(stack, DAG_ID, lambda _, date: (date or "").startswith(f"2013-{month:02d}-01"))
    deadline = time.monotonic() + RUN_SECONDS
    run = stack.airflow.run(DAG_ID, run_id)
    while not run.has_ended:
        if time.monotonic() > deadline:
            msg = f"The run {run_id} of {DAG_ID} takes longer than {RUN_SECONDS:.0f} s: {run.tasks}"
            raise DemoError(msg)
        pause(stack, POLL_SECONDS)
        run = stack.airflow.run(DAG_ID, run_id)
    failed = [task for task in run.tasks if task.state in TASK_FAILURES]
    for task in failed:
        print(f"  {task.task_id} failed: {' '.join(stack.airflow.error_lines(DAG_ID, run_id, task))}")
    if failed:
        msg = f"The run {run_id} failed in {', '.join(task.task_id for task in failed)}."
        raise DemoError(msg)
    return run_id


def _tell(stack: Stack, run_id: str) -> Mapping[str, Any]:
    """Print what was found in a window, and return what was decided."""
    for name in CHECKS:
        check = stack.airflow.xcom(DAG_ID, run_id, f"{GROUP}.{name}", 0) or {}
        verdict = check.get("verdict") or ("passed" if check.get("success") else "violated")
        print(f"  {name:<12} {verdict:<10} {' '.join(check.get('reasons') or ())[:110]}")
    decision: Mapping[str, Any] = stack.airflow.xcom(DAG_ID, run_id, f"{GROUP}.decide", 0)
    print(f"  {'decision':<12} {decision['verdict']:<10} {decision['summary']}")
    if alert := decision.get("alert"):
        print(f"  {'alert':<12} {alert}{ALERTS.get(alert, '')}")
    return decision


def _follow_training(stack: Stack, reviewer: Reviewer, timetable: Timetable, number: int) -> Watch:
    """Follow the training that an event has started, which is nobody's trigger."""
    run_id = _wait_for_run(stack, TRAINING_DAG_ID, lambda name, _: name.startswith("asset_triggered"), skip=number)
    stack.adopt(TRAINING_DAG_ID, run_id)
    print("\nMONITORING ASKED FOR A NEW TRAINING, and Airflow has started it.")
    watch = follow(stack, reviewer, timetable, Watch(run_id=run_id))
    timetable.add_round(watch)
    return watch


def _wait_for_run(stack: Stack, dag_id: str, is_it: Any, *, skip: int = 0) -> str:
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        found = [run_id for run_id, date in stack.airflow.run_ids(dag_id).items() if is_it(run_id, date)]
        if len(found) > skip:
            return found[skip]
        pause(stack, POLL_SECONDS)
    msg = f"Airflow has started no run of {dag_id} within {RUN_SECONDS:.0f} s."
    raise DemoError(msg)
