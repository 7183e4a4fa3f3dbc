"""The count of a column of texts or truth values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.profile import EXACT_CATEGORIES, ColumnProfile, Folded, category, distribution_of
from airflow_mlops.engines.profiles.tally import Tally

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class CategoryTally(Tally):
    """Counts texts and truth values: by the texts as long as there are not too many, and else by their hash."""

    parts: list[tuple[pa.Array, Array]] = field(default_factory=list)
    """Texts, and how often each has come: what came first, and the dictionary of each row group since."""
    folded: Folded | None = None

    def add(self, values: pa.Array) -> None:
        """Count the next rows."""
        import numpy as np
        import pyarrow as pa

        if pa.types.is_dictionary(values.type) and values.dictionary.null_count:
            values = values.cast(values.type.value_type)
        # slots=True makes a new class, which super() without arguments does not know.
        Tally.add(self, values)
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        if not self.parts or not values.dictionary.equals(self.parts[-1][0]):
            self._settle(2 * EXACT_CATEGORIES)
            self.parts.append((values.dictionary, np.zeros(len(values.dictionary), dtype=np.int64)))
        indices = values.indices.drop_null() if values.indices.null_count else values.indices
        places: Array = np.from_dlpack(indices)
        np.add.at(self.parts[-1][1], places, 1)

    def _settle(self, limit: int = 0) -> None:
        """Make all parts one if they have more than ``limit`` texts, and fold it if it has too many."""
        import numpy as np
        import pyarrow as pa

        if sum(len(texts) for texts, _ in self.parts) <= limit:
            return
        encoded = pa.concat_arrays([texts for texts, _ in self.parts]).dictionary_encode()
        counts = np.zeros(len(encoded.dictionary), dtype=np.int64)
        places: Array = np.from_dlpack(encoded.indices)
        np.add.at(counts, places, np.concatenate([found for _, found in self.parts]))
        self.parts = [(encoded.dictionary, counts)]
        if np.count_nonzero(counts) > EXACT_CATEGORIES:
            known = Folded.of(_named(encoded.dictionary, counts))
            self.folded = known if self.folded is None else self.folded.merge(known)
            self.parts = []

    def profile(self) -> ColumnProfile:
        """Return what was counted."""
        self._settle()
        named = _named(*self.parts[0]) if self.parts else {}
        if self.folded is None:
            return replace(Tally.profile(self), distribution=distribution_of(named))
        return replace(Tally.profile(self), distribution=self.folded.merge(Folded.of(named)))


def _named(texts: pa.Array, counts: Array) -> dict[str, int]:
    """Return how often each text has come, texts that are too long by what is kept of them."""
    named: dict[str, int] = {}
    for text, count in zip(texts.to_pylist(), counts.tolist(), strict=True):
        if not count:
            continue  # A dictionary may hold what no row has.
        name = category(text) if isinstance(text, str) else str(text).lower()
        named[name] = named.get(name, 0) + count
    return named
