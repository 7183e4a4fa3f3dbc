"""The audit trail in the artifact store: one file an entry, appended by an exclusive write, and never changed.

A writer reads the last entry, writes its own under the next number unless somebody has, and else looks again. So it
needs no lock, a killed writer leaves a whole entry or none, and whoever loses a race has seen what the winner wrote.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_mlops.domain.audit.chain import ChainRecord, Trail, read_chain
from airflow_mlops.domain.audit.entry import AuditEntry, AuditEvent, Chain, Head, Subject, entry_name, entry_sequence
from airflow_mlops.domain.audit.events import EntryQuery
from airflow_mlops.engines.fsspec import Storage
from airflow_mlops.exceptions import (
    AuditTrailBrokenError,
    AuditTrailBusyError,
    InvalidInputError,
    StorageUnavailableError,
)

_BATCH = 64
"""Entries that are fetched at once."""
_CLOCKS = timedelta(hours=1)
"""By how much the clocks of two workers may differ, and more than a promotion takes (``history.PROMOTION_TIME``)."""
_LONGEST_PAUSE_SECONDS = 0.5

Guard = Callable[[Sequence[AuditEntry]], None]
"""Looks at the entries before the one to be written, from about ``since`` on, oldest first, and raises what keeps it
from being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All chains below one folder.

    :param root: the folder, such as ``audit/`` of the artifact store.
    :param patience_seconds: after which an append gives up. A call to the store that hangs is bounded by the store's
        own timeouts, not by this.
    """

    root: Storage
    patience_seconds: float = 30.0

    def append(self, event: AuditEvent, *, since: datetime | None = None, guard: Guard | None = None) -> AuditEntry:
        """Append an event and return its entry; an event that is there already is not written twice.

        :param since: nothing before this time can be the same event, so that not all of a long chain is read.
        :param guard: asked before each attempt, so that nothing slips in between its look and the write.
        :raises AuditTrailBusyError: when it could not be written in time: nothing is recorded, as far as is known.
        :raises AuditTrailBrokenError: when the last entry is not what was written.
        """
        chain = event.happening.chain
        deadline = time.monotonic() + self.patience_seconds
        known: list[AuditEntry] = []  # oldest first
        attempts, trouble = 0, ""
        while True:
            attempts += 1
            try:
                known = self._look(chain, known, since)
                alike = (entry for entry in known if entry.event_kind is event.happening.event_kind)
                if found := next((entry for entry in alike if entry.event.key == event.key), None):
                    return found
                if guard is not None:
                    guard(known)
                head = known[-1].head if known else Head(sequence=0, digest=chain.genesis)
                entry = AuditEntry.seal(event, head)
                if (self.root / chain.path / entry_name(entry.sequence)).create_text(entry.to_text()):
                    return entry
                trouble = f"another writer was faster each time, the last time with entry {entry.sequence}"
            except StorageUnavailableError as error:
                trouble = str(error)
            if time.monotonic() > deadline:
                msg = (
                    f"The event {event.happening.event_kind.value!r} of {chain} could not be recorded in "
                    f"{self.patience_seconds:g} s and {attempts} attempts: {trouble}. Nothing was done on the strength "
                    f"of it; a retry records it."
                )
                raise AuditTrailBusyError(msg)
            # Jitter keeps writers that collided from colliding again.
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.02 * attempts)))  # noqa: S311 - no secret

    def find(self, query: EntryQuery) -> AuditEntry | None:
        """Return the newest entry that a query asks for, or ``None``. Entries that cannot be read are passed over."""
        for files in self._backwards(query.chain, self._numbers(query.chain)):
            if found := next((entry for entry in reversed(_entries(files)) if query.matches(entry)), None):
                return found
        return None

    def newest(self, chain: Chain, most: int = 1000) -> list[AuditEntry]:
        """Return the newest entries of a chain that can be read, oldest first. Nothing is proved."""
        found: list[AuditEntry] = []
        for files in self._backwards(chain, self._numbers(chain)[-most:]):
            found = [*_entries(files), *found]
        return found

    def read(self, chain: Chain, seen: Iterable[Head] = ()) -> ChainRecord:
        """Read and prove a whole chain. ``seen`` are heads that somebody remembers of it."""
        folder = self.root / chain.path
        names = folder.names()
        files: dict[str, bytes] = {}
        for start in range(0, len(names), _BATCH):
            batch = [name for name in names[start : start + _BATCH] if entry_sequence(name) is not None]
            files |= folder.read_many(batch)
        return read_chain(chain, dict.fromkeys(names, b"") | files, seen)

    def length(self, chain: Chain) -> int:
        """Return the number of the last entry, 0 when there is none."""
        return max(self._numbers(chain), default=0)

    def trail(self, *chains: Chain, seen: Mapping[Chain, Iterable[Head]] | None = None) -> Trail:
        """Read and prove chains, and those on which they stand."""
        trail = Trail(records={})
        missing = chains
        while missing:
            read = {chain: self.read(chain, (seen or {}).get(chain, ())) for chain in missing}
            trail = Trail(records={**trail.records, **read})
            missing = trail.missing_chains()
        return trail

    def chains(self, subject: Subject) -> tuple[Chain, ...]:
        """Return every chain about models, or about datasets."""
        return tuple(Chain.at(f"{subject.value}/{name}") for name in (self.root / subject.value).names())

    def _look(self, chain: Chain, known: list[AuditEntry], since: datetime | None) -> list[AuditEntry]:
        """Return the entries that are known, and those that have come since; of a first look, those after ``since``."""
        last = known[-1].sequence if known else 0
        numbers = [number for number in self._numbers(chain) if number > last]
        come: list[AuditEntry] = []
        for files in self._backwards(chain, numbers):
            if not come:
                self._require_whole(chain, *next(reversed(files.items())))
            entries = _entries(files)
            come = [*entries, *come]
            if since is not None and entries and entries[0].event.at < since - _CLOCKS:
                break
        return [*known, *come]

    def _numbers(self, chain: Chain) -> list[int]:
        names = (self.root / chain.path).names()
        return sorted(number for name in names if (number := entry_sequence(name)) is not None)

    def _backwards(self, chain: Chain, numbers: Sequence[int]) -> Iterator[dict[str, bytes]]:
        """Yield the files of entries in batches: the newest batch first, each oldest first."""
        for end in range(len(numbers), 0, -_BATCH):
            batch = numbers[max(0, end - _BATCH) : end]
            yield (self.root / chain.path).read_many([entry_name(number) for number in batch])

    def _require_whole(self, chain: Chain, name: str, data: bytes) -> None:
        try:
            AuditEntry.read(data)
        except InvalidInputError as error:
            msg = (
                f"{(self.root / chain.path / name).uri} was altered, so nothing can be appended after it: {error}. "
                f"Restore it from a backup, or from the versions that the store keeps."
            )
            raise AuditTrailBrokenError(msg) from error


def _entries(files: Mapping[str, bytes]) -> list[AuditEntry]:
    """Return the entries that can be read. Of the others ``read`` tells; here they are nothing to go by."""
    entries = []
    for data in files.values():
        with contextlib.suppress(InvalidInputError):
            entries.append(AuditEntry.read(data))
    return entries
