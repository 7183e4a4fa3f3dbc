"""What data suggests holds for that data, and is broken by what the data has no hint of."""

import datetime as dt
import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.suggestion import SuggestionSpec, suggest_suite
from airflow_mlops.domain.validation import Suite, ValidationReport
from airflow_mlops.engines.great_expectations import run_suite
from airflow_mlops.engines.profiles import profile_parquet
from airflow_mlops.exceptions import InvalidInputError, ValidationFailedError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.suggestion import SkewCheckOperator, SuggestSuiteOperator
from airflow_mlops.operators.validation import DataValidationOperator

ROWS = 400
DATA: dict[str, list[Any]] = {
    "id": list(range(1000, 1000 + ROWS)),
    "share": [i / ROWS for i in range(ROWS)],
    "flag": [i % 2 for i in range(ROWS)],
    "carrier": [("AA", "UA", "B6")[i % 3] for i in range(ROWS)],
    "note": [f"remark {i % 97}" for i in range(ROWS)],
    "wind": [None if i % 10 == 0 else float(i % 50) for i in range(ROWS)],
    "late": [i % 5 == 0 for i in range(ROWS)],
    "at": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=i) for i in range(ROWS)],
}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


def context() -> Any:
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="task", map_index=-1, xcom_push=lambda **_: None)
    return {
        "ti": ti,
        "dag": SimpleNamespace(folder="/nowhere"),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra=None)),
    }


def take(tmp_path: Path, data: Any, name: str = "flights") -> dict[str, Any]:
    file = tmp_path / f"{name}.parquet"
    pq.write_table(data if isinstance(data, pa.Table) else pa.table(data), file)
    return DatasetSnapshotOperator(task_id="s", dataset_name=name, source=str(file)).execute(context())


def skew(tmp_path: Path, changed: Any, **kwargs: Any) -> list[str]:
    """Return which columns of the changed data, or which expectations on the whole, differ from ``DATA``."""
    operator = SkewCheckOperator(
        task_id="skew",
        baseline=take(tmp_path, DATA),
        dataset=take(tmp_path, DATA | changed if isinstance(changed, dict) else changed, "serving"),
        on_failure="warn",
        **kwargs,
    )
    report = ValidationReport.from_dict(operator.execute(context()))
    return [str(outcome.kwargs.get("column", outcome.type)) for outcome in report.failed]


def test_a_suggested_suite_is_readable_and_passes_on_its_own_snapshot(tmp_path: Path) -> None:
    snapshot = take(tmp_path, DATA)
    result = SuggestSuiteOperator(task_id="suggest", dataset=snapshot).execute(context())
    suite = json.loads(Path(result["suite_uri"]).read_text())
    said = {(item["type"], item["kwargs"].get("column")): item for item in suite["expectations"]}
    assert said["expect_table_row_count_to_be_between", None]["kwargs"] == {"min_value": 200, "max_value": 800}
    assert said["expect_column_values_to_be_unique", "id"]
    assert said["expect_column_values_to_be_between", "share"]["kwargs"]["min_value"] == 0
    assert said["expect_column_values_to_be_in_set", "flag"]["kwargs"]["value_set"] == [0, 1]
    carriers = said["expect_column_values_to_be_in_set", "carrier"]
    assert carriers["kwargs"]["value_set"] == ["AA", "B6", "UA"]
    assert carriers["meta"]["notes"] == "Seen: 3 different values, most often 'AA', 'B6', 'UA'."
    assert said["expect_column_values_to_not_be_null", "wind"]["kwargs"]["mostly"] == 0.85
    assert ("expect_column_values_to_be_in_set", "note") not in said  # New remarks are to be expected.
    assert not any(column == "at" and "between" in kind for kind, column in said)  # Times move on.
    validate = DataValidationOperator(task_id="task", dataset=snapshot, suite=result["suite_uri"])
    assert ValidationReport.from_dict(validate.execute(context())).success
    assert result["expectation_count"] == len(suite["expectations"])


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"share": [i / ROWS * 100 for i in range(ROWS)]}, ["share"]),
        ({"carrier": ["AA"] * (ROWS - 1) + ["ZZ"]}, ["carrier"]),
        ({"wind": [None] * ROWS}, ["wind", "wind"]),
        ({"wind": [None if i % 4 == 0 else 1.0 for i in range(ROWS)]}, ["wind"]),
        ({"id": [None, *range(1001, 1000 + ROWS)]}, ["id"]),
        ({"id": [1000] * ROWS}, ["id"]),
        ({"flag": [float(i % 2) for i in range(ROWS)]}, ["flag"]),
        ({"note": [f"other {i}" for i in range(ROWS)]}, []),
        ({"at": [dt.datetime(2027, 1, 1, tzinfo=dt.UTC)] * ROWS}, []),
        ({"new": [1] * ROWS}, ["expect_table_columns_to_match_set"]),
    ],
)
def test_serving_data_that_differs_is_told_by_column(changed: Any, found: list[str], tmp_path: Path) -> None:
    if changed.get("wind") == [None] * ROWS:
        changed = {"wind": pa.array(changed["wind"], pa.float64())}
        found = ["wind"]
    assert skew(tmp_path, changed) == found


def test_a_part_of_the_volume_is_skew(tmp_path: Path) -> None:
    few = {name: values[:100] for name, values in DATA.items()}
    assert skew(tmp_path, pa.table(few)) == ["expect_table_row_count_to_be_between"]


def test_a_column_that_is_gone_is_skew_and_the_label_may_be_ignored(tmp_path: Path) -> None:
    serving = pa.table(DATA).drop_columns(["late"])
    assert skew(tmp_path, serving) == ["expect_table_columns_to_match_set", "late"]
    assert skew(tmp_path, serving, ignore_columns=["late"]) == []
    assert skew(tmp_path, {}, ignore_columns=["late"]) == []


def test_skew_fails_the_task_unless_it_may_warn(tmp_path: Path) -> None:
    serving = take(tmp_path, DATA | {"carrier": ["ZZ"] * ROWS}, "serving")
    operator = SkewCheckOperator(task_id="skew", baseline=take(tmp_path, DATA), dataset=serving)
    with pytest.raises(ValidationFailedError, match=r"suite 'flights@.*' failed on serving.*'?ZZ"):
        operator.execute(context())


def test_rows_put_aside_do_not_hide_a_type_that_has_changed(tmp_path: Path) -> None:
    changed = {"flag": [float(i % 2) for i in range(ROWS)], "carrier": ["AA"] * (ROWS - 1) + ["ZZ"]}
    operator = SkewCheckOperator(
        task_id="skew",
        baseline=take(tmp_path, DATA),
        dataset=take(tmp_path, DATA | changed, "serving"),
        on_failure="quarantine",
    )
    with pytest.raises(ValidationFailedError, match="No rows were quarantined: expect_column_type_to_be says nothing"):
        operator.execute(context())


@pytest.mark.parametrize("spec", [{"range_margin": -1}, {"volume_factor": 0.5}, {"margin": 1}])
def test_a_spec_that_makes_no_sense_is_refused_before_the_task_runs(spec: Any) -> None:
    with pytest.raises(InvalidInputError):
        SkewCheckOperator(task_id="skew", baseline={}, dataset={}, spec=spec)


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.text(max_size=200)), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.sampled_from(["a", "", "é'\"🙂"])), min_size=60, max_size=80),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=60, max_size=80),
    st.lists(st.one_of(st.none(), st.dates()), min_size=1, max_size=80),
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 3))), min_size=1, max_size=80),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES)
def test_whatever_is_in_a_column_what_it_suggests_holds_for_it(values: Any, tmp_path: Path) -> None:
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return
    file = tmp_path / "values.parquet"
    pq.write_table(pa.table({'it\'s "x"': column}), file)
    document = suggest_suite("values", profile_parquet([file]), SuggestionSpec(types=False))
    json.dumps(document, allow_nan=False)
    outcomes = run_suite(Suite.from_document(document, "it"), [file])
    assert [outcome for outcome in outcomes if not outcome.success] == []
