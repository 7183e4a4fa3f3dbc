"""One real Airflow and MLflow for all end-to-end tests, and a real Chromium."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from demo.stack import Stack

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the stack that the demo starts, on ports that nobody has."""
    with Stack(tmp_path_factory.mktemp("stack"), airflow_port=0, mlflow_port=0) as stack:
        yield stack


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for screenshots: ``SCREENSHOTS`` to keep them, else a temporary one."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a page in Debian's Chromium; leave a last screenshot, which shows where a failed test stood."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        reason = "no Chromium: install it (Debian: apt-get install chromium) or name it in CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light", locale="en-GB")
        yield page
        page.screenshot(path=screenshots / f"{request.node.name}.png")
        browser.close()
