"""What a retry may go on with, and what a person has cleared."""

from datetime import UTC, datetime

import pytest

from airflow_mlops.domain.job import JobHandle
from airflow_mlops.domain.training import Backend, TrainingResult, TrainingState

RESULT = TrainingResult(
    run_id="r",
    experiment_id="1",
    model_uri="models:/m",
    model_id="m",
    model_digest="d",
    metrics={},
    dataset_name="n",
    dataset_digest="d",
    dataset_uri="u",
    backend=Backend.DOCKER,
    image=None,
    image_digest=None,
    code_version=None,
    work_key="w",
    job_seconds=1.0,
)
HANDLE = JobHandle(
    work_key="w", job_id="c", started_at=datetime(2026, 1, 31, tzinfo=UTC), image_digest=None, code_version=None
)


def state(result: TrainingResult | None) -> TrainingState:
    return TrainingState(max_tries=3, clear_number=1, run_id="r", experiment_id="1", handle=HANDLE, result=result)


@pytest.mark.parametrize(
    ("result", "max_tries", "clear_number", "expected"),
    [
        (None, 3, 1, True),
        (None, 3, 2, True),  # another task of the run was cleared
        (None, 5, 2, False),
        (RESULT, 3, 1, True),
        (RESULT, 5, 2, False),
        (RESULT, 3, 2, False),  # it was cleared, and the Dag allows fewer retries than before
    ],
)
def test_a_retry_goes_on_and_a_cleared_task_begins_anew(
    result: TrainingResult | None, max_tries: int, clear_number: int, expected: bool
) -> None:
    assert state(result).is_work_of(max_tries=max_tries, clear_number=clear_number) is expected


@pytest.mark.parametrize("result", [None, RESULT])
def test_a_state_survives_its_store(result: TrainingResult | None) -> None:
    assert TrainingState.from_dict(state(result).to_dict()) == state(result)
