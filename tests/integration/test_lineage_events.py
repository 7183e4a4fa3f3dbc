"""OpenLineage's own provider finds what the operators tell, and its client can send it."""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mlops.exceptions import ValidationFailedError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]  # The provider has warnings of its own.

SUITE = {
    "name": "numbers",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "n", "max_value": 98},
            "meta": {"notes": "Because."},
        },
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}, "severity": "warning"},
    ],
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return {
        "dag": SimpleNamespace(folder="/nowhere"),
        "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, xcom_push=lambda **_: None),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None)),
    }


@pytest.fixture
def snapshot(context: Any, tmp_path: Path) -> Any:
    (tmp_path / "n.csv").write_text("n\n" + "\n".join(map(str, range(1, 101))) + "\n")
    operator = DatasetSnapshotOperator(task_id="s", dataset_name="numbers", source=str(tmp_path / "n.csv"))
    operator.execute(context)
    return operator


def told(operator: Any, state: str) -> Any:
    """Return what the provider extracts, as its client serializes it."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor
    from openlineage.client.serde import Serde

    extractor = DefaultExtractor(operator)
    found = extractor.extract_on_complete(None) if state == "success" else extractor.extract_on_failure(None)
    assert found is not None
    sides = {"inputs": found.inputs, "outputs": found.outputs}
    return {name: [json.loads(Serde.to_json(dataset)) for dataset in side] for name, side in sides.items()}


def test_a_snapshot_names_its_source_its_version_and_its_schema(snapshot: Any, tmp_path: Path) -> None:
    lineage = told(snapshot, "success")
    (source,), (taken,) = lineage["inputs"], lineage["outputs"]
    assert (source["namespace"], source["name"]) == ("file", str(tmp_path / "n.csv"))
    assert (taken["namespace"], taken["name"]) == ("mlops", "datasets/numbers")
    assert taken["facets"]["version"]["datasetVersion"] == snapshot._taken[0].digest
    assert [(field["name"], field["type"]) for field in taken["facets"]["schema"]["fields"]] == [("n", "BIGINT")]
    assert taken["outputFacets"]["outputStatistics"]["rowCount"] == 100


def test_a_failed_validation_tells_each_assertion(snapshot: Any, context: Any) -> None:
    operator = DataValidationOperator(task_id="t", dataset=snapshot._taken[0].to_dict(), suite=SUITE)
    with pytest.raises(ValidationFailedError):
        operator.execute(context)
    (validated,) = told(operator, "failed")["inputs"]
    assert validated["facets"]["version"]["datasetVersion"] == snapshot._taken[0].digest
    between, count = validated["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (between["assertion"], between["column"], between["success"], between["severity"]) == (
        "expect_column_values_to_be_between",
        "n",
        False,
        "error",
    )
    assert (between["expected"], between["actual"], between["description"]) == ('{"max_value": 98}', "2", "Because.")
    assert (count["success"], count["severity"], count["actual"]) == (True, "warn", "100")
    assert validated["inputFacets"]["dataQualityMetrics"]["rowCount"] == 100


def test_a_quarantine_has_two_outputs(snapshot: Any, context: Any) -> None:
    taken = snapshot._taken[0].to_dict()
    operator = DataValidationOperator(task_id="t", dataset=taken, suite=SUITE, on_failure="quarantine")
    operator.execute(context)
    outputs = told(operator, "success")["outputs"]
    assert [output["name"] for output in outputs] == ["datasets/numbers", "datasets/numbers.quarantine"]
    assert len({output["facets"]["version"]["datasetVersion"] for output in outputs}) == 2


def test_what_never_ran_tells_nothing(context: Any) -> None:
    operator = DataValidationOperator(task_id="t", dataset={}, suite=SUITE)
    assert operator.get_openlineage_facets_on_complete(None) is None


def test_a_connection_in_an_address_is_not_told() -> None:
    from airflow_mlops.operators.lineage import _address_name

    assert _address_name("s3://conn@bucket/a/b.csv") == ("s3://bucket", "a/b.csv")
    assert _address_name("file:///a/b.csv") == ("file", "/a/b.csv")
    assert _address_name("sql://warehouse/shop.orders") == ("sql://warehouse", "shop.orders")
