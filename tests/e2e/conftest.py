"""A real Chromium, folders, and one Airflow for all tests that need not start their own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from demo.stack import PROJECT, Stack

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DAGS_FROM_THE_GATE = ("two_people", "one_person", "looked_at", "nobody", "rolled_back", "in_time")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start Airflow and MLflow once, with the reference Dag and those that begin at the gate. Jobs are processes."""
    folder = tmp_path_factory.mktemp("stack")
    shutil.copytree(PROJECT / "dags", folder / "dags")
    for dag_file in (Path(__file__).parent / "dags").glob("*.py"):
        shutil.copy(dag_file, folder / "dags")
    with_approval = (PROJECT / "dags" / "model_rollback.py").read_text().replace("| None = None  # or ", "= ")
    (folder / "dags" / "approved_rollback.py").write_text(
        with_approval.replace('dag_id="model_rollback"', 'dag_id="approved_rollback"')
    )
    with Stack(
        folder / "demo",
        backend="process",
        dags=folder / "dags",
        dag_ids=("continuous_training", "approved_rollback", "follow", *DAGS_FROM_THE_GATE),
        reviewers={"grace": "admin"},
        settings={"scheduler": {"trigger_timeout_check_interval": 1}},
        airflow_port=0,
        mlflow_port=0,
    ) as stack:
        yield stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder for the demo."""
    return tmp_path / "demo"


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Return the folder for screenshots: ``SCREENSHOTS`` to keep them, else a temporary one."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a page in Debian's Chromium. Its last screenshot shows where a failed test stood."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        reason = "no Chromium: install it (Debian: apt-get install chromium) or name it in CHROMIUM"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light", locale="en-GB")
        page.set_default_timeout(60_000)
        yield page
        page.screenshot(path=screenshots / f"{request.node.name}.png")
        browser.close()
