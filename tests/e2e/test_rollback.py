"""A rollback that a person approves in a browser, on a running Airflow, and a Dag that waits for it in a triggerer."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo.stack import Stack
from tests.e2e.test_approval import GRACE, Question, open_question, wait_for_run, wait_until_asked

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_rollback_waits_for_a_person_and_tells_those_who_follow(
    stack: Stack, page: Page, tmp_path: Path, screenshots: Path
) -> None:
    good = Question(stack, "rolled_back", tmp_path / "good")
    assert good.end().state == "success", good.errors()
    bad = Question(stack, "rolled_back", tmp_path / "bad")
    assert bad.end().state == "success", bad.errors()
    assert bad.champion() == bad.version.version

    stack.trigger("follow", "night", {"model": "rolled_back", "serving": bad.version.version})
    wait_for_run(stack, "follow", "night", lambda run: any(task.state == "deferred" for task in run.tasks))
    stack.trigger("approved_rollback", "night", {"model": "rolled_back", "reason": "All scores are 0 since 02:40."})
    wait_until_asked(stack, "approved_rollback", "night")
    assert good.champion() == bad.version.version

    open_question(page, stack, GRACE, f"Roll rolled_back back to version {good.version.version}")
    expect(page.get_by_text("All scores are 0 since 02:40.")).to_be_visible()
    page.screenshot(path=screenshots / "rollback.png")
    page.get_by_test_id("hitl-option-Approve").click()

    done = wait_for_run(stack, "approved_rollback", "night", lambda run: run.has_ended)
    assert done.state == "success", done
    assert good.champion() == good.version.version
    followed = wait_for_run(stack, "follow", "night", lambda run: run.has_ended)
    assert followed.state == "success", followed
    assert stack.airflow.xcom("follow", "night", "champion")["version"] == good.version.version
