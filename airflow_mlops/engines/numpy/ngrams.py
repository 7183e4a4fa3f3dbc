"""Texts as rows of numbers without a dictionary or a model: counts of hashed runs of characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_mlops.engines.numpy.domain_classifier import Separation, separate
from airflow_mlops.engines.numpy.metrics import Array
from airflow_mlops.engines.numpy.permutations import PERMUTATIONS

LENGTHS = (3, 4, 5)
BUCKETS = 1_024
READ_CHARACTERS = 1_000
"""Of each text its beginning is read, so that one long document costs no more than others."""
_TEXTS_AT_A_TIME = 500


def separate_texts(
    reference: Sequence[str], current: Sequence[str], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Separation:
    """Tell two samples of texts apart by their runs of characters: the area under the ROC curve, 0.5 for equal ones."""
    features = hash_ngrams([*reference, *current])
    return separate(features, len(reference), permutations=permutations, seed=seed)


def hash_ngrams(texts: Sequence[str]) -> Array:
    """Return a row for each text: the roots of its counts of runs of 3 to 5 characters by hash, of the length 1.

    Case and runs of white space make no difference; a run may reach over the end of a word, and the text's own ends
    count as white space. The same text has the same row in every process.
    """
    import numpy as np

    rows = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for start in range(0, len(texts), _TEXTS_AT_A_TIME):
        some = texts[start : start + _TEXTS_AT_A_TIME]
        for text_numbers, buckets in _hashes(some):
            counts = np.bincount(text_numbers * BUCKETS + buckets, minlength=len(some) * BUCKETS)
            rows[start : start + len(some)] += counts.reshape(len(some), BUCKETS)
    rows = np.sqrt(rows)
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    unit: Array = rows / np.where(lengths > 0, lengths, 1)
    return unit


def _hashes(texts: Sequence[str]) -> Iterator[tuple[Array, Array]]:
    """Yield, for each length of a run, which text each run is of and the bucket of its hash."""
    import numpy as np

    plain = [" " + " ".join(text[:READ_CHARACTERS].casefold().split()) + " " for text in texts]
    # A lone surrogate, which no Parquet file holds, is replaced.
    characters = np.frombuffer("".join(plain).encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    of_text = np.repeat(np.arange(len(plain)), [len(text) for text in plain])
    for length in LENGTHS:
        runs = max(len(characters) - length + 1, 0)
        within = of_text[:runs] == of_text[length - 1 :]
        hashed = np.full(runs, length, dtype=np.uint64)
        for offset in range(length):  # polynomial, modulo 2**64
            hashed = hashed * np.uint64(0x100000001B3) + characters[offset : offset + runs]
        hashed = (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: mix the bits
        yield of_text[:runs][within], (hashed[within] >> np.uint64(54)).astype(np.int64)
