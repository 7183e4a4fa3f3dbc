"""A model card from recorded facts, with the sections of Mitchell et al., "Model Cards for Model Reporting" (2019).

What nobody recorded is said to be missing, and never filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_mlops.domain.audit.chain import Trail
from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind
from airflow_mlops.domain.audit.history import serving_history
from airflow_mlops.domain.audit.lineage import Lineage, lineage_of
from airflow_mlops.exceptions import InvalidInputError

UNKNOWN = "Not recorded."
_PURPOSE = f"{UNKNOWN} RegisterModelOperator(description=…) records it."


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTable:
    """A table of texts."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSection:
    """A section: sentences, facts by name, and a table, each if there is any."""

    title: str
    text: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    table: CardTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The card of one version."""

    model_name: str
    version: str
    made_at: datetime
    head: str
    """Of the audit trail that it was made from."""
    broken: str
    """Why the trail cannot be relied on; empty when it is whole."""
    datasets: tuple[str, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    sections: tuple[CardSection, ...]


def model_card(trail: Trail, model_name: str, version: str | None, made_at: datetime) -> ModelCard:
    """Return the card of a version; without one, of the one that serves, else of the newest.

    :raises InvalidInputError: when its registration is not in the audit trail.
    """
    chain = Chain.of_model(model_name)
    entries = trail.entries(chain)
    version = version or _default_version(entries)
    own = [entry for entry in entries if entry.happening.version == version]
    registration = _last(own, EventKind.REGISTRATION)
    if registration is None:
        msg = f"No registration of {model_name} version {version} is in the audit trail, so there is nothing to tell."
        raise InvalidInputError(msg)
    lineage = lineage_of(trail, registration)
    evaluation, gate = _last(own, EventKind.EVALUATION), _last(own, EventKind.GATE)
    findings = trail.findings()
    metrics = evaluation.happening.facts["metrics"] if evaluation else {}
    return ModelCard(
        model_name=model_name,
        version=str(version),
        made_at=made_at,
        head=str(trail.records[chain].head),
        broken=str(findings[0]) if findings else "",
        datasets=(str(registration.happening.facts["dataset_name"]),),
        metrics={name: item["candidate"]["value"] for name, item in metrics.items() if item["candidate"]},
        sections=(
            _details(lineage),
            CardSection(title="Intended use", text=str(registration.happening.facts.get("description") or _PURPOSE)),
            _factors(evaluation),
            _metrics(evaluation),
            _evaluation_data(evaluation),
            _training_data(lineage),
            _quantitative_analyses(gate),
            _ethical_considerations(evaluation),
            _caveats(gate),
            _history(own, entries, str(version)),
        ),
    )


def _default_version(entries: tuple[AuditEntry, ...]) -> str | None:
    if history := serving_history(entries):
        return history[-1].version
    newest = _last(entries, EventKind.REGISTRATION)
    return newest.happening.version if newest else None


def _last(entries: Any, kind: EventKind) -> AuditEntry | None:
    return next((entry for entry in reversed(entries) if entry.event_kind is kind), None)


def _details(lineage: Lineage) -> CardSection:
    happening = lineage.registration.happening
    facts, digests = happening.facts, happening.digests
    rows = {
        "Model": lineage.model_name,
        "Version": lineage.version,
        "Registered": lineage.registration.event.at.isoformat(timespec="seconds"),
        "Model SHA-256": digests.get("model"),
        "Where": facts.get("model_uri"),
        "MLflow run": facts.get("run_id"),
        "Trained as": facts.get("backend"),
        "Image": facts.get("image"),
        "Image digest": digests.get("image"),
        "Code version": facts.get("code_version"),
        "Trained by": lineage.training.event.origin if lineage.training else None,
    }
    return CardSection(title="Model details", facts=_named(rows))


def _factors(evaluation: AuditEntry | None) -> CardSection:
    facts = evaluation.happening.facts if evaluation else {}
    rows = tuple(
        (
            str(item["slice"]),
            f"{item['rows']:,}",
            str(item["metric"]),
            _number(item["candidate"]),
            _number(item["champion"]),
            "yes" if item["surely_worse"] else "no",
        )
        for item in facts.get("worst_slices", ())
    )
    header = ("Slice", "Rows", "Metric", "This version", "Champion then", "Surely worse")
    report = facts.get("report_uri")
    text = f"The evaluation report has all groups of rows that were looked at: {report}" if report else UNKNOWN
    return CardSection(title="Factors", text=text, table=CardTable(header=header, rows=rows) if rows else None)


def _ethical_considerations(evaluation: AuditEntry | None) -> CardSection:
    facts = evaluation.happening.facts if evaluation else {}
    rows = tuple(
        (str(item["column"]), str(item["measure"]), _number(item["value"]), str(item["between"]))
        for item in facts.get("disparities", ())
    )
    title = "Ethical considerations"
    if not rows:
        return CardSection(title=title, text=f"{UNKNOWN} An evaluation with sensitive columns records disparities.")
    header = ("Sensitive column", "Measure", "Value", "Between")
    return CardSection(title=title, table=CardTable(header=header, rows=rows))


def _metrics(evaluation: AuditEntry | None) -> CardSection:
    if evaluation is None:
        return CardSection(title="Metrics", text="This version was not evaluated.")
    facts = evaluation.happening.facts
    rows = tuple(
        (name, _estimate(item["candidate"]), _estimate(item["champion"]), _estimate(item["difference"]))
        for name, item in facts["metrics"].items()
    )
    against = f"version {facts['champion_version']}" if facts["champion_version"] else "no champion"
    return CardSection(
        title="Metrics",
        text=f"With {facts['confidence_level']:.0%} bootstrap intervals, compared with {against} on the same rows.",
        table=CardTable(header=("Metric", "This version", "Champion then", "Difference"), rows=rows),
    )


def _evaluation_data(evaluation: AuditEntry | None) -> CardSection:
    if evaluation is None:
        return CardSection(title="Evaluation data", text=UNKNOWN)
    facts, digests = evaluation.happening.facts, evaluation.happening.digests
    rows = {
        "Dataset": facts["dataset_name"],
        "Rows": f"{facts['rows']:,}",
        "Dataset SHA-256": digests["holdout"],
        "Evidence": facts["evidence_uri"],
        "Evidence SHA-256": digests["evidence"],
    }
    return CardSection(title="Evaluation data", facts=_named(rows))


def _training_data(lineage: Lineage) -> CardSection:
    happening = lineage.registration.happening
    taken = lineage.snapshots[-1].happening.facts if lineage.snapshots else {}
    rows = {
        "Dataset": happening.facts.get("dataset_name"),
        "Dataset SHA-256": happening.digests.get("dataset"),
        "Where": happening.facts.get("dataset_uri"),
        "Rows": f"{taken['rows']:,}" if "rows" in taken else None,
        "Window": taken.get("window"),
        "Validation": lineage.validations[-1].happening.summary if lineage.validations else None,
    }
    sources = CardTable(header=("Source file", "SHA-256"), rows=lineage.sources())
    return CardSection(title="Training data", facts=_named(rows), table=sources if sources.rows else None)


def _quantitative_analyses(gate: AuditEntry | None) -> CardSection:
    title = "Quantitative analyses"
    if gate is None:
        return CardSection(title=title, text="No gate was asked.")
    rows = tuple(
        (item["gate"], "passed" if item["passed"] else "refused", item["mode"], item["reason"])
        for item in gate.happening.facts["verdicts"]
    )
    return CardSection(title=title, table=CardTable(header=("Gate", "Verdict", "Mode", "Reason"), rows=rows))


def _caveats(gate: AuditEntry | None) -> CardSection:
    verdicts = gate.happening.facts["verdicts"] if gate else ()
    reasons = [str(item["reason"]) for item in verdicts if not item["passed"]]
    return CardSection(title="Caveats and recommendations", text=" ".join(reasons) or UNKNOWN)


def _history(own: list[AuditEntry], entries: tuple[AuditEntry, ...], version: str) -> CardSection:
    rows = tuple(
        (
            entry.event.at.isoformat(timespec="seconds"),
            entry.event_kind.value,
            entry.happening.summary,
            entry.happening.who or entry.event.started_by,
        )
        for entry in own
    )
    served = [
        f"from {item.since.isoformat(timespec='seconds')} to "
        f"{item.until.isoformat(timespec='seconds') if item.until else 'now'}"
        for item in serving_history(entries)
        if item.version == version
    ]
    return CardSection(
        title="History",
        text=f"Served {', '.join(served)}." if served else "Never served, as far as is recorded.",
        table=CardTable(header=("When", "What", "Told", "Who"), rows=rows),
    )


def _named(rows: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value) if value else UNKNOWN) for name, value in rows.items())


def _estimate(item: Mapping[str, float] | None) -> str:
    return "not computed" if item is None else f"{item['value']:.4f} [{item['low']:.4f}, {item['high']:.4f}]"


def _number(value: float | None) -> str:
    return "not computed" if value is None else f"{value:.4f}"
