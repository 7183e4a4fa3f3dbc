"""What holds for every gate there is, and for policies of any of them."""

import dataclasses
import enum
import itertools
import json
import random
import types
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.drift import ColumnDrift, ComparedData, DataDrift
from airflow_mlops.domain.evaluation import Evaluation, Evidence
from airflow_mlops.domain.gates import GATES, FirstModel, Gate, GateMode, GateVerdict
from airflow_mlops.domain.promotion import PromotionDecision, PromotionPolicy
from airflow_mlops.exceptions import PolicyError

from .judged import AS_OF, comparison, evaluation, facts, signature

_NUMBERS = (0.0, 0.01, 0.05, 0.5, 0.8, 0.95, 1.0, 100.0)


def values_of(hint: Any) -> tuple[Any, ...]:
    """Return some values of a type, sensible and not: which of them a gate takes, it says itself."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return tuple(itertools.chain.from_iterable(values_of(argument) for argument in arguments))
    if typing.get_origin(hint) is tuple:
        items = values_of(arguments[0])
        return ((), items[:1], items)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(hint)
    return {
        str: ("auc", "x", "selection_rate"),
        float: _NUMBERS,
        int: (1, 50, 500),
        bool: (True, False),
        types.NoneType: (None,),
    }[hint]


def some_of(gate: type[Gate], seed: int) -> Iterator[Gate]:
    """Yield some gates of a class, by its fields alone: a new gate is tested from the day that it is there."""
    chance = random.Random(seed)  # noqa: S311 - the same gates in every run
    hints = typing.get_type_hints(gate)
    fields = [field for field in dataclasses.fields(gate) if field.name != "mode"]
    for _ in range(400):
        given_ = [field for field in fields if _is_needed(field) or chance.random() < 0.4]
        try:
            yield gate(**{field.name: chance.choice(values_of(hints[field.name])) for field in given_})
        except PolicyError:
            continue


def _is_needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


ALL = {kind: list(itertools.islice(some_of(gate, seed=7), 12)) for kind, gate in GATES.items()}


def drift(share: float) -> DataDrift:
    side = ComparedData(dataset_name="train", dataset_digest="t", rows=10)
    values = (("x", share), ("y", 0.0))
    columns = [
        ColumnDrift(column=name, method="wasserstein", value=value, threshold=0.1, drifted=value >= 0.1)
        for name, value in values
    ]
    return DataDrift(reference=side, current=side, columns=tuple(columns), engine="by hand")


def evidences() -> Iterator[Evidence]:
    known = facts(
        champion_signature=signature(x="double"),
        data_until=AS_OF,
        trained_at=AS_OF,
        cpu_seconds=40.0,
        dataset_digest="t",
        image_digest="sha256:1",
        code_version="c",
        suite_digest="s",
    )
    for candidate, champion in ((0.9, 0.7), (0.7, 0.7), (0.6, 0.7), (0.9, None), (0.2, None)):
        for parts in ({}, {"facts": known, "drift": drift(0.0), "rows": 1000}, {"facts": facts(), "drift": drift(0.9)}):
            yield _evidence(
                evaluation(
                    comparison(candidate, champion, p_value=None if champion is None else 0.01),
                    champion=None if champion is None else "1",
                    **parts,
                )
            )
    yield _evidence(evaluation())


def _evidence(judged: Evaluation) -> Evidence:
    return Evidence(uri="/evidence", digest=judged.content_digest(), evaluation=judged)


EVIDENCE = list(evidences())

any_gate = st.builds(
    replace, st.sampled_from([gate for some in ALL.values() for gate in some]), mode=st.sampled_from(GateMode)
)
any_gates = st.lists(any_gate, max_size=6)
any_evidence = st.sampled_from(EVIDENCE)
first_models = st.sampled_from(FirstModel)


def judge(gates: list[Gate], seen: Evidence, first_model: FirstModel) -> PromotionDecision:
    return PromotionPolicy(gates=tuple(gates), first_model=first_model).judge(seen)


def said(decision: PromotionDecision) -> list[GateVerdict]:
    """Return what the gates say, without what the policy as a whole does."""
    return [verdict for verdict in decision.verdicts if verdict.gate != "policy"]


@pytest.mark.parametrize("kind", GATES)
def test_every_gate_can_be_made_and_judges_any_evidence_in_a_sentence(kind: str) -> None:
    assert ALL[kind], f"None of 400 attempts made a {kind} gate: values_of lacks what it needs"
    for gate, seen, first_model in itertools.product(ALL[kind], EVIDENCE, FirstModel):
        verdict = gate.judge(seen.evaluation, first_model)
        assert verdict.gate == gate.name != ""
        assert verdict.reason[:1].isalnum()
        assert verdict.reason.endswith("."), verdict.reason
        assert gate.judge(seen.evaluation, first_model) == verdict


@pytest.mark.parametrize("kind", GATES)
def test_every_gate_refuses_evidence_that_holds_nothing(kind: str) -> None:
    nothing = evaluation(rows=0)
    for gate in ALL[kind]:
        verdict = gate.judge(nothing, FirstModel.REFUSE)
        assert not verdict.passed, (gate, verdict)


@settings(deadline=None)
@given(gates=any_gates, seen=any_evidence, first_model=first_models, order=st.randoms(use_true_random=False))
def test_order_of_gates_changes_no_verdict(
    gates: list[Gate], seen: Evidence, first_model: FirstModel, order: random.Random
) -> None:
    shuffled = list(gates)
    order.shuffle(shuffled)
    one, other = judge(gates, seen, first_model), judge(shuffled, seen, first_model)
    assert one.passed is other.passed
    assert sorted(map(str, one.verdicts)) == sorted(map(str, other.verdicts))


@settings(deadline=None)
@given(gates=any_gates, more=any_gates, seen=any_evidence, first_model=first_models)
def test_another_gate_never_turns_a_refusal_into_a_pass(
    gates: list[Gate], more: list[Gate], seen: Evidence, first_model: FirstModel
) -> None:
    before, after = judge(gates, seen, first_model), judge([*gates, *more], seen, first_model)
    if any(verdict.refuses for verdict in said(before)):
        assert not after.passed
    elif not before.passed and after.passed:  # The policy said nothing at all for this model: now something does.
        assert any(gate.mode is GateMode.ENFORCE for gate in more)


@settings(deadline=None)
@given(gates=any_gates, more=any_gates, mode=st.sampled_from([GateMode.DRY_RUN, GateMode.OFF]), seen=any_evidence)
def test_gates_that_are_not_enforced_decide_nothing(
    gates: list[Gate], more: list[Gate], mode: GateMode, seen: Evidence
) -> None:
    silent = [replace(gate, mode=mode) for gate in more]
    alone, beside = (judge(some, seen, FirstModel.BARS_ONLY) for some in (gates, [*gates, *silent]))
    assert alone.passed is beside.passed
    assert [verdict for verdict in said(beside) if verdict.refuses] == [
        verdict for verdict in said(alone) if verdict.refuses
    ]


@settings(deadline=None)
@given(gates=any_gates, first_model=first_models)
def test_policy_survives_the_way_through_json_with_its_digest(gates: list[Gate], first_model: FirstModel) -> None:
    policy = PromotionPolicy(gates=tuple(gates), first_model=first_model)
    read = PromotionPolicy.from_dict(json.loads(json.dumps(policy.to_dict())))
    assert read == policy
    assert read.content_digest() == policy.content_digest()


@settings(deadline=None)
@given(gate=any_gate)
def test_gate_survives_the_way_through_json_alone(gate: Gate) -> None:
    document = json.loads(json.dumps(gate.to_dict()))
    assert Gate.from_dict(document) == type(gate).from_dict(document) == gate


@settings(deadline=None)
@given(gates=any_gates, seen=any_evidence)
def test_decision_survives_the_way_through_json(gates: list[Gate], seen: Evidence) -> None:
    decision = judge(gates, seen, FirstModel.BARS_ONLY)
    assert PromotionDecision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
