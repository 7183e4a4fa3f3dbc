"""What was told of new data, in the artifact store, so that a restart neither forgets nor repeats.

A folder holds a file for each batch, whole or not there, and the number of the last batch that was told. A batch is
written down before it is told. So one that is there and above that number was perhaps told: it is told again, the same.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from airflow_mlops.engines.fsspec import Storage

_TOLD = "told.json"
_LINES_AT_A_TIME = 1_000
"""Encoded at once: other threads, such as an event loop, get their turn in between."""


@dataclass(slots=True, kw_only=True)
class ToldData:
    """The batches of one watch."""

    folder: Storage
    told: int = -1
    """Number of the last batch that was told; 0 is what was there in the beginning, -1 that nobody has looked yet."""
    pending: dict[str, Any] | None = None
    """A batch that is written down and perhaps not told."""
    known: dict[str, Any] = field(default_factory=dict)
    """Everything that the batches hold, the later ones over the earlier."""

    def load(self) -> None:
        """Read what an earlier process wrote."""
        self.told, self.pending, self.known = -1, None, {}
        file = self.folder / _TOLD
        if not file.exists():
            return
        self.told = int(file.read_json()["batch"])
        names = [_name(number) for number in range(self.told + 1)]
        for content in self.folder.read_many(names).values():
            self.known.update(_decode(content))
        following = _name(self.told + 1)
        if (self.folder / following).exists():
            self.pending = dict(_decode(self.folder.read_many([following])[following]))

    def write(self, batch: Mapping[str, Any]) -> int:
        """Write the next batch down, before it is told, and return its number."""
        number = self.told + 1
        if not (self.folder / _name(number)).create_text(_encode(batch)):
            self.load()  # Another triggerer, which was taken for dead, has written it.
        else:
            self.pending = dict(batch)
        return number

    def uri(self, number: int) -> str:
        """Return where a batch is written down."""
        return (self.folder / _name(number)).uri

    def confirm(self, number: int) -> None:
        """Note that the pending batch was told."""
        if self.pending is None or number != self.told + 1:
            return
        file = self.folder / _TOLD
        if not file.exists() or int(file.read_json()["batch"]) < number:
            file.write_json({"batch": number})
        self.known.update(self.pending)
        self.told, self.pending = number, None


def read_batch(file: Storage) -> dict[str, Any]:
    """Return the files of a batch and their versions."""
    name = file.uri.rsplit("/", 1)[-1]
    folder = Storage(filesystem=file.filesystem, path=file.path.rsplit("/", 1)[0], uri=file.uri.rsplit("/", 1)[0])
    return dict(_decode(folder.read_many([name])[name]))


def _name(number: int) -> str:
    return f"batch-{number:08d}.jsonl"


def _encode(batch: Mapping[str, Any]) -> str:
    items = iter(batch.items())
    parts = []
    while some := list(islice(items, _LINES_AT_A_TIME)):
        parts.append("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in some))
    return "".join(parts)


def _decode(content: bytes) -> Iterator[tuple[str, Any]]:
    for line in content.decode().split("\n"):
        if line:
            key, value = json.loads(line)
            yield key, value
