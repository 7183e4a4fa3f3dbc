"""Gates on facts: what passes, what is refused, and that a fact that is not there is a refusal."""

from datetime import timedelta
from typing import Any

import pytest

from airflow_mlops.domain.drift import ColumnDrift, ComparedData, DataDrift
from airflow_mlops.domain.facts import Facts, Signature, signature_columns
from airflow_mlops.domain.gates import (
    CostGate,
    DriftGate,
    FirstModel,
    FreshnessGate,
    Gate,
    Origin,
    ReproducibilityGate,
    RowsGate,
    SignatureGate,
)
from airflow_mlops.exceptions import PolicyError

from .judged import AS_OF, evaluation, facts, signature


def says(gate: Gate, *, first_model: FirstModel = FirstModel.REFUSE, **parts: Any) -> tuple[bool, str]:
    verdict = gate.judge(evaluation(**parts), first_model)
    return verdict.passed, verdict.reason


# Signature -----------------------------------------------------------------------------------------------------------


def compared(ours: Signature | None, theirs: Signature | None, *, exact: bool = False) -> tuple[bool, str]:
    known = Facts(as_of=AS_OF, training=facts().training, signature=ours, champion_signature=theirs)
    return says(SignatureGate(exact=exact), facts=known)


@pytest.mark.parametrize(
    ("ours", "passed", "exactly", "reason"),
    [
        ({"x": "double", "n": "integer"}, True, True, "takes the champion's 2 inputs"),
        ({"n": "integer", "x": "double"}, True, True, "takes the champion's 2 inputs"),
        ({"x": "double", "n": "long"}, True, False, "n may be long as well as integer"),
        ({"x": "double", "n": "integer?"}, True, False, "n may be left out now"),
        ({"x": "double"}, True, False, "no longer reads n"),
        ({"x": "double", "n": "integer", "z": "string?"}, True, False, "can also read z"),
        ({"x": "double", "n": "integer", "z": "string"}, False, False, "requires z, which they do not send"),
        ({"x": "string", "n": "integer"}, False, False, "x must be string, but they send double"),
        ({"x": "float", "n": "integer"}, False, False, "x must be float, but they send double"),
    ],
)
def test_callers_of_the_champion_must_be_able_to_call_the_candidate(
    ours: dict[str, str], passed: bool, exactly: bool, reason: str
) -> None:
    theirs = signature(x="double", n="integer")
    assert compared(signature(**ours), theirs)[0] is passed
    verdict = compared(signature(**ours), theirs, exact=True)
    assert verdict[0] is exactly
    assert reason in verdict[1]


def test_input_that_callers_may_leave_out_may_not_become_required() -> None:
    passed, reason = compared(signature(x="double"), signature(x="double?"))
    assert (passed, "it requires x, which they may leave out" in reason) == (False, True)


def test_outputs_must_stay_what_callers_expect() -> None:
    passed, reason = compared(signature("double", x="double"), signature("long", x="double"))
    assert (passed, "it gives double, but they expect long" in reason) == (False, True)


def test_inputs_without_names_are_compared_by_their_position() -> None:
    def tensor(columns: int) -> Signature:
        spec = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, columns]}}
        return Signature(inputs=signature_columns([spec]))

    assert compared(tensor(3), tensor(3))[0]
    assert not compared(tensor(4), tensor(3))[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "who"), [(None, signature(x="double"), "candidate"), (signature(x="double"), None, "champion")]
)
def test_model_without_a_signature_cannot_be_compared(
    ours: Signature | None, theirs: Signature | None, who: str
) -> None:
    passed, reason = compared(ours, theirs)
    assert (passed, f"The {who} has no signature" in reason) == (False, True)


def test_first_model_has_no_signature_to_fit() -> None:
    assert says(SignatureGate(), champion=None, facts=facts(), first_model=FirstModel.BARS_ONLY)[0]
    assert not says(SignatureGate(), champion=None, facts=facts())[0]


# Age -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "days", "passed"),
    [
        (FreshnessGate(max_data_age_days=7), 7, True),
        (FreshnessGate(max_data_age_days=7), 7.01, False),
        (FreshnessGate(max_data_age_days=7), -3, True),  # a backfill looks at a moment before it
        (FreshnessGate(max_training_age_days=7), 8, False),
        (FreshnessGate(max_data_age_days=9, max_training_age_days=7), 8, False),
        (FreshnessGate(max_data_age_days=9, max_training_age_days=8), 8, True),
    ],
)
def test_candidate_may_be_as_old_as_the_bar(gate: FreshnessGate, days: float, passed: bool) -> None:
    then = AS_OF - timedelta(days=days)
    assert says(gate, facts=facts(data_until=then, trained_at=then))[0] is passed


def test_age_that_nobody_knows_is_refused_with_the_remedy() -> None:
    assert says(FreshnessGate(max_data_age_days=7), facts=facts()) == (
        False,
        "Nobody knows how old the newest training data is. Snapshot with a time_column.",
    )
    assert not says(FreshnessGate(max_training_age_days=7), facts=facts(data_until=AS_OF))[0]


# Cost ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "passed", "reason"),
    [
        (CostGate(max_cpu_seconds=60), True, "CPU time was 60.0 s."),
        (CostGate(max_cpu_seconds=59), False, "CPU time was 60.0 s, but may be at most 59 s."),
        (CostGate(max_peak_memory_mb=512), True, "peak memory was 512.0 MiB."),
        (CostGate(max_peak_memory_mb=511), False, "but may be at most 511 MiB."),
        (CostGate(max_cpu_seconds=60, max_wall_seconds=9), False, "The training's wall time was not counted."),
    ],
)
def test_training_may_use_as_much_as_the_bar(gate: CostGate, passed: bool, reason: str) -> None:
    verdict = says(gate, facts=facts(cpu_seconds=60.0, peak_memory_bytes=512 * 2**20))
    assert (verdict[0], reason in verdict[1]) == (passed, True), verdict


# Provenance ----------------------------------------------------------------------------------------------------------

KNOWN: dict[str, Any] = {
    "dataset_digest": "d",
    "suite_digest": "s",
    "image_digest": "trainer@sha256:1",
    "code_version": "c",
}


def test_training_whose_origin_is_recorded_can_be_repeated() -> None:
    assert says(ReproducibilityGate(), facts=facts(**KNOWN))[0]
    seeded = ReproducibilityGate(require=(Origin.SEED,))
    assert says(seeded, facts=facts(seed="0"))[0]
    assert not says(seeded, facts=facts(**KNOWN))[0]


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"dataset_digest": None}, "the digest of its training data is not recorded"),
        ({"suite_digest": None}, "no suite is recorded"),
        ({"image_digest": None}, "the image that trained it is not recorded by digest"),
        ({"image_digest": "trainer:latest"}, "the image that trained it is not recorded by digest"),
        ({"code_version": None}, "the version of its code is not recorded"),
    ],
)
def test_training_that_lacks_a_part_of_its_origin_is_refused_by_name(known: dict[str, Any], reason: str) -> None:
    passed, said = says(ReproducibilityGate(), facts=facts(**{**KNOWN, **known}))
    assert (passed, said.startswith(f"The training could not be repeated: {reason}")) == (False, True), said


# Drift and rows ------------------------------------------------------------------------------------------------------


def drift(lost: tuple[str, ...] = (), **values: float) -> DataDrift:
    columns = tuple(
        ColumnDrift(column=name, method="wasserstein", value=value, threshold=0.1, drifted=value >= 0.1)
        for name, value in values.items()
    )
    train, recent = (ComparedData(dataset_name=name, dataset_digest="d", rows=9) for name in ("train", "recent"))
    return DataDrift(reference=train, current=recent, columns=columns, engine="by hand", lost=lost)


@pytest.mark.parametrize(
    ("gate", "found", "passed", "reason"),
    [
        (DriftGate(), drift(a=0.0, b=0.05), True, "0 of 2 columns differ between train and recent."),
        (DriftGate(), drift(a=0.2, b=0.05), True, "1 of 2 columns differ between train and recent (a 0.20)."),
        (DriftGate(max_share=0.4), drift(a=0.2, b=0.05), False, "(a 0.20); at most 40% may."),
        (DriftGate(max_share=0.0), drift(a=0.2, b=0.3), False, "(b 0.30, a 0.20); at most 0% may."),
        (DriftGate(stable=("b",)), drift(a=0.2, b=0.05), True, "1 of 2"),
        (DriftGate(stable=("a",)), drift(a=0.2, b=0.05), False, "; a must not."),
        (DriftGate(stable=("z",)), drift(a=0.2), False, "The drift of z was not measured (only that of a)."),
        (DriftGate(), drift(lost=("c is gone.",), a=0.0), False, "c is gone."),
        (DriftGate(), drift(), False, "There was no column to compare."),
        (DriftGate(), None, False, "Drift was not measured."),
    ],
)
def test_share_of_columns_that_have_drifted_is_judged(
    gate: DriftGate, found: DataDrift | None, passed: bool, reason: str
) -> None:
    verdict = says(gate, drift=found)
    assert (verdict[0], reason in verdict[1]) == (passed, True), verdict


def test_holdout_of_too_few_rows_is_refused() -> None:
    assert says(RowsGate(at_least=100)) == (True, "The holdout has 100 rows.")
    assert says(RowsGate(at_least=1000)) == (False, "The holdout must have at least 1,000 rows, but has 100.")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RowsGate(at_least=0),
        lambda: DriftGate(max_share=1.0),
        lambda: DriftGate(max_share=-0.1),
        FreshnessGate,
        lambda: FreshnessGate(max_data_age_days=0),
        CostGate,
        lambda: CostGate(max_cpu_seconds=float("nan")),
        lambda: ReproducibilityGate(require=()),
    ],
)
def test_bar_that_is_none_is_refused_when_it_is_written(wrong: Any) -> None:
    with pytest.raises(PolicyError):
        wrong()


@pytest.mark.parametrize(
    "gate",
    [SignatureGate(), FreshnessGate(max_data_age_days=1), CostGate(max_cpu_seconds=1), ReproducibilityGate()],
)
def test_evidence_of_an_earlier_release_lacks_the_facts_and_is_refused(gate: Gate) -> None:
    passed, reason = says(gate)
    assert (passed, "Evaluate with this release." in reason) == (False, True)
