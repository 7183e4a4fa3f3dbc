"""Serving figures: what a job may leave, and what is made of it."""

import pytest

from airflow_mlops.domain.serving import ModelServing, ServingFigures, ServingSpec
from airflow_mlops.exceptions import InvalidInputError, JobOutputError


def test_figures_of_a_job_are_read_beside_the_size_that_the_worker_found() -> None:
    content = {"cold_start_seconds": 3, "calls": 2, "p50_ms": 1.5, "notes": ["It is slow."]}
    found = ModelServing.read(content, model_bytes=10, place="docker")
    assert (found.model_bytes, found.place, found.calls, found.notes) == (10, "docker", 2, ("It is slow.",))
    assert [found.latency_ms(figure) for figure in ("p50", "p95", "cold_start")] == [1.5, None, 3000.0]


def test_a_program_that_measures_nothing_leaves_the_size_and_a_note() -> None:
    found = ModelServing.read(None, model_bytes=10, place="process")
    assert found.model_bytes == 10
    assert found.latency_ms("cold_start") is None
    assert found.notes == (
        "The program that scored it left no output/data/serving.json, so nothing but its size was measured.",
    )


def test_a_job_cannot_say_how_large_its_model_is() -> None:
    assert ModelServing.read({"model_bytes": 1, "place": "moon"}, model_bytes=10, place="docker").model_bytes == 10


@pytest.mark.parametrize("content", [{"p50": 1.0}, {"p50_ms": "fast"}, {"notes": "slow"}])
def test_figures_of_another_form_are_an_error_with_their_place(content: dict[str, object]) -> None:
    with pytest.raises(JobOutputError, match=r"output/data/serving\.json cannot be read: .*(p50|notes)"):
        ModelServing.read(content, model_bytes=10, place="docker")


def test_figures_survive_the_evidence() -> None:
    model = ModelServing(model_bytes=10, place="docker", calls=200, p50_ms=1.0, rows=5, rows_per_second=2.5)
    figures = ServingFigures(candidate=model, champion=model, cpus=1.5, memory_mb=512)
    assert ServingFigures.from_dict(figures.to_dict()) == figures


@pytest.mark.parametrize(("calls", "seconds"), [(0, 1.0), (1, 0.0), (1, float("inf"))])
def test_a_measurement_without_an_end_is_refused(calls: int, seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="to measure nothing, give `serving: null`"):
        ServingSpec(calls=calls, seconds=seconds)
