"""The expectations of the demo's flights, judged by Great Expectations on real months."""

import json
from collections.abc import Callable
from pathlib import Path

import great_expectations as gx
import pandas as pd
import pytest
from great_expectations.data_context.types.base import ProgressBarsConfig

from demo.flights import write_months

Judge = Callable[[pd.DataFrame], set[tuple[str, str | None]]]

SUITE = Path(__file__).parents[3] / "dags" / "expectations" / "flights.json"


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_months(tmp_path_factory.mktemp("months"))


@pytest.fixture(scope="module")
def judge() -> Judge:
    """Give a function that returns the expectations which a frame fails, as pairs of type and column."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("flights").add_dataframe_asset("month")
    batches = asset.add_batch_definition_whole_dataframe("whole")
    suite = gx.ExpectationSuite(**json.loads(SUITE.read_text()))

    def judge(frame: pd.DataFrame) -> set[tuple[str, str | None]]:
        result = batches.get_batch(batch_parameters={"dataframe": frame}).validate(suite)
        failed = [one.expectation_config for one in result.results if not one.success]
        return {(one.type, one.kwargs.get("column")) for one in failed if one is not None}

    return judge


def test_every_month_of_the_year_passes(judge: Judge, months: list[Path]) -> None:

    assert {path.name: judge(pd.read_parquet(path)) for path in months} == {path.name: set() for path in months}


def test_broken_month_fails_where_it_is_broken(judge: Judge, months: list[Path]) -> None:

    march = pd.read_parquet(months[2])
    march["temp"] = (march["temp"] - 32) / 1.8  # Celsius
    march["pressure"] = None
    march.loc[:9, "flight_id"] = march["flight_id"][0]
    march.loc[20, "origin"] = "PHL"
    march.loc[30, "wind_speed"] = 1048.36058
    march.loc[40, "late"] = 2
    assert judge(march) == {
        ("expect_column_mean_to_be_between", "temp"),
        ("expect_column_values_to_not_be_null", "pressure"),
        ("expect_column_values_to_be_unique", "flight_id"),
        ("expect_column_values_to_be_in_set", "origin"),
        ("expect_column_values_to_be_between", "wind_speed"),
        ("expect_column_values_to_be_in_set", "late"),
    }


def test_truncated_month_fails(judge: Judge, months: list[Path]) -> None:

    assert judge(pd.read_parquet(months[0])[:15_000]) == {("expect_table_row_count_to_be_between", None)}


def test_every_expectation_says_why() -> None:
    assert all(one["meta"]["notes"] for one in json.loads(SUITE.read_text())["expectations"])
