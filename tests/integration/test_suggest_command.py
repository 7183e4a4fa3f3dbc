"""``airflow mlops suggest-suite``, as people call it."""

import json
import os
import subprocess
import sysconfig
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_mlops.domain.validation import Suite

pytestmark = pytest.mark.integration


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "flights.csv"
    file.write_text("carrier,distance\n" + "".join(f"{('AA', 'UA')[i % 2]},{100 + i}\n" for i in range(200)))
    return file


def run(capsys: pytest.CaptureFixture[str], source: Path, **arguments: Any) -> tuple[int, str]:
    """Run the command's function in this process."""
    from airflow_mlops.cli.suggest import suggest_suite

    given = {"name": None, "output": None, "range_margin": 0.1, "null_margin": 0.01, "max_categories": 50}
    status = 0
    try:
        suggest_suite(Namespace(source=str(source), verbose=False, **given | arguments))
    except SystemExit as end:
        status = int(str(end.code))
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_a_csv_becomes_a_suite_that_people_can_read(csv: Path, tmp_path: Path) -> None:
    command: list[Path | str] = [Path(sysconfig.get_path("scripts")) / "airflow", "mlops", "suggest-suite", csv]
    folder = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--output", tmp_path / "suite.yaml"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (
        0,
        [f"9 expectations were written to {tmp_path}/suite.yaml."],
    ), done.stderr
    document = yaml.safe_load((tmp_path / "suite.yaml").read_text())
    suite = Suite.from_document(document, "it")
    assert suite.name == "flights"
    sets = [item.kwargs for item in suite.expectations if item.type == "expect_column_values_to_be_in_set"]
    assert sets == [{"column": "carrier", "value_set": ["AA", "UA"]}]


def test_the_end_of_the_output_decides_between_json_and_yaml(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, csv, output=str(tmp_path / "suite.json"), name="mine")[0] == 0
    assert json.loads((tmp_path / "suite.json").read_text())["name"] == "mine"
    assert "value_set:\n    - AA" in run(capsys, csv)[1]


def test_what_is_no_data_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys, tmp_path / "nope.csv")
    assert (status, said.count("\n")) == (2, 1)
    assert "Nothing is at" in said
