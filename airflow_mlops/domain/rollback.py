"""Back to what served before, by the records: which version, and why it may not be that one.

The records say what served; the registry says what the alias names. Where they differ, that is drift: it is told, and
nothing follows until a person has accepted it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_mlops.domain.approval import ApprovalRules
from airflow_mlops.domain.audit.chain import Finding
from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind, Happening
from airflow_mlops.domain.audit.history import Serving, serving_at, serving_history, unfinished
from airflow_mlops.domain.gates import GateMode, GateVerdict
from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.promotion import PromotionDecision
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import RollbackRefusedError

PREVIOUS = "previous"
"""What served before what serves now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlan(Document):
    """What a rollback would do. Its content digest is what an approval answers."""

    model_name: str
    version: str
    """That serves again."""
    model_digest: str
    """The SHA-256 of that version's model, by the records."""
    previous_version: str | None
    """That the alias names now."""
    deployment: int
    """Entry of the audit trail by which the version served before."""
    reason: str
    drift: tuple[str, ...] = ()
    """Where the records and the registry differ, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Document):
    """A rollback that was carried out."""

    model_name: str
    version: str
    previous_version: str | None
    deployment: int
    reason: str
    rolled_back_at: datetime
    approved_by: str
    drift: tuple[str, ...] = ()


def plan_rollback(
    entries: Sequence[AuditEntry],
    findings: Sequence[Finding] = (),
    *,
    model_name: str,
    to: str,
    reason: str,
    champion: str | None,
    versions: Collection[str],
) -> RollbackPlan:
    """Return what a rollback would do, with the drift that there is.

    :param entries: of the model's chain, and ``findings`` what breaks it.
    :param to: ``previous``, a version that served, the entry of a deployment (``#7``), or an ISO 8601 time: what served
        then (UTC if it names no zone).
    :param champion: the version that the alias names now.
    :param versions: all that the registry still holds.
    :raises RollbackRefusedError: when that is no version that served, or it was deleted; with what is there instead.
    """
    if not reason.strip():
        msg = f"{model_name} is not rolled back: say why. The reason is recorded."
        raise RollbackRefusedError(msg)
    target = _target(entries, model_name, to.strip(), champion)
    instead = further_back(entries, target.sequence, champion=champion, versions=versions)
    digest = recorded_digest(entries, target.version)
    if target.version not in versions:
        msg = f"{_told(target)} It is not in the registry any more: it was deleted. {instead}"
        raise RollbackRefusedError(msg)
    if not digest:
        msg = f"{_told(target)} The records hold no digest of its model, so nothing can be verified. {instead}"
        raise RollbackRefusedError(msg)
    return RollbackPlan(
        model_name=model_name,
        version=target.version,
        model_digest=digest,
        previous_version=champion,
        deployment=target.sequence,
        reason=reason.strip(),
        drift=drift(entries, findings, model_name=model_name, champion=champion, versions=versions),
    )


def drift(
    entries: Sequence[AuditEntry],
    findings: Sequence[Finding],
    *,
    model_name: str,
    champion: str | None,
    versions: Collection[str],
) -> tuple[str, ...]:
    """Return where the records and the registry differ, in sentences; nothing when they agree."""
    reasons = [f"The records themselves are broken: {finding}" for finding in findings[:1]]
    history = serving_history(entries)
    recorded = history[-1] if history else None
    if recorded is None or recorded.version == champion:
        return tuple(reasons)
    named = f"version {champion}" if champion else "no version"
    gone = "" if recorded.version in versions else f" Version {recorded.version} was deleted from the registry."
    begun = next(
        (
            entry
            for entry in reversed(unfinished(entries))
            if entry.happening.version == champion and entry.sequence > recorded.sequence
        ),
        None,
    )
    how = (
        f"The {begun.event_kind.value} of version {champion} (entry {begun.sequence}, {_time(begun.event.at)}) was "
        f"never seen to finish."
        if begun
        else "Nothing is recorded that moved it, so it was moved by hand or by another tool since then."
    )
    reasons.append(
        f"The alias {CHAMPION} of {model_name} names {named}, but the records say that version {recorded.version} "
        f"serves since {_time(recorded.since)} (entry {recorded.sequence}, decided by "
        f"{recorded.decided_by or 'nobody'}).{gone} {how}"
    )
    return tuple(reasons)


def further_back(
    entries: Sequence[AuditEntry], sequence: int, *, champion: str | None, versions: Collection[str]
) -> str:
    """Return, in a sentence, the next deployment before an entry that can be returned to."""
    history = serving_history(entries)
    tried = next((item.version for item in history if item.sequence == sequence), None)
    for item in reversed(history):
        is_other = item.version not in {champion, tried} and item.version in versions
        if item.sequence < sequence and is_other and _rolled_away(entries, item) is None:
            return f"Further back, {_told(item, small=True)} It is still there: give to='{item.version}'."
    return "Nothing further back is still in the registry."


def recorded_digest(entries: Sequence[AuditEntry], version: str) -> str:
    """Return the digest of a version's model as it was recorded last; empty when it never was."""
    found = (
        entry.happening.digests["model"]
        for entry in reversed(entries)
        if entry.happening.version == version and "model" in entry.happening.digests
    )
    return next(found, "")


def _target(entries: Sequence[AuditEntry], model_name: str, to: str, champion: str | None) -> Serving:
    history = serving_history(entries)
    if not history:
        msg = (
            f"No deployment of {model_name} is recorded, so nothing says what served before. PromoteModelOperator "
            f"records it."
        )
        raise RollbackRefusedError(msg)
    known = ", ".join(f"version {item.version} (#{item.sequence}, {_time(item.since)})" for item in history)
    target = _previous(entries, champion) if to == PREVIOUS else _named(entries, to)
    if target is None:
        before = "before what serves now" if to == PREVIOUS else f"as {to!r} says"
        msg = (
            f"No version of {model_name} served {before}. A rollback returns to what served. That is recorded of: "
            f"{known}. Give {PREVIOUS!r}, one of these versions, its entry such as '#{history[0].sequence}', or a time."
        )
        raise RollbackRefusedError(msg)
    if target.version == champion:
        msg = f"{_told(target)} The alias {CHAMPION} names it now, so there is nothing to return to. Served: {known}."
        raise RollbackRefusedError(msg)
    return target


def _previous(entries: Sequence[AuditEntry], champion: str | None) -> Serving | None:
    """Return what served before, unless people have already left it for a reason: then they must name it."""
    history = serving_history(entries)
    found = next((item for item in reversed(history) if item.version != champion), None)
    left = _rolled_away(entries, found) if found else None
    if found is None or left is None:
        return found
    others = [item for item in history if item.version not in {champion, found.version}]
    further = f" To go further back, give to='{others[-1].version}'." if others else ""
    msg = (
        f"{_told(found)} It was rolled back at {_time(left.event.at)} (entry {left.sequence}): "
        f"{left.happening.facts.get('reason', 'no reason is recorded')!s} To undo that, give to='{found.version}'."
        f"{further}"
    )
    raise RollbackRefusedError(msg)


def _named(entries: Sequence[AuditEntry], to: str) -> Serving | None:
    history = serving_history(entries)
    if to.isdecimal():
        return next((item for item in reversed(history) if item.version == to), None)
    if to.startswith("#") and to[1:].isdecimal():
        return next((item for item in history if item.sequence == int(to[1:])), None)
    try:
        moment = datetime.fromisoformat(to)
    except ValueError:
        return None
    return serving_at(entries, utc(moment)).serving


def _rolled_away(entries: Sequence[AuditEntry], serving: Serving) -> AuditEntry | None:
    """Return the rollback that ended this time of serving, if one did."""
    following = [item.sequence for item in serving_history(entries) if item.sequence > serving.sequence]
    return next(
        (
            entry
            for entry in entries
            if entry.event_kind is EventKind.ROLLBACK
            and serving.sequence < entry.sequence
            and (not following or entry.sequence < following[0])
            and entry.happening.facts.get("previous_version") == serving.version
        ),
        None,
    )


def _told(serving: Serving, *, small: bool = False) -> str:
    until = f"to {_time(serving.until)}" if serving.until else "on, by the records"
    name = "version" if small else "Version"
    return (
        f"{name} {serving.version} of {serving.model_name} served from {_time(serving.since)} {until} "
        f"(entry {serving.sequence})."
    )


def _time(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")


# Approval ------------------------------------------------------------------------------------------------------------


def rollback_decision(plan: RollbackPlan, rules: ApprovalRules) -> PromotionDecision:
    """Return the question that people are asked: the plan as evidence, and drift as what speaks against it.

    A rule that approves by itself does so of a plan without drift alone. Whatever changes the plan or the rules changes
    the digest that an answer is bound to.
    """
    verdicts = (
        GateVerdict(gate="served before", passed=True, reason=f"The records say so in entry {plan.deployment}."),
        *(GateVerdict(gate="drift", passed=False, reason=text, mode=GateMode.DRY_RUN) for text in plan.drift),
    )
    return PromotionDecision(
        model_name=plan.model_name,
        version=plan.version,
        model_digest=plan.model_digest,
        evidence_uri="",
        evidence_digest=plan.content_digest(),
        champion_version=plan.previous_version,
        policy_digest=rules.content_digest(),
        passed=True,
        verdicts=verdicts,
    )


def rollback_summary(plan: RollbackPlan, links: Mapping[str, str]) -> str:
    """Return what a reviewer reads, in Markdown."""
    serves = f"version {plan.previous_version}" if plan.previous_version else "nothing"
    before = f"entry {plan.deployment} of the audit trail says that it served"
    quoted = "\n".join(f"> {line}" for line in plan.reason.splitlines())
    parts = [
        f"**Back to** version {plan.version} of `{plan.model_name}`: {before} · **Now** {serves}.",
        f"**Why**\n\n{quoted}",
        *(f"**Drift** {text}" for text in plan.drift),
        " · ".join(f"[{name}]({url})" for name, url in links.items() if url),
    ]
    return "\n\n".join(part for part in parts if part)


# What is recorded ----------------------------------------------------------------------------------------------------


def rollback_begun(plan: RollbackPlan, who: str) -> Happening:
    """Tell that an earlier version is about to become the champion again."""
    instead = f" in place of version {plan.previous_version}" if plan.previous_version else ""
    accepted = f" Accepted: {' '.join(plan.drift)}" if plan.drift else ""
    facts: Mapping[str, object] = {
        "previous_version": plan.previous_version,
        "deployment": plan.deployment,
        "reason": plan.reason,
        "drift": list(plan.drift),
    }
    return Happening(
        chain=Chain.of_model(plan.model_name),
        event_kind=EventKind.ROLLBACK,
        summary=f"Version {plan.version} is made the {CHAMPION} again{instead}: {plan.reason}{accepted}",
        version=plan.version,
        who=who,
        digests={"model": plan.model_digest},
        facts=facts,
    )


def rollback_seen(plan: RollbackPlan, who: str) -> Happening:
    """Tell that the version was seen to serve again."""
    return Happening(
        chain=Chain.of_model(plan.model_name),
        event_kind=EventKind.DEPLOYMENT,
        summary=f"Version {plan.version} serves again: the alias {CHAMPION} names it.",
        version=plan.version,
        who=who,
        facts={"alias": CHAMPION, "previous_version": plan.previous_version},
    )


def plan_of(entry: AuditEntry) -> RollbackPlan:
    """Return the plan that a recorded rollback carries out."""
    happening = entry.happening
    return RollbackPlan(
        model_name=happening.chain.name,
        version=str(happening.version),
        model_digest=happening.digests["model"],
        previous_version=happening.facts["previous_version"],
        deployment=happening.facts["deployment"],
        reason=happening.facts["reason"],
        drift=tuple(happening.facts["drift"]),
    )
