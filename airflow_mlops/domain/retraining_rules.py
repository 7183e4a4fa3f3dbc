"""The decision to train again, as a function of what is known: no clock, no storage, no Airflow.

A decision is about the newest window that is known. It looks at the outcomes up to that window and at the decision
before. What is judged on another version than the newest window counts no more, nor does what lies before a recovery.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, WindowCheck
from airflow_mlops.domain.retraining import (
    KIND_NAMES,
    MOST_RETRAININGS,
    MOST_WINDOWS,
    RETRAINING_KINDS,
    WEEK,
    AlertKind,
    RetrainDecision,
    Retraining,
    RetrainPolicy,
    RetrainVerdict,
    WindowOutcome,
)
from airflow_mlops.domain.serialization import digest_of

_CITED = 3
"""Sentences of checks that a decision quotes of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reason:
    """A kind of finding that was made often enough."""

    kind: CheckKind
    violated: tuple[WindowCheck, ...]
    looked_at: int

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(f"{self.kind.value} {check.window.key}" for check in self.violated)

    def __str__(self) -> str:
        newest = self.violated[-1]
        quoted = " ".join(newest.reasons[:_CITED])
        told = f": {quoted}" if quoted else "."
        return (
            f"{KIND_NAMES[self.kind].capitalize()} in {len(self.violated)} of the last "
            f"{_count(self.looked_at, 'window')}, the last time in {_day(newest)}{told}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Situation:
    """What a decision looks at."""

    policy: RetrainPolicy
    outcomes: Sequence[WindowOutcome]
    version: str
    past: tuple[Retraining, ...]
    superseded: Collection[str]

    @property
    def newest(self) -> WindowOutcome:
        return self.outcomes[-1]

    @property
    def attempts(self) -> int:
        """How many retrainings the version has outlasted."""
        return self.past[-1].attempt if self.past and self.past[-1].version == self.version else 0

    def findings(self, kind: CheckKind) -> list[WindowCheck]:
        return [check for outcome in self.outcomes for check in outcome.findings() if check.kind is kind]

    def new_rows(self) -> int:
        good = [outcome for outcome in self.outcomes if not (outcome.is_bad or outcome.is_unproven)]
        if not self.past:
            return sum(outcome.rows for outcome in good if outcome.version in {self.version, ""})
        return sum(outcome.rows for outcome in good if outcome.window.start >= self.past[-1].window.end)


def decide(
    policy: RetrainPolicy,
    outcomes: Sequence[WindowOutcome],
    previous: RetrainDecision | None,
    *,
    superseded: Collection[str] = (),
) -> RetrainDecision:
    """Decide about the newest of some windows.

    :param outcomes: the windows that are known, oldest first; the last one is decided about.
    :param previous: the decision before this one, whose retrainings and open findings go on.
    :param superseded: versions that served once and do so no more. What was judged on them is no reason to train.
    """
    newest = outcomes[-1]
    version = next((outcome.version for outcome in reversed(outcomes) if outcome.version), "")
    past = previous.retrainings if previous else ()
    situation = _Situation(policy=policy, outcomes=outcomes, version=version, past=past, superseded=superseded)
    reasons = [
        reason
        for kind in RETRAINING_KINDS
        if policy.rule(kind).retrains and (reason := _reason(situation, kind)) is not None
    ]
    against = list(_against(situation, reasons)) if reasons else []
    verdict = RetrainVerdict.NO_REASON if not reasons else RetrainVerdict.HELD if against else RetrainVerdict.RETRAIN
    attempt = situation.attempts + 1 if verdict is RetrainVerdict.RETRAIN else 0
    if attempt:
        findings = tuple(finding for reason in reasons for finding in reason.findings)
        past = (*past, Retraining(window=newest.window, version=version, attempt=attempt, findings=findings))
    was_open = previous.open_kinds if previous else ()
    open_kinds = tuple(kind for kind in CheckKind if _is_open(situation, kind, was_open=kind in was_open))
    decision = RetrainDecision(
        model_name=newest.model_name,
        sequence=previous.sequence + 1 if previous else 1,
        window=newest.window,
        revision=0,
        verdict=verdict,
        model_version=version,
        summary="",
        reasons=(*map(str, reasons), *against),
        kinds=tuple(reason.kind for reason in reasons),
        open_kinds=open_kinds,
        new_kinds=tuple(kind for kind in open_kinds if kind not in was_open),
        findings={kind.value: _found_last(situation, kind) for kind in open_kinds},
        attempt=attempt,
        retrainings=past[-MOST_RETRAININGS:],
        reports={check.kind.value: check.report_uri for check in newest.checks if check.report_uri},
        evidence=evidence_of(outcomes),
    )
    alert = _alert(decision, was_open, newest)
    return replace(decision, summary=_summary(decision, newest), alert=alert)


def evidence_of(outcomes: Sequence[WindowOutcome]) -> str:
    """Return a digest of what a decision rests on: a check that is repeated with the same verdict is the same."""
    return digest_of(
        [
            [outcome.window.key, check.kind.value, check.verdict.value, check.model_version, check.rows]
            for outcome in outcomes
            for check in sorted(outcome.checks, key=lambda check: check.kind.value)
        ]
    )


def next_decision(
    policy: RetrainPolicy,
    known: Sequence[WindowOutcome],
    newest: RetrainDecision | None,
    *,
    now: datetime,
    superseded: Collection[str] = (),
) -> RetrainDecision | None:
    """Return the decision that is to be written down next; ``None`` when there is none, or a window is waited for.

    Windows are decided in the order of time. What comes late, a window or a verdict, makes the newest window be decided
    again, and counts from then on.

    :param known: windows up to the first that is not decided, oldest first.
    :param newest: the newest decision.
    """
    following = next((outcome for outcome in known if newest is None or outcome.window.key > newest.window.key), None)
    if following is not None and _is_due(policy, following, newest, now):
        until = [outcome for outcome in known if outcome.window.key <= following.window.key]
        return decide(policy, until[-MOST_WINDOWS:], newest, superseded=superseded)
    if newest is None:
        return None
    until = [outcome for outcome in known if outcome.window.key <= newest.window.key][-MOST_WINDOWS:]
    if evidence_of(until) == newest.evidence:
        return None
    return replace(decide(policy, until, newest, superseded=superseded), revision=newest.revision + 1)


def _is_due(policy: RetrainPolicy, outcome: WindowOutcome, newest: RetrainDecision | None, now: datetime) -> bool:
    """Whether a window is decided now: none before it is missing, or that one was waited for long enough."""
    begins_at = newest.window.end if newest else policy.watched_since
    if begins_at is not None and outcome.window.start <= begins_at:
        return True
    return now - outcome.closed_at >= timedelta(hours=policy.patience_hours)


def _reason(situation: _Situation, kind: CheckKind) -> _Reason | None:
    """Return the reason that a kind of finding is, if it was made often enough and the last time, too."""
    rule = situation.policy.rule(kind)
    checks: list[WindowCheck] = []
    passed = 0
    for check in situation.findings(kind):
        if check.model_version != situation.version:
            continue
        checks.append(check)
        passed = 0 if check.verdict is CheckVerdict.VIOLATED else passed + 1
        if passed == situation.policy.recover_after:
            checks = []
    looked_at = checks[-rule.windows :]
    violated = tuple(check for check in looked_at if check.verdict is CheckVerdict.VIOLATED)
    if len(violated) < rule.violations or looked_at[-1].verdict is not CheckVerdict.VIOLATED:
        return None
    return _Reason(kind=kind, violated=violated, looked_at=len(looked_at))


def _against(situation: _Situation, reasons: Sequence[_Reason]) -> Iterator[str]:
    """Yield what speaks against a retraining, each in a sentence."""
    policy, newest, past = situation.policy, situation.newest.window, situation.past
    if situation.newest.is_bad:
        yield "The data of this window failed its validation: bad data is no reason to train."
    if situation.newest.is_unproven:
        yield "The data of this window has not been validated, and may be bad."
    if situation.version in situation.superseded:
        yield f"Version {situation.version}, which was judged, serves no more."
    if past:
        last, attempts = past[-1], situation.attempts
        if attempts and {finding for reason in reasons for finding in reason.findings} <= set(last.findings):
            yield "Nothing was found since the last retraining that was not a reason for it."
        wait = policy.cool_down(attempts)
        if newest.end - last.window.end < wait:
            vain = f" after {attempts} retrainings without a new champion" if attempts > 1 else ""
            yield (
                f"The last retraining was of the window to {_date(last.window.end)}, and the cool-down of "
                f"{_days(wait)}{vain} ends on {_date(last.window.end + wait)}."
            )
        if sum(newest.end - item.window.end < WEEK for item in past) >= policy.max_per_week:
            yield f"Within a week no more than {_count(policy.max_per_week, 'retraining')} may start."
    if (rows := situation.new_rows()) < policy.min_new_rows:
        yield f"Only {rows:,} rows of good data are new, of {policy.min_new_rows:,} that it takes."


def _is_open(situation: _Situation, kind: CheckKind, *, was_open: bool) -> bool:
    """Whether a kind of finding was made and is not over: so many windows in a row must pass for that."""
    for passed, check in enumerate(reversed(situation.findings(kind))):
        if check.verdict is CheckVerdict.VIOLATED:
            return True
        if passed + 1 == situation.policy.recover_after:
            return False
    return was_open


def _found_last(situation: _Situation, kind: CheckKind) -> tuple[str, ...]:
    violated = (check for check in reversed(situation.findings(kind)) if check.verdict is CheckVerdict.VIOLATED)
    return next((check.reasons[:_CITED] for check in violated), ())


def _alert(decision: RetrainDecision, was_open: Collection[CheckKind], newest: WindowOutcome) -> AlertKind | None:
    if decision.new_kinds:
        return AlertKind.NEW_KIND if was_open else AlertKind.VIOLATION
    if decision.is_retraining:
        return AlertKind.RETRAINING
    if not decision.open_kinds:
        return AlertKind.RECOVERY if was_open else None
    violated = any(check.verdict is CheckVerdict.VIOLATED for check in newest.findings())
    return AlertKind.ONGOING if violated else None


def _summary(decision: RetrainDecision, newest: WindowOutcome) -> str:
    name = decision.model_name
    which = f"version {decision.model_version} of {name}" if decision.model_version else name
    kinds = _list([KIND_NAMES[kind] for kind in decision.kinds])
    if decision.verdict is RetrainVerdict.RETRAIN:
        again = f" once more (attempt {decision.attempt})" if decision.attempt > 1 else ""
        return f"Retrain {name}{again}: {kinds} of {which}. {' '.join(decision.reasons)}"
    if decision.verdict is RetrainVerdict.HELD:
        against = " ".join(decision.reasons[len(decision.kinds) :])
        return f"{name} is not trained again in spite of {kinds} of {which}. {against}"
    if newest.is_bad or newest.is_unproven:
        unfit = "failed its validation" if newest.is_bad else "has not been validated"
        return f"{name} is not trained again: the data of this window {unfit}."
    violated = [KIND_NAMES[check.kind] for check in newest.findings() if check.verdict is CheckVerdict.VIOLATED]
    if violated:
        return f"{name} is not trained again: there is {_list(violated)} in this window, but not yet often enough."
    if decision.open_kinds:
        still = _list([KIND_NAMES[kind] for kind in decision.open_kinds])
        return f"{name} is not trained again: this window has no finding, but {still} is not over yet."
    return f"{name} is not trained again: nothing speaks for it."


def _list(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)


def _day(check: WindowCheck) -> str:
    return f"the window from {_date(check.window.start)}"


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d") if moment.time() == moment.min.time() else moment.strftime("%Y-%m-%d %H:%M")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _days(wait: timedelta) -> str:
    return f"{wait.total_seconds() / 86_400:g} days"
