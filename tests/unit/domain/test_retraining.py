"""When a watched model is trained again, and when not."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.retraining import (
    WEEK,
    AlertKind,
    KindRule,
    RetrainDecision,
    RetrainPolicy,
    RetrainVerdict,
    WindowOutcome,
)
from airflow_mlops.domain.retraining_rules import next_decision
from airflow_mlops.exceptions import InvalidInputError, PolicyError

START = datetime(2013, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LETTERS = {"V": CheckVerdict.VIOLATED, "p": CheckVerdict.PASSED, "?": CheckVerdict.UNDECIDED}
DAILY = RetrainPolicy(cool_down_days=3, max_per_week=20)


def window(number: int) -> Window:
    return Window(start=START + timedelta(days=number), end=START + timedelta(days=number + 1))


def outcome(number: int, version: str = "1", rows: int = 100, **verdicts: str) -> WindowOutcome:
    """Return a window. ``drift="V"`` is a violation, ``decay="p"`` passed, ``bias="?"`` undecided, ``bad="V"`` bad."""
    kinds = {"drift": CheckKind.DATA_DRIFT, "decay": CheckKind.DECAY, "bias": CheckKind.BIAS, "bad": CheckKind.QUALITY}
    checks = tuple(
        WindowCheck(
            kind=kinds[name],
            window=window(number),
            verdict=LETTERS[letter],
            model_name="late",
            model_version="" if name == "bad" else version,
            rows=rows,
            reasons=(f"{name} of day {number}.",),
        )
        for name, letter in verdicts.items()
    )
    return WindowOutcome(model_name="late", window=window(number), checks=checks, closed_at=NOW)


def days(letters: str, *, kind: str = "drift", version: str = "1", first: int = 0) -> list[WindowOutcome]:
    return [outcome(first + number, version, 100, **{kind: letter}) for number, letter in enumerate(letters)]


class Watch:
    """A model that is watched: what the operator keeps in the artifact store."""

    def __init__(self, policy: RetrainPolicy = DAILY, superseded: Iterable[str] = ()) -> None:
        self.policy, self.superseded = policy, tuple(superseded)
        self.known: dict[str, WindowOutcome] = {}
        self.decisions: list[RetrainDecision] = []

    def add(self, *outcomes: WindowOutcome) -> "Watch":
        for item in outcomes:
            self.known[item.window.key] = item
            self.settle()
        return self

    def settle(self) -> None:
        while True:
            newest = self.decisions[-1] if self.decisions else None
            known = [self.known[key] for key in sorted(self.known)]
            decided = next_decision(self.policy, known, newest, now=NOW, superseded=self.superseded)
            if decided is None:
                return
            self.decisions.append(decided)

    @property
    def retrained(self) -> list[int]:
        """The days of the retrainings."""
        return [(item.window.start - START).days for item in self.decisions if item.is_retraining]

    @property
    def newest(self) -> RetrainDecision:
        return self.decisions[-1]


@pytest.mark.parametrize(
    ("letters", "retrained"),
    [
        ("V", []),
        ("VV", [1]),
        ("VVVVV", [1, 4]),  # a cool-down of three days, then six
        ("VVVVVVVVVVVVVVVVVVVVVV", [1, 4, 10]),  # then twelve
        ("VpV", [2]),
        ("VppV", []),  # recovered in between
        ("V????V", [5]),  # nobody knows is neither finding nor recovery
        ("VpVpppppVV", [2, 9]),
        ("VVp", [1]),
        ("Vp?pV", []),
        ("?????", []),
    ],
)
def test_often_enough_and_the_last_time_is_reason_to_train(letters: str, retrained: list[int]) -> None:
    assert Watch().add(*days(letters)).retrained == retrained


def test_violations_are_counted_among_the_last_windows_only() -> None:
    policy = replace(DAILY, data_drift=KindRule(violations=3, windows=5), recover_after=9)
    assert Watch(policy).add(*days("VpVppV")).retrained == []
    assert Watch(policy).add(*days("VpVpV")).retrained == [4]


def test_five_violated_windows_in_a_row_give_one_retraining_by_default() -> None:
    watch = Watch(RetrainPolicy()).add(*days("VVVVV"))
    assert watch.retrained == [1]
    assert [str(item.verdict) for item in watch.decisions] == ["no_reason", "retrain", "held", "held", "held"]


def test_kinds_are_counted_each_by_its_own_rule() -> None:
    policy = replace(DAILY, decay=KindRule(violations=1, windows=1), bias=KindRule(retrains=False))
    assert Watch(policy).add(outcome(0, drift="V"), outcome(1, decay="V")).newest.kinds == (CheckKind.DECAY,)
    assert Watch(policy).add(*days("VVVV", kind="bias")).retrained == []
    both = Watch().add(*(outcome(number, drift="V", decay="V", bias="p") for number in range(2))).newest
    assert both.kinds == (CheckKind.DATA_DRIFT, CheckKind.DECAY)
    assert both.summary == (
        "Retrain late: data drift and decay of version 1 of late. Data drift in 2 of the last 2 windows, the last time "
        "in the window from 2013-01-02: drift of day 1. Decay in 2 of the last 2 windows, the last time in the window "
        "from 2013-01-02: decay of day 1."
    )


def test_bad_data_never_retrains_and_its_drift_does_not_count() -> None:
    bad = [outcome(number, drift="V", bad="V") for number in range(6)]
    watch = Watch().add(*bad)
    assert watch.retrained == []
    assert watch.newest.summary == "late is not trained again: the data of this window failed its validation."
    assert watch.decisions[0].alert is AlertKind.VIOLATION
    assert watch.newest.open_kinds == (CheckKind.QUALITY,)
    held = replace(DAILY, cool_down_days=0, back_off=1)
    watch = Watch(held).add(*days("VV"), outcome(2, drift="V", bad="V"), outcome(3, drift="p", bad="p"))
    assert watch.retrained == [1]


def test_nothing_is_started_in_a_window_of_bad_data_though_older_ones_speak_for_it() -> None:
    policy = replace(DAILY, min_new_rows=150)
    watch = Watch(policy).add(outcome(0, rows=70, drift="V"), outcome(1, rows=70, drift="V"))
    watch.add(outcome(2, rows=70, bad="V", drift="V"))
    assert watch.newest.verdict is RetrainVerdict.HELD
    assert "bad data is no reason to train" in watch.newest.summary
    assert watch.add(outcome(3, rows=70, bad="p", drift="V")).retrained == [3]


def test_what_is_found_in_data_that_nobody_validated_counts_when_it_is_known_to_be_good() -> None:
    watch = Watch().add(*(outcome(number, drift="V", bad="?") for number in range(6)))
    assert watch.retrained == []
    assert watch.newest.summary == "late is not trained again: the data of this window has not been validated."
    assert watch.newest.alert is None
    assert watch.add(*(outcome(number, drift="V", bad="p") for number in range(6))).retrained == [5]


def test_nothing_is_started_in_a_window_that_nobody_validated_though_older_ones_speak_for_it() -> None:
    policy = replace(DAILY, min_new_rows=150)
    watch = Watch(policy).add(outcome(0, rows=70, drift="V"), outcome(1, rows=70, drift="V"))
    watch.add(outcome(2, rows=70, bad="?", drift="V"))
    assert watch.newest.verdict is RetrainVerdict.HELD
    assert "has not been validated, and may be bad" in watch.newest.summary
    assert "Only 140 rows of good data are new" in watch.newest.summary
    assert watch.add(outcome(3, rows=70, bad="p", drift="V")).retrained == [3]


def test_new_champion_starts_with_a_clean_slate() -> None:
    watch = Watch().add(*days("VV"), *days("V", version="2", first=9))
    assert watch.retrained == [1]
    assert watch.newest.summary.endswith("there is data drift in this window, but not yet often enough.")
    assert watch.add(*days("V", version="2", first=10)).retrained == [1, 10]
    assert watch.newest.attempt == 1


def test_version_that_serves_no_more_is_not_replaced() -> None:
    watch = Watch(superseded=["1"]).add(*days("VVV"))
    assert watch.retrained == []
    assert "Version 1, which was judged, serves no more." in watch.newest.summary


def test_retraining_that_led_to_no_champion_is_repeated_ever_more_rarely() -> None:
    watch = Watch(RetrainPolicy(cool_down_days=7, longest_cool_down_days=28)).add(*days("V" * 120))
    assert watch.retrained == [1, 8, 22, 50, 78, 106]
    assert [item.attempt for item in watch.newest.retrainings] == [1, 2, 3, 4, 5, 6]
    held = watch.decisions[-1]
    assert held.summary == (
        "late is not trained again in spite of data drift of version 1 of late. The last retraining was of the window "
        "to 2013-04-18, and the cool-down of 28 days after 6 retrainings without a new champion ends on 2013-05-16."
    )


def test_retraining_is_not_repeated_on_what_was_known_before() -> None:
    watch = Watch().add(*days("VV"), *days("????????", first=2))
    assert watch.retrained == [1]
    assert "Nothing was found since the last retraining that was not a reason for it." in watch.newest.summary


def test_week_has_no_more_retrainings_than_allowed() -> None:
    policy = RetrainPolicy(cool_down_days=1, back_off=1, max_per_week=2)
    assert Watch(policy).add(*days("V" * 11)).retrained == [1, 2, 8, 9]


def test_too_little_new_data_is_waited_for() -> None:
    policy = replace(DAILY, min_new_rows=250)
    watch = Watch(policy).add(*days("VV"))
    assert watch.newest.summary.endswith("Only 200 rows of good data are new, of 250 that it takes.")
    assert watch.add(*days("VVVVV", first=2)).retrained == [2, 5]


def test_alert_is_told_at_its_beginning_for_each_new_kind_and_at_its_end() -> None:
    policy = replace(DAILY, decay=KindRule(retrains=False), data_drift=KindRule(retrains=False))
    watch = Watch(policy).add(
        outcome(0, drift="p"),
        outcome(1, drift="V"),
        outcome(2, drift="V"),
        outcome(3, drift="V", decay="V"),
        outcome(4, drift="p", decay="p"),
        outcome(5, drift="?", decay="?"),
        outcome(6, drift="p", decay="p"),
        outcome(7, drift="V"),
    )
    alerts = [item.alert for item in watch.decisions]
    expected = [None, "violation", "ongoing", "new_kind", None, None, "recovery", "violation"]
    assert [alert and alert.value for alert in alerts] == expected
    assert watch.decisions[4].summary == (
        "late is not trained again: this window has no finding, but data drift and decay is not over yet."
    )


def test_start_of_a_retraining_is_told_though_the_finding_was() -> None:
    assert [item.alert for item in Watch().add(*days("VV")).decisions] == [AlertKind.VIOLATION, AlertKind.RETRAINING]


def test_late_label_makes_the_newest_window_be_decided_again() -> None:
    watch = Watch().add(*(outcome(number, drift="p", decay="?") for number in range(4)))
    watch.add(outcome(1, drift="p", decay="V"))
    assert (watch.newest.window, watch.newest.revision) == (window(3), 1)
    watch.add(outcome(2, drift="p", decay="V"))
    assert (watch.newest.window, watch.newest.revision, watch.retrained) == (window(3), 2, [3])
    count = len(watch.decisions)
    assert len(watch.add(outcome(2, drift="p", decay="V")).decisions) == count


def test_missing_window_is_waited_for_as_long_as_the_policy_says() -> None:
    first, _, third = days("VVV")
    watch = Watch(replace(DAILY, patience_hours=1)).add(replace(first, closed_at=NOW - timedelta(hours=2)), third)
    assert [item.window for item in watch.decisions] == [window(0)]
    watch.add(replace(third, closed_at=NOW - timedelta(hours=1)))
    assert [item.window for item in watch.decisions] == [window(0), window(2)]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"cool_down_days": -1.0}, "cool_down_days of the retrain policy is -1"),
        ({"back_off": 0.5}, "back_off of the retrain policy is 0.5, but must be at least 1"),
        ({"cool_down_days": 100.0}, "longest_cool_down_days of the retrain policy is 90"),
        ({"max_per_week": 21}, "must be at most 20"),
        ({"recover_after": 0}, "recover_after"),
    ],
)
def test_policy_that_cannot_be_meant_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        RetrainPolicy(**wrong)


def test_rule_that_cannot_be_met_is_refused_wherever_it_is_written() -> None:
    with pytest.raises(PolicyError, match="6 violations in 5 windows"):
        RetrainPolicy.from_dict({"data_drift": {"violations": 6}})
    with pytest.raises(InvalidInputError, match="unknown key 'quality'"):
        RetrainPolicy.from_dict({"quality": {}})  # bad data is no reason to train


def test_decision_survives_json() -> None:
    decision = Watch().add(*days("VVV")).newest
    assert RetrainDecision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


# Properties ----------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[WindowOutcome]:
    """Draw windows that follow each other, with promotions in between."""
    letters = st.sampled_from("VVp?")
    count, version = draw(st.integers(1, 14)), 1
    found = []
    for number in range(count):
        version += draw(st.sampled_from([0, 0, 0, 0, 1]))
        verdicts = {"drift": draw(letters), "decay": draw(letters), "bad": draw(st.sampled_from("pppV?"))}
        found.append(outcome(number, str(version), draw(st.integers(0, 200)), **verdicts))
    return found


POLICIES = st.builds(
    RetrainPolicy,
    data_drift=st.sampled_from([KindRule(), KindRule(violations=1, windows=1), KindRule(violations=3, windows=4)]),
    decay=st.sampled_from([KindRule(), KindRule(retrains=False)]),
    cool_down_days=st.sampled_from([0.0, 1.0, 2.5, 7.0]),
    back_off=st.sampled_from([1.0, 2.0]),
    max_per_week=st.integers(1, 3),
    min_new_rows=st.sampled_from([0, 150]),
    recover_after=st.integers(1, 3),
)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[WindowOutcome], list[WindowOutcome]]:
    """Draw windows, and in which order they come, each one once or more."""
    windows = draw(histories())
    repeats = draw(st.lists(st.sampled_from(windows), max_size=8))
    return windows, draw(st.permutations([*windows, *repeats]))


@given(arrivals(), POLICIES)
@settings(max_examples=60, deadline=None)
def test_any_order_gives_the_same_decisions_where_missing_windows_are_waited_for(
    drawn: tuple[list[WindowOutcome], list[WindowOutcome]], policy: RetrainPolicy
) -> None:
    windows, order = drawn
    policy = replace(policy, patience_hours=1, watched_since=windows[0].window.start)
    assert Watch(policy).add(*order).decisions == Watch(policy).add(*windows).decisions


@given(arrivals(), POLICIES, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_late_limits_are_kept_and_a_repeat_adds_nothing(
    drawn: tuple[list[WindowOutcome], list[WindowOutcome]], policy: RetrainPolicy, chance: Any
) -> None:
    windows, order = drawn
    watch = Watch(policy)
    for item in order:  # Labels come later than the rest.
        unlabelled = tuple(
            replace(check, verdict=CheckVerdict.UNDECIDED) if check.kind is CheckKind.DECAY else check
            for check in item.checks
        )
        watch.add(replace(item, checks=unlabelled) if chance.random() < 0.3 else item)
    watch.add(*windows)
    keep_limits(watch, policy)
    count = len(watch.decisions)
    assert len(watch.add(*order[::-1]).decisions) == count


def keep_limits(watch: Watch, policy: RetrainPolicy) -> None:
    retrainings = [item for item in watch.decisions if item.is_retraining]
    assert len({item.key for item in watch.decisions}) == len(watch.decisions)
    for earlier, later in itertools.pairwise(retrainings):
        assert later.window.end - earlier.window.end >= timedelta(days=policy.cool_down_days)
    for item in retrainings:
        week = [other for other in retrainings if timedelta(0) <= item.window.end - other.window.end < WEEK]
        assert len(week) <= policy.max_per_week
        assert item.attempt == item.retrainings[-1].attempt


@given(st.permutations(range(7)))
def test_one_incident_gives_one_retraining_in_any_order(order: Sequence[int]) -> None:
    windows = days("VVVVVVV")
    assert len(Watch(RetrainPolicy()).add(*(windows[number] for number in order)).retrained) == 1
