"""The whole loop as two people see it: one watches the demo in a terminal, one approves in the browser.

Half a year of flights: the champion of the winter is watched from July on, decays, and is followed by a model that a
training has made which nobody has started. From October on a retrained model knows no more, and is refused.
"""

import contextlib
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from airflow_mlops.domain.job import LABEL_WORK_KEY
from airflow_mlops.domain.work_key import WorkKey
from demo.loop import Round, champion_of, play
from demo.mlflow import version_of_alias
from demo.reviewers import AutomaticReviewer
from demo.stack import Stack
from demo.timetable import Timetable
from tests.e2e.terminal import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]

STARTED = 600  # seconds: a trainer image may have to be built first
REACHED = 600
WATCHED = 900
COMMENT = "The winter looks right."


def test_the_loop_from_the_first_model_through_its_decay_to_its_successor(
    folder: Path, page: Page, screenshots: Path
) -> None:
    demo = Demo(folder, DEMO_MONTHS="7-12")
    with contextlib.closing(demo):
        # The demo says where everything is.
        airflow = demo.wait_for(r"Airflow: (\S+)", timeout_seconds=STARTED)[1]
        mlflow = demo.wait_for(r"MLflow:  (\S+)", timeout_seconds=5)[1]
        demo.wait_for("APPROVAL NEEDED", timeout_seconds=REACHED)
        assert version_of_alias(mlflow, "flight-delays", "champion") is None

        approve_the_first_model(demo, page, airflow, mlflow, screenshots)
        watch_it_decay(demo)
        approve_its_successor(demo, page, airflow, mlflow, screenshots)
        watch_the_year_end(demo, page, airflow, screenshots)

        demo.wait_for("WHERE THE TIME WENT(?s:.*?)keep running for you to look around", timeout_seconds=20)
        demo.interrupt()
        assert demo.end(timeout_seconds=120) == 0
        assert demo.left_behind() == []


def approve_the_first_model(demo: Demo, page: Page, airflow: str, mlflow: str, screenshots: Path) -> None:
    """It is looked at in the browser, and approved in the terminal."""
    login = demo.wait_for(r"Login: +(\S+) +Password: (\S+)", timeout_seconds=5)
    page.goto(f"{airflow}/required_actions")
    page.locator("input[name=username]").fill(login[1])
    page.locator("input[name=password]").fill(login[2])
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile("Promote version 1 of flight-delays")).click()
    expect(page.get_by_text("no champion yet").first).to_be_visible()
    expect(page.get_by_text(re.compile("roc_auc is 0.7.*clears the bar"))).to_be_visible()
    expect(page.get_by_text("Training data", exact=True)).to_be_visible()
    summary = page.content()
    page.screenshot(path=screenshots / "first_model.png")
    demo.type("a")
    demo.wait_for(r"Comment \(may be empty\)", timeout_seconds=20)
    demo.type(COMMENT)

    demo.wait_for("Approve: answered by reviewer", timeout_seconds=60)
    demo.wait_for("PROMOTED: flight-delays version 1 is the champion; no version was", timeout_seconds=120)
    first = version_of_alias(mlflow, "flight-delays", "champion")
    assert first is not None
    assert first.tags["airflow_mlops.promoted_by"] == "reviewer"
    assert first.tags["airflow_mlops.approval_comment"] == COMMENT
    assert first.tags["airflow_mlops.dataset_digest"][:12] in summary


def watch_it_decay(demo: Demo) -> None:
    """One bad month is told to people, and is no reason to train. Two are."""
    demo.wait_for("ACT TWO", timeout_seconds=60)
    july = demo.wait_for(r"July 2013(?s:.*?)alert +violation", timeout_seconds=WATCHED)[0]
    assert re.search(r"performance +violated +roc_auc is 0\.67", july)
    assert "not yet often enough" in july
    demo.wait_for(r"August 2013(?s:.*?)decision +retrain +Retrain flight-delays: decay", timeout_seconds=WATCHED)
    demo.wait_for("MONITORING ASKED FOR A NEW TRAINING", timeout_seconds=60)


def approve_its_successor(demo: Demo, page: Page, airflow: str, mlflow: str, screenshots: Path) -> None:
    """It is looked at and approved in the browser, where it says why it was trained. The terminal has waited."""
    demo.wait_for("APPROVAL NEEDED: Promote version 2", timeout_seconds=REACHED)
    demo.wait_for(r"against the champion's 0\.6\d+; with 95% confidence the improvement", timeout_seconds=5)
    page.set_viewport_size({"width": 1280, "height": 1640})
    page.goto(f"{airflow}/required_actions")
    page.get_by_role("link", name=re.compile("Promote version 2 of flight-delays")).click()
    expect(page.get_by_text("Why it was trained")).to_be_visible()
    expect(page.get_by_text(re.compile("Decay in 2 of the last .* windows.*promised was 0.7"))).to_be_visible()
    expect(page.get_by_text(re.compile("against the champion's 0.6.*confidence the improvement"))).to_be_visible()
    page.screenshot(path=screenshots / "approval.png")
    page.locator("input[name=element_comment]").fill("Better by far.")
    page.get_by_test_id("hitl-option-Approve").click()
    demo.wait_for("PROMOTED: flight-delays version 2 is the champion; version 1 was", timeout_seconds=120)
    second = version_of_alias(mlflow, "flight-delays", "champion")
    assert second is not None
    assert second.tags["airflow_mlops.approval_comment"] == "Better by far."
    assert "Decay in 2 of the last" in second.tags["airflow_mlops.trained_because"]


def watch_the_year_end(demo: Demo, page: Page, airflow: str, screenshots: Path) -> None:
    """The alert ends. In autumn a retrained model is no better: the gate refuses it, and the loop does not thrash."""
    demo.wait_for(r"September 2013 +.*version 2 answered(?s:.*?)alert +recovery", timeout_seconds=WATCHED)
    demo.wait_for(r"November 2013(?s:.*?)decision +retrain", timeout_seconds=WATCHED)
    demo.wait_for("NOT PROMOTED: version 2 stays the champion", timeout_seconds=REACHED)
    demo.wait_for(r"REFUSED roc_auc better than champion", timeout_seconds=5)
    demo.wait_for(r"December 2013(?s:.*?)decision +held(?s:.*?)cool-down", timeout_seconds=WATCHED)
    assert demo.output.count("MONITORING ASKED FOR A NEW TRAINING") == 2

    history = demo.wait_for(r"The model's history: +(\S+)", timeout_seconds=60)[1]
    page.goto(history)
    heading = page.frame_locator("iframe").get_by_role("heading", name="History of flight-delays")
    expect(heading).to_be_visible(timeout=30_000)  # MLflow shows the page that the task has kept there.
    page.screenshot(path=screenshots / "history.png")


def test_first_model_is_trained_as_a_process_where_there_is_no_docker_and_approved_by_the_demo(stack: Stack) -> None:
    months = Round(title="Winter", train_start="2013-01-01", train_end="2013-03-01", holdout_end="2013-04-01")
    watch = play(stack, months, AutomaticReviewer(), Timetable(began=time.time()), "winter")
    champion = champion_of(stack)

    assert watch.is_promoted
    assert champion is not None
    assert champion.version == "1"


def test_ctrl_c_while_the_servers_start_leaves_no_process(folder: Path) -> None:
    demo = Demo(folder, DEMO_BACKEND="process")
    with contextlib.closing(demo):
        demo.wait_for("flights by month: ready", timeout_seconds=STARTED)
        assert demo.left_behind() != []
        demo.interrupt()
        assert demo.end(timeout_seconds=60) == 130
        assert demo.left_behind() == []


def test_ctrl_c_during_the_training_leaves_no_process_and_no_container(folder: Path) -> None:
    demo = Demo(folder)
    with contextlib.closing(demo):
        run_id = demo.wait_for(r"/runs/(first-model-\w+)", timeout_seconds=STARTED)[1]
        demo.wait_for(r"train +running", timeout_seconds=REACHED)
        demo.interrupt()
        assert demo.end(timeout_seconds=60) == 130
        assert demo.left_behind() == []
        if "containers of" in demo.output:
            assert containers(WorkKey(dag_id="continuous_training", run_id=run_id, task_id="train")) == []


def containers(key: WorkKey) -> list[str]:
    import docker

    with contextlib.closing(docker.from_env()) as client:
        found = client.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL_WORK_KEY}={key}"})
        return [str(container.name) for container in found]
