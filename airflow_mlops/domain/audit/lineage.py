"""Where a model version came from, and which versions came from a file."""

import re
from dataclasses import dataclass

from airflow_mlops.domain.audit.chain import Trail
from airflow_mlops.domain.audit.entry import AuditEntry, Chain, EventKind, Subject
from airflow_mlops.exceptions import InvalidInputError

_ADDRESS = re.compile(r"(?:models:/)?(?P<model>[^@/]+)[@/](?P<version>\d+)")
_SHORTEST_DIGEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A registered version and all entries that led to it."""

    registration: AuditEntry
    training: AuditEntry | None
    """``None`` when it was trained before there was an audit trail."""
    snapshots: tuple[AuditEntry, ...]
    """Every time its training data was taken before the training; each names the files of its own."""
    validations: tuple[AuditEntry, ...]
    """Of its training data, before the training."""

    @property
    def model_name(self) -> str:
        """The registered model."""
        return self.registration.happening.chain.name

    @property
    def version(self) -> str:
        """The version."""
        return str(self.registration.happening.version)

    def sources(self) -> tuple[tuple[str, str], ...]:
        """Return address and SHA-256 of every file that the training data was read from."""
        found = {
            (str(source["uri"]), str(source["sha256"]))
            for entry in self.snapshots
            for source in entry.happening.facts.get("sources", ())
        }
        return tuple(sorted(found))


def find_version(trail: Trail, text: str) -> Lineage:
    """Return the lineage of a version by what people or logs call it.

    :param text: ``model@3``, ``models:/model/3``, an MLflow run or model id, the model's SHA-256 or its first digits,
        or a bare version number where only one model has it.
    :raises InvalidInputError: when no version is meant, or more than one.
    """
    registrations = [
        entry
        for chain in trail.records
        if chain.subject is Subject.MODEL
        for entry in trail.entries(chain)
        if entry.event_kind is EventKind.REGISTRATION and _is_meant(entry, text)
    ]
    found = {(entry.happening.chain.name, entry.happening.version): entry for entry in registrations}
    if len(found) == 1:
        return lineage_of(trail, next(iter(found.values())))
    if found:
        names = ", ".join(f"{model}@{version}" for model, version in sorted(found, key=str))
        msg = f"{text!r} may mean {names}. Name one of them."
    else:
        msg = (
            f"No registration of {text!r} is in the audit trail. Give MODEL@VERSION, an MLflow run or model id, or the "
            f"model's SHA-256. What was registered before there was a trail is not in it."
        )
    raise InvalidInputError(msg)


def lineage_of(trail: Trail, registration: AuditEntry) -> Lineage:
    """Return all that led to a registration."""
    digests, facts = registration.happening.digests, registration.happening.facts
    chain = Chain.of_dataset(str(facts.get("dataset_name", "")))
    named = {(item.chain, item.sequence) for item in registration.happening.references}
    training = next((entry for entry in trail.entries(chain) if (chain, entry.sequence) in named), None)
    before = [
        entry
        for entry in trail.entries(chain)
        if entry.happening.digests.get("dataset") == digests.get("dataset")
        and (training is None or entry.sequence < training.sequence)
    ]
    return Lineage(
        registration=registration,
        training=training,
        snapshots=tuple(entry for entry in before if entry.event_kind is EventKind.SNAPSHOT),
        validations=tuple(entry for entry in before if entry.event_kind is EventKind.VALIDATION),
    )


def learned_from(trail: Trail, source: str) -> tuple[Lineage, ...]:
    """Return every version that was trained on rows of a file.

    :param source: the file's address as it was recorded, the end of it from a ``/`` on, or its SHA-256.
    """
    lineages = (
        lineage_of(trail, entry)
        for chain in sorted(trail.records, key=str)
        if chain.subject is Subject.MODEL
        for entry in trail.entries(chain)
        if entry.event_kind is EventKind.REGISTRATION
    )
    return tuple(lineage for lineage in lineages if any(_is_source(item, source) for item in lineage.sources()))


def _is_meant(registration: AuditEntry, text: str) -> bool:
    happening = registration.happening
    if found := _ADDRESS.fullmatch(text):
        return (happening.chain.name, happening.version) == (found["model"], found["version"])
    model_digest = happening.digests.get("model", "")
    names = {happening.version, happening.facts.get("run_id"), str(happening.facts.get("model_uri")).rpartition("/")[2]}
    return text in names or (len(text) >= _SHORTEST_DIGEST and model_digest.startswith(text.lower()))


def _is_source(source: tuple[str, str], text: str) -> bool:
    uri, digest = source
    return text in {uri, digest} or uri.endswith(f"/{text.lstrip('/')}")
