"""A gate speaks of every slice that was searched, and refuses what it cannot know."""

from dataclasses import replace

import pytest

from airflow_mlops.domain.evaluation import Evaluation, JudgedModel, LearningTask
from airflow_mlops.domain.gates import FirstModel, SliceGate
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.domain.slices import Against, Loss, Slice, SliceCondition, Slices
from airflow_mlops.exceptions import PolicyError


def piece(name: str, rows: int, loss: float, baseline: float, adjusted_p: float | None) -> Slice:
    return Slice(
        conditions=(SliceCondition(column="carrier", value=name), SliceCondition(column="origin", value="LGA")),
        rows=rows,
        loss=loss,
        baseline=baseline,
        difference=loss - baseline,
        adjusted_p=adjusted_p,
    )


def searched(*found: Slice, against: Against = Against.CHAMPION) -> Evaluation:
    model = JudgedModel(version="2", run_id="r", model_digest="m")
    return Evaluation(
        model_name="delays",
        candidate=model,
        champion=replace(model, version="1") if against is Against.CHAMPION else None,
        dataset_name="july",
        dataset_digest="d",
        target="late",
        task=LearningTask.BINARY,
        rows=10_000,
        confidence_level=0.95,
        resamples=100,
        metrics=(),
        slices=Slices(
            loss=Loss.BRIER_SCORE,
            against=against,
            test="paired t-test",
            metric="roc_auc",
            higher_is_better=True,
            min_rows=100,
            significance=0.05,
            columns=("carrier", "origin"),
            judged=812,
            worse=1,
            worst=found,
        ),
    )


WORSE = piece("EV", 2345, 0.1921, 0.1541, 1e-12)
UNSURE = piece("HA", 120, 0.4000, 0.2000, 0.4)


def test_refusal_names_slice_rows_both_values_and_the_test() -> None:
    verdict = SliceGate().judge(searched(WORSE, UNSURE), FirstModel.REFUSE)
    assert not verdict.passed
    assert verdict.reason == (
        "carrier = EV and origin = LGA (2,345 rows): brier_score is 0.1921 against the champion's 0.1541, 0.0380 worse "
        "(paired t-test, p = 1e-12 corrected for 812 slices)."
    )


def test_refusal_names_the_surest_slice_and_how_many_there_are() -> None:
    found = searched(WORSE, piece("HA", 120, 0.4, 0.2, 0.04))
    assert found.slices is not None
    verdict = SliceGate().judge(replace(found, slices=replace(found.slices, worse=66)), FirstModel.REFUSE)
    assert verdict.reason.startswith("carrier = EV and origin = LGA (2,345 rows)")
    assert verdict.reason.endswith("66 slices are significantly worse in all.")
    beyond = SliceGate(margin=0.1, loss=Loss.BRIER_SCORE).judge(found, FirstModel.REFUSE)
    assert beyond.reason.startswith("carrier = HA and origin = LGA (120 rows)")


@pytest.mark.parametrize(("margin", "passes"), [(0.03, False), (0.05, True)])
def test_slice_may_be_worse_within_the_margin(margin: float, *, passes: bool) -> None:
    verdict = SliceGate(margin=margin, loss=Loss.BRIER_SCORE).judge(searched(WORSE), FirstModel.REFUSE)
    assert verdict.passed is passes
    assert "carrier = EV and origin = LGA (2,345 rows)" in verdict.reason


def test_what_may_be_chance_passes() -> None:
    verdict = SliceGate().judge(searched(UNSURE), FirstModel.REFUSE)
    assert verdict.passed
    assert "Of 812 slices, none of 100 rows or more is significantly worse than the champion" in verdict.reason


def test_small_slice_is_not_asked() -> None:
    assert SliceGate(min_rows=3000).judge(searched(WORSE, piece("AA", 3000, 0.1, 0.1, 1.0)), FirstModel.REFUSE).passed
    refused = SliceGate(min_rows=3000).judge(searched(WORSE), FirstModel.REFUSE)
    assert not refused.passed
    assert "No slice has the 3,000 rows" in refused.reason


def test_finer_gate_than_search_refuses() -> None:
    verdict = SliceGate(min_rows=50).judge(searched(UNSURE), FirstModel.REFUSE)
    assert not verdict.passed
    assert "judged only those of 100" in verdict.reason


def test_absolute_bar_holds_for_a_first_model_too() -> None:
    first = searched(UNSURE, against=Against.REST)
    gate = SliceGate(margin=None, loss_at_most=0.3, loss=Loss.BRIER_SCORE)
    refused = gate.judge(first, FirstModel.BARS_ONLY)
    assert not refused.passed
    assert refused.reason.startswith("carrier = HA and origin = LGA (120 rows) costs most: brier_score is 0.4000")
    assert replace(gate, loss_at_most=0.4).judge(first, FirstModel.BARS_ONLY).passed


@pytest.mark.parametrize(("first_model", "passes"), [(FirstModel.BARS_ONLY, True), (FirstModel.REFUSE, False)])
def test_first_model_has_no_champion_to_be_worse_than(first_model: FirstModel, *, passes: bool) -> None:
    verdict = SliceGate().judge(searched(WORSE, against=Against.REST), first_model)
    assert verdict.passed is passes
    assert "no champion" in verdict.reason


def test_evaluation_without_slices_is_refused() -> None:
    verdict = SliceGate().judge(replace(searched(WORSE), slices=None), FirstModel.BARS_ONLY)
    assert not verdict.passed
    assert "The evaluation has no slices" in verdict.reason


def test_bar_in_another_loss_is_refused() -> None:
    verdict = SliceGate(margin=0.5, loss=Loss.LOG_LOSS).judge(searched(WORSE), FirstModel.REFUSE)
    assert not verdict.passed
    assert "The gate's bar is in log_loss, but the evaluation compared slices by brier_score" in verdict.reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"margin": None}, "has no bar"),
        ({"margin": -0.1}, "Give zero or more"),
        ({"margin": float("nan")}, "Give zero or more"),
        ({"margin": 0.1}, "not its unit"),
        ({"loss_at_most": float("nan"), "loss": Loss.LOG_LOSS}, "Give a finite number"),
        ({"min_rows": 1}, "Give 2 or more"),
    ],
)
def test_gate_that_asks_for_nothing_is_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        SliceGate(**given)  # type: ignore[arg-type]  # one key of several types


def test_policy_holds_the_gate_by_its_kind() -> None:
    policy = PromotionPolicy(gates=(SliceGate(margin=0.01, loss=Loss.BRIER_SCORE),))
    assert policy.to_dict()["gates"][0]["kind"] == "slices"
    assert PromotionPolicy.from_dict(policy.to_dict()) == policy
