"""Is a chain whole? The proof, or the entries that break it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from airflow_mlops.domain.audit.entry import AuditEntry, Chain, Head, entry_name, entry_sequence
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Document):
    """An entry that breaks its chain."""

    chain: Chain
    sequence: int
    reason: str

    def __str__(self) -> str:
        """Return the entry and what is wrong with it, in a sentence."""
        return f"Entry {self.sequence} of {self.chain} {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRecord:
    """What a chain's folder holds: the entries that can be read, in order, and what breaks the chain."""

    chain: Chain
    entries: tuple[AuditEntry, ...]
    findings: tuple[Finding, ...] = ()
    """Sorted by entry: the first one is the first broken entry."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """As they were read, by name."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to break it."""
        return not self.findings

    @property
    def head(self) -> Head:
        """The last entry that can be read; of an empty chain, what the first will name as its predecessor."""
        return self.entries[-1].head if self.entries else Head(sequence=0, digest=self.chain.genesis)


def read_chain(chain: Chain, files: Mapping[str, bytes], seen: Iterable[Head] = ()) -> ChainRecord:
    """Read every file of a chain's folder and prove it.

    It is proved from the end to the beginning: an entry that its successor was written after vouches for what it names
    itself. What was cut off at the end is seen only by ``seen``; so is an altered last entry whose digest was made to
    fit.

    :param files: contents by name. Hidden files (a killed writer's leftovers) say nothing and are passed over.
    :param seen: heads of this chain that somebody remembers, in any order.
    """
    numbered, findings = _number(chain, files)
    last = max(numbered, default=0)
    remembered = sorted(seen, key=lambda head: head.sequence)
    if remembered and remembered[-1].sequence > last:
        reason = f"is missing: {remembered[-1].seen_by} saw the chain end at entry {remembered[-1].sequence}."
        findings.append(Finding(chain=chain, sequence=last + 1, reason=reason))
    entries: list[AuditEntry] = []
    expected: Head | None = None
    following = last
    for number in sorted(numbered, reverse=True):
        findings += _gap(chain, number + 1, following)
        entry, reason = _read(chain, number, numbered[number])
        if entry is not None:
            entries.append(entry)
            witnesses = [head for head in (expected, *remembered) if head is not None and head.sequence == number]
            if witness := next((head for head in witnesses if head.digest != entry.digest), None):
                reason = f"was replaced: {witness.seen_by} saw {witness.digest}, but it is {entry.digest} now."
        if reason:
            findings.append(Finding(chain=chain, sequence=number, reason=reason))
        expected = None if entry is None or reason else Head(
            sequence=number - 1, digest=entry.previous, seen_by=f"entry {number}, which was written after it,"
        )  # fmt: skip
        following = number - 1
    findings += _gap(chain, 1, following)
    if following == 0 and expected is not None and expected.digest != chain.genesis:
        reason = "is not the first of this chain: it names a predecessor."
        findings.append(Finding(chain=chain, sequence=1, reason=reason))
    return ChainRecord(
        chain=chain,
        entries=tuple(reversed(entries)),
        findings=tuple(sorted(findings, key=lambda item: item.sequence)),
        files=files,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Chains that were read together, since entries of one stand on entries of another."""

    records: Mapping[Chain, ChainRecord]

    def entries(self, chain: Chain) -> tuple[AuditEntry, ...]:
        """Return the entries of a chain; none when it was not read."""
        record = self.records.get(chain)
        return record.entries if record else ()

    def missing_chains(self) -> tuple[Chain, ...]:
        """Return the chains on which entries stand, and that were not read."""
        named = {
            reference.chain
            for record in self.records.values()
            for entry in record.entries
            for reference in entry.happening.references
        }
        return tuple(sorted(named - set(self.records), key=str))

    def findings(self) -> tuple[Finding, ...]:
        """Return what breaks any of the chains, or the references between them."""
        own = [finding for record in self.records.values() for finding in record.findings]
        return (*own, *self._unknown_references())

    def _unknown_references(self) -> list[Finding]:
        digests = {
            (chain, entry.sequence): entry.digest for chain, record in self.records.items() for entry in record.entries
        }
        return [
            Finding(
                chain=reference.chain,
                sequence=reference.sequence,
                reason=f"is not the one that entry {entry.sequence} of {chain} stands on: it was replaced or removed.",
            )
            for chain, record in self.records.items()
            for entry in record.entries
            for reference in entry.happening.references
            if digests.get((reference.chain, reference.sequence)) != reference.digest
        ]


def _number(chain: Chain, files: Mapping[str, bytes]) -> tuple[dict[int, bytes], list[Finding]]:
    numbered: dict[int, bytes] = {}
    findings: list[Finding] = []
    for name, data in files.items():
        number = entry_sequence(name)
        if number is not None:
            numbered[number] = data
        elif name and not name.startswith("."):
            findings.append(Finding(chain=chain, sequence=0, reason=f"has no number: {name!r} is no file of a chain."))
    return numbered, findings


def _gap(chain: Chain, first: int, last: int) -> list[Finding]:
    if first > last:
        return []
    many = f" So are those up to {last}." if last > first else ""
    return [Finding(chain=chain, sequence=first, reason=f"is missing: later ones are there.{many}")]


def _read(chain: Chain, number: int, data: bytes) -> tuple[AuditEntry | None, str]:
    try:
        entry = AuditEntry.read(data)
    except InvalidInputError as error:
        return None, f"was altered: {error}."
    if entry.sequence != number or entry.happening.chain != chain:
        return None, (
            f"is in the wrong place: {entry_name(number)} holds entry {entry.sequence} of {entry.happening.chain}."
        )
    return entry, ""
