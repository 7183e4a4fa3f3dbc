"""The serving part of a report: both models side by side, and what was not measured."""

from airflow_mlops.domain.serving import ModelServing, ServingFigures
from airflow_mlops.domain.serving_html import serving_section

MEASURED = ModelServing(
    model_bytes=3 * 2**20,
    place="docker",
    cold_start_seconds=2.5,
    calls=200,
    p50_ms=4.4321,
    p95_ms=12.0,
    p99_ms=1234.5,
    rows=1000,
    rows_per_second=56789.1,
    peak_memory_bytes=300 * 2**20,
)


def test_nothing_measured_is_no_section() -> None:
    assert serving_section(None) == ""


def test_both_models_stand_side_by_side_with_their_limits() -> None:
    champion = ModelServing(model_bytes=2**20, place="process", notes=("It has <b>its own</b> program.",))
    html = serving_section(ServingFigures(candidate=MEASURED, champion=champion, cpus=1.5, memory_mb=2048))
    for text in ("4.43 ms", "1,234 ms", "2.50 s", "56,789 rows/s", "300 MiB", "3.00 MiB", "a process"):
        assert f'<td class="number">{text}</td>' in html
    assert html.count("not measured") == 7
    assert "within 1.5 CPUs and 2,048 MiB" in html
    assert "Champion: It has &lt;b&gt;its own&lt;/b&gt; program." in html


def test_a_first_model_stands_alone() -> None:
    html = serving_section(ServingFigures(candidate=MEASURED, cpus=1, memory_mb=1))
    assert "<h2>Serving</h2>" in html
    assert ">Champion<" not in html
