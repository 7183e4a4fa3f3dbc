"""What Airflow discovers exists, is shaped as Airflow wants it, and costs next to nothing to import."""

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops.get_provider_info import get_provider_info

INFO = get_provider_info()

HEAVY = {
    "pandas", "numpy", "mlflow", "great_expectations", "evidently", "sklearn", "docker", "boto3", "fastapi", "duckdb",
    "pyarrow",
}  # fmt: skip


def test_description_fits_the_schema_of_airflow() -> None:
    import airflow
    import jsonschema  # type: ignore[import-untyped] # it ships none

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_package_name_is_that_of_the_distribution() -> None:
    assert importlib.metadata.metadata(INFO["package-name"])["Name"] == INFO["package-name"]


def test_airflow_finds_the_provider_its_connections_and_its_settings() -> None:
    from airflow.sdk import conf
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    manager = ProvidersManagerTaskRuntime()  # type: ignore[no-untyped-call] # Airflow's
    assert {"mlflow", "docker_host"} <= set(manager.hooks)
    assert conf.get("mlops", "job_backend") == "docker"


def test_airflow_finds_the_plugin_that_shows_reports() -> None:
    (found,) = importlib.metadata.entry_points(group="airflow.plugins", name="mlops")
    assert found.load().fastapi_apps[0]["url_prefix"] == "/mlops/reports"


def _dotted(info: dict[str, Any]) -> list[str]:
    kinds = ("operators", "sensors", "triggers", "hooks")
    modules = [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]
    classes = [entry["hook-class-name"] for entry in info["connection-types"]] + info["extra-links"]
    return [*modules, *classes, *(entry["handler"] for entry in info["asset-uris"]), *info["cli"]]


@pytest.mark.parametrize("name", _dotted(INFO))
def test_everything_that_is_named_can_be_imported(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_every_setting_that_is_read_is_documented_and_every_documented_one_is_read() -> None:
    import airflow_mlops

    package = Path(airflow_mlops.__file__).parent
    text = "".join(file.read_text() for file in [*package.rglob("*.py"), *Path("dags").rglob("*.py")])
    read = set(re.findall(r'conf\.get\w*\(\s*"mlops",\s*"(\w+)"', text))
    assert read == set(INFO["config"]["mlops"]["options"])


def test_importing_every_operator_imports_no_heavy_library_and_no_engine() -> None:
    entries = [*INFO["operators"], *INFO["sensors"]]
    modules = [module for entry in entries for module in entry["python-modules"]]
    code = (
        "import importlib, json, sys, airflow.sdk\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith("airflow_mlops.engines.")}
