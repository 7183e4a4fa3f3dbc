"""The count of a column of texts or truth values."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    texts: pa.Array | None = None
    """All different texts that have come, and how often each has."""
    counts: Array | None = None
    pending: tuple[pa.Array, Array] | None = None
    """The dictionary of the last batches, and how often each of its entries has come: a row group has one."""
    folded: Folded | None = None

    def add(self, values: pa.Array) -> None:
        """Count the next rows."""
        import numpy as np
        import pyarrow as pa

        # slots=True makes a new class, which super() without arguments does not know.
        Tally.add(self, values)
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        indices = values.indices.drop_null() if values.indices.null_count else values.indices
        found = np.bincount(indices.to_numpy(), minlength=len(values.dictionary))
        if self.pending is not None and values.dictionary.equals(self.pending[0]):
            self.pending = (self.pending[0], self.pending[1] + found)
            return
        self._settle()
        self.pending = (values.dictionary, found)

    def _settle(self) -> None:
        """Add the pending counts to those of all texts."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.pending is None:
            return
        texts, found = self.pending
        self.pending = None
        if texts.null_count or (found == 0).any():  # A dictionary may hold a null, or what only other rows have.
            kept = np.flatnonzero((found > 0) & texts.is_valid().to_numpy(zero_copy_only=False))
            self.nulls += int(found.sum() - found[kept].sum())
            texts, found = texts.take(pa.array(kept)), found[kept]
        if self.texts is None or self.counts is None:
            self.texts, self.counts = texts, found
        else:
            places = pc.index_in(texts, value_set=self.texts)
            new = places.is_null().to_numpy(zero_copy_only=False)
            at = places.fill_null(0).to_numpy()
            np.add.at(self.counts, at[~new], found[~new])
            if new.any():
                self.texts = pa.concat_arrays([self.texts, texts.filter(pa.array(new))])
                self.counts = np.concatenate([self.counts, found[new]])
        if len(self.texts) > EXACT_CATEGORIES:
            self._fold()

    def _fold(self) -> None:
        """Keep the counts by hash only."""
        if self.texts is not None and self.counts is not None:
            known = Folded.of(_named(self.texts, self.counts))
            self.folded = known if self.folded is None else self.folded.merge(known)
        self.texts = self.counts = None

    def profile(self) -> ColumnProfile:
        """Return what was counted."""
        self._settle()
        if self.folded is not None:
            self._fold()
            return replace(Tally.profile(self), distribution=self.folded)
        counts = {} if self.texts is None or self.counts is None else _named(self.texts, self.counts)
        return replace(Tally.profile(self), distribution=distribution_of(counts))


def _named(texts: pa.Array, counts: Array) -> dict[str, int]:
    """Return how often each text has come, texts that are too long by what is kept of them."""
    named: dict[str, int] = {}
    for text, count in zip(texts.to_pylist(), counts.tolist(), strict=True):
        name = category(text) if isinstance(text, str) else str(text).lower()
        named[name] = named.get(name, 0) + count
    return named
