"""Great Expectations on a Spark DataFrame: the checks run in Spark, and no row comes but failing samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.domain.validation import SAMPLE_SIZE, ExpectationOutcome, Suite
from airflow_mlops.engines.great_expectations import (
    INDEX_KEY,
    build_all,
    lacking_columns,
    library_context,
    outcome_of,
    quietly,
)
from airflow_mlops.exceptions import DatabaseUnavailableError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run_suite_in_spark(suite: Suite, frame: "DataFrame") -> tuple[int, tuple[ExpectationOutcome, ...]]:
    """Return the number of rows, and the outcome of every expectation in the suite's order.

    :raises SuiteError: when the suite names an expectation or an argument that does not exist.
    :raises DatabaseUnavailableError: when Spark does not answer, or stops answering between two checks.
    """
    rows = _count(frame)
    names = list(frame.columns)
    with quietly():
        configurations = build_all(suite)
        outcomes = lacking_columns(suite, names)
        chosen = [item for index, item in enumerate(configurations) if index not in outcomes]
        outcomes |= _validate(suite, chosen, frame) if chosen else {}
    if any(outcome.is_crashed for outcome in outcomes.values()):
        _count(frame.limit(1))  # The library reports a lost session as if the checks did not fit the data.
    return rows, tuple(outcomes[index] for index in range(len(configurations)))


def schema_digest(frame: "DataFrame", name: str) -> str:
    """Return a digest of the name and the schema of a frame, whose rows have none without being read."""
    return digest_of({"name": name, "schema": frame.schema.jsonValue()})


def _validate(suite: Suite, configurations: Sequence[Any], frame: "DataFrame") -> dict[int, ExpectationOutcome]:
    import great_expectations as gx

    # Nothing is cached in the cluster: whether that pays is for the frame's author to say.
    source = library_context().data_sources.add_spark("spark", persist=False)
    batch = (
        source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    )
    result = batch.validate(
        gx.ExpectationSuite(name=suite.name, expectations=[item.to_domain_obj() for item in configurations]),
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE_SIZE},
    )
    outcomes: dict[int, ExpectationOutcome] = {}
    for item in result.results:
        assert item.expectation_config is not None  # noqa: S101 - `validate` always says which expectation it was
        index = item.expectation_config.meta[INDEX_KEY]
        outcomes[index] = outcome_of(suite.expectations[index], item)
    return outcomes


def _count(frame: "DataFrame") -> int:
    try:
        return int(frame.count())
    except Exception as error:  # Spark has dozens, of which py4j and gRPC add their own.
        msg = f"Spark cannot count the rows: {str(error).splitlines()[0] if str(error) else type(error).__name__:.500}"
        raise DatabaseUnavailableError(msg) from error
