"""The report of a drift check: what is wrong first, then every column, and nothing that a column's name could break."""

from dataclasses import replace
from datetime import UTC, datetime

from airflow_mlops.domain.drift import ColumnDrift, ComparedData, Correction, DataDrift, DriftSpec, Volume
from airflow_mlops.domain.drift.report import DriftReport
from airflow_mlops.domain.drift_html import render
from airflow_mlops.domain.monitoring import CheckVerdict, Window
from airflow_mlops.domain.profile import Categories, ColumnProfile, DatasetProfile, ProfileKind

WINDOW = Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 3, 2, tzinfo=UTC))


def column(name: str, value: float | None, *, drifted: bool = False, **fields: object) -> ColumnDrift:
    plain = ColumnDrift(
        column=name, method="psi" if value is not None else "", value=value, threshold=0.1, drifted=drifted
    )
    return replace(plain, **fields)  # type: ignore[arg-type]  # any field


def report(*columns: ColumnDrift, spec: DriftSpec | None = None) -> DriftReport:
    side = ComparedData(dataset_name="<data>", dataset_digest="d" * 64, rows=12345)
    return DriftReport(
        model_name="<model>",
        model_version="7",
        window=WINDOW,
        drift=DataDrift(
            reference=side,
            current=side,
            columns=columns,
            engine="by hand",
            notes=("<note>",),
            prediction=(column("said", 0.05),),
        ),
        spec=spec or DriftSpec(),
        verdict=CheckVerdict.VIOLATED,
        reasons=("<reason>",),
        volume=Volume(rows=1, expected=4.0, basis="guess"),
    )


def profile(**counts: int) -> DatasetProfile:
    found = ColumnProfile(
        name="<c>", type="string", kind=ProfileKind.CATEGORY, rows=9, distribution=Categories(counts=counts)
    )
    return DatasetProfile(rows=9, columns=(found,))


def page(found: DriftReport, evidently: str = "") -> str:
    return render(found, profile(a=1, b=2), profile(b=3), evidently=evidently)


def test_what_is_wrong_comes_first_then_predictions_then_features_the_furthest_first() -> None:
    shown = page(report(column("stayed", 0.01), column("near", 0.2, drifted=True), column("far", 0.9, drifted=True)))
    told = (
        "Violated",
        "&lt;reason&gt;",
        *(f"<td>{name}<br>" for name in ("said", "far", "near", "stayed")),
        "&lt;note",
    )
    places = [shown.index(text) for text in told]
    assert places == sorted(places)


def test_names_and_texts_of_the_data_are_no_markup() -> None:
    shown = page(report(column("<c>", 0.2, drifted=True, new_share=0.4, new_categories=("<script>",), note="<x>")))
    assert not any(f"<{name}>" in shown for name in ("c", "x", "script", "data", "model", "note", "reason"))
    assert "40.0% new" in shown


def test_shares_of_both_sides_can_be_read_from_the_bars() -> None:
    shown = page(report(column("<c>", 0.2)))
    assert "<title>a: 33.3% of the reference, 0.0% of the window</title>" in shown
    assert shown.count("<svg") == 1


def test_value_comes_with_what_it_lacks_and_with_its_correction() -> None:
    shown = page(
        report(
            column("x", 0.04, method="ks", threshold=0.05, adjusted=0.12, error=0.003, missing_current=0.25),
            column("odd", None, note="odd has no values."),
            spec=DriftSpec(correction=Correction.BENJAMINI_HOCHBERG, min_effect=0.07),
        )
    )
    for text in ("± 0.003", "adjusted 0.12", "≤ 0.05", "0.0% → 25.0%", "not compared", "odd has no values."):
        assert text in shown, text
    assert "benjamini-hochberg, of p-values" in shown
    assert "0.07, where a test says drift" in shown
    assert "1 instead of about 4 (0.25 times), by guess" in shown


def test_evidently_is_linked_where_there_is_a_page_of_it() -> None:
    shown = page(report(column("x", 0.2)), "https://mlflow/a?b=1&c=2")
    assert '<a href="https://mlflow/a?b=1&amp;c=2"' in shown
    assert "on a random sample of 10,000 and 10,000 rows" in shown
    assert "Evidently" not in page(report(column("x", 0.2)))


def test_a_thousand_columns_are_cut() -> None:
    shown = page(report(*(column(f"c{number}", 0.01) for number in range(1000))))
    assert "… and 500 more columns" in shown
