"""The report says what is known of the training, what is not, and how far the data has moved."""

from airflow_mlops.domain.drift import ColumnDrift, ComparedData, DataDrift
from airflow_mlops.domain.evaluation_html import render
from airflow_mlops.domain.facts_html import drift_section, facts_section

from .gates.judged import AS_OF, comparison, evaluation, facts, signature


def drift(columns: int = 2, notes: tuple[str, ...] = ()) -> DataDrift:
    side = ComparedData(dataset_name="<train>", dataset_digest="d", rows=1234)
    found = tuple(
        ColumnDrift(column=f"c{number}", method="wasserstein", value=number / 10, threshold=0.1, drifted=number > 0)
        for number in range(columns)
    )
    return DataDrift(reference=side, current=side, columns=found, engine="by hand", notes=notes)


def test_training_is_told_with_what_is_not_recorded() -> None:
    known = facts(data_until=AS_OF, code_version="<abc>", peak_memory_bytes=3 * 2**20)
    page = facts_section(known)
    assert "<dt>Training data until</dt><dd>2026-03-01 00:00 UTC</dd>" in page
    assert "<dt>Code</dt><dd>&lt;abc&gt;</dd>" in page
    assert "<dt>Peak memory</dt><dd>3.0 MiB</dd>" in page
    assert "<dt>Image</dt><dd>not recorded</dd>" in page


def test_inputs_of_both_models_stand_side_by_side() -> None:
    page = facts_section(facts(champion_signature=signature(x="double", z="string?")))
    assert "<td>x</td><td>double</td><td>double</td>" in page
    assert "<td>z</td><td>not taken</td><td>string, optional</td>" in page


def test_columns_that_have_drifted_come_first_and_a_thousand_are_cut() -> None:
    page = drift_section(drift(1000, notes=("<c> is gone.",)))
    assert page.index("c999") < page.index("c998")
    assert "… and 970 more columns" in page
    assert "999 of 1,000 columns have drifted" in page
    assert "by all 1,234 and 1,234 rows and by hand" in page
    assert "&lt;c&gt; is gone." in page
    assert "<train>" not in page


def test_report_has_both_parts_where_they_were_measured_and_none_where_not() -> None:
    page = render(evaluation(comparison(0.8, 0.7), facts=facts(), drift=drift()), "d" * 64)
    assert page.index("<h2>Data drift</h2>") < page.index("<h2>Training</h2>")
    bare = render(evaluation(comparison(0.8, 0.7)), "d" * 64)
    assert "<h2>Data drift</h2>" not in bare
    assert "<h2>Training</h2>" not in bare
