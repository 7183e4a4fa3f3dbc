"""The audit trail in plain text, for a terminal: the story of a model, what served, and where a version came from."""

from collections.abc import Iterable, Iterator

from airflow_mlops.domain.audit.chain import Trail
from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind
from airflow_mlops.domain.audit.history import ServingAt, serving_history, unfinished
from airflow_mlops.domain.audit.lineage import Lineage

_SHORT = 12
"""Characters of a digest that people compare."""


def story(trail: Trail, model_name: str) -> str:
    """Return what happened to a model, in order. What led to a registration or an evaluation stands before it."""
    chain = Chain.of_model(model_name)
    entries = trail.entries(chain)
    lines = [f"{printable(model_name)}: {_count(len(entries), 'entry', 'entries')} in its audit trail"]
    for entry in told(trail, chain):
        lines += ["", *_paragraph(entry, chain)]
    lines += ["", *_serving(entries)]
    lines += [f"BROKEN: {printable(str(finding))}" for finding in trail.findings()]
    return "\n".join(lines)


def told(trail: Trail, chain: Chain) -> Iterator[AuditEntry]:
    """Yield the entries of a chain, each after those of other chains that it stands on and that were not yet told."""
    seen: set[tuple[Chain, int]] = set()
    for entry in trail.entries(chain):
        for reference in entry.happening.references:
            for earlier in _leading_to(trail, reference.chain, reference.sequence):
                if (reference.chain, earlier.sequence) not in seen:
                    seen.add((reference.chain, earlier.sequence))
                    yield earlier
        yield entry


def serving_text(model_name: str, found: ServingAt) -> str:
    """Return what served at a moment, and what is not known for sure."""
    moment = found.moment.isoformat(timespec="seconds")
    serving = found.serving
    if serving is None:
        lines = [f"No version of {printable(model_name)} is recorded to have served at {moment}."]
    else:
        until = f"until {serving.until.isoformat(timespec='seconds')}" if serving.until else "and still does"
        lines = [
            (
                f"At {moment} version {serving.version} of {printable(model_name)} served: since "
                f"{serving.since.isoformat(timespec='seconds')} {until}, approved by {printable(serving.decided_by)} "
                f"(entry {serving.sequence})."
            )
        ]
    lines += [
        f"Not sure: the promotion of version {version} had begun, and nobody had seen it finish."
        for version in found.unfinished
    ]
    return "\n".join(lines)


def lineage_text(lineage: Lineage) -> str:
    """Return where a version came from."""
    registration, training = lineage.registration.happening, lineage.training
    digests, facts = registration.digests, registration.facts
    rows = [
        ("model", _joined(digests.get("model"), facts.get("model_uri"))),
        ("MLflow run", str(facts.get("run_id", ""))),
        ("image", _joined(facts.get("image"), digests.get("image")) or "none: a process"),
        ("code", str(facts.get("code_version") or "not recorded")),
        ("trained by", str(training.event.origin) if training else "not in the audit trail"),
        ("snapshot", _joined(facts.get("dataset_name"), digests.get("dataset"), facts.get("dataset_uri"))),
        *(("validated", entry.happening.summary) for entry in lineage.validations),
        *(("source", _joined(digest, uri)) for uri, digest in lineage.sources()),
        ("registered by", str(lineage.registration.event.origin)),
    ]
    if not lineage.snapshots:
        rows.append(("source", "not in the audit trail: the snapshot was taken before there was one"))
    lines = [f"  {name:<14} {printable(text)}" for name, text in rows]
    return "\n".join([f"{printable(lineage.model_name)} version {lineage.version}", *lines])


def learned_text(source: str, lineages: Iterable[Lineage]) -> str:
    """Return which versions learned from a file."""
    lines = []
    for lineage in lineages:
        facts, digests = lineage.registration.happening.facts, lineage.registration.happening.digests
        trained = f"trained on {facts['dataset_name']} {digests['dataset'][:_SHORT]}"
        lines.append(printable(f"{lineage.model_name}@{lineage.version}  {trained}"))
    return "\n".join(lines) or f"No registered version learned from {printable(source)}, as far as is recorded."


def printable(text: str) -> str:
    """Return text on one line, without the control characters by which a comment could rewrite a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _leading_to(trail: Trail, chain: Chain, sequence: int) -> list[AuditEntry]:
    """Return the entries about the same snapshot, up to the one that is stood on."""
    entries = [entry for entry in trail.entries(chain) if entry.sequence <= sequence]
    if not entries:
        return []
    dataset = entries[-1].happening.digests.get("dataset")
    kinds = {EventKind.SNAPSHOT, EventKind.VALIDATION}
    return [
        entry
        for entry in entries
        if entry.sequence == sequence
        or (entry.event_kind in kinds and entry.happening.digests.get("dataset") == dataset)
    ]


def _paragraph(entry: AuditEntry, chain: Chain) -> list[str]:
    happening = entry.happening
    place = f"#{entry.sequence}" if happening.chain == chain else f"{happening.chain} #{entry.sequence}"
    time = entry.event.at.isoformat(sep=" ", timespec="seconds")
    lines = [
        f"{time}  {happening.event_kind.value}  ({printable(place)})",
        f"    {printable(happening.summary)}",
        f"    by {printable(str(entry.event.origin))}{_started(entry)}",
    ]
    if happening.who:
        lines.insert(2, f"    decided by {printable(happening.who)}")
    if happening.digests:
        digests = (f"{name} {digest.rpartition(':')[2][:_SHORT]}" for name, digest in happening.digests.items())
        lines.append(f"    {printable(', '.join(digests))}")
    return lines


def _started(entry: AuditEntry) -> str:
    return f", started by {printable(entry.event.started_by)}" if entry.event.started_by else ""


def _serving(entries: Iterable[AuditEntry]) -> list[str]:
    entries = list(entries)
    lines = [
        f"Served: version {item.version} from {item.since.isoformat(sep=' ', timespec='seconds')} "
        f"to {item.until.isoformat(sep=' ', timespec='seconds') if item.until else 'now'}"
        for item in serving_history(entries)
    ]
    for entry in unfinished(entries):
        what = f"the {entry.event_kind.value} of version {entry.happening.version} (entry {entry.sequence})"
        lines.append(f"Not seen to finish: {what}")
    return lines or ["No version is recorded to have served."]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _joined(*items: object) -> str:
    return "  ".join(str(item) for item in items if item)
