"""Texts and embeddings: which columns hold them, what is measured of them, and from when on they have drifted."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from airflow_mlops.domain.drift.found import ColumnDrift
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError

SAMPLED_ROWS: Final = 5_000
"""Rows of each side that a classifier or a discrepancy looks at, the same ones in every run."""


class SeparationMethod(enum.StrEnum):
    """How two samples of texts or embeddings are compared."""

    DOMAIN_CLASSIFIER = "domain_classifier"
    """How well a classifier tells them apart: the area under the ROC curve of rows new to it, 0.5 for none."""
    MMD = "mmd"
    """The squared maximum mean discrepancy of a Gaussian kernel, 0 for none; embeddings only."""

    @property
    def threshold(self) -> float:
        """From which value on a column has drifted, unless its author says otherwise: Evidently's defaults."""
        return 0.55 if self is SeparationMethod.DOMAIN_CLASSIFIER else 0.015


class DescriptorKind(enum.StrEnum):
    """A number or a truth value of a text, by Evidently's definition of the descriptor of that name."""

    TEXT_LENGTH = "text_length"
    """Characters (code points)."""
    WORD_COUNT = "word_count"
    """Words of the letters A to Z: all else but blanks is dropped first, as Evidently does."""
    SENTENCE_COUNT = "sentence_count"
    """Places where a full stop or a question mark ends a sentence, as Evidently tells them, and one."""
    IS_VALID_JSON = "is_valid_json"
    CONTAINS = "contains"
    """Whether a text occurs, case considered."""
    REG_EXP = "reg_exp"
    """Whether a regular expression matches somewhere, in RE2's syntax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What is measured of a text, as a column of its own."""

    column: str
    kind: DescriptorKind
    argument: str = ""
    """What is looked for."""
    name: str
    """Of the new column, such as ``comment.word_count``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn(Document):
    """A column of texts that people or models write, in place of a few values."""

    column: str
    contains: tuple[str, ...] = ()
    """Texts whose share is watched, such as ``("refund",)``; the column is then ``comment.contains(refund)``."""
    patterns: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions by a name, such as ``{"order": "[A-Z]{2}[0-9]{6}"}`` for ``comment.matches(order)``."""
    is_json: bool = False
    """Whether texts should be JSON: the share of those that are is watched, too."""
    threshold: float = SeparationMethod.DOMAIN_CLASSIFIER.threshold
    """The words have drifted from this area under the ROC curve on."""

    def __post_init__(self) -> None:
        _check_area(self.column, self.threshold)

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """What is measured of each text."""
        plain = [DescriptorKind.TEXT_LENGTH, DescriptorKind.WORD_COUNT, DescriptorKind.SENTENCE_COUNT]
        plain += [DescriptorKind.IS_VALID_JSON] if self.is_json else []
        return (
            *(Descriptor(column=self.column, kind=kind, name=f"{self.column}.{kind.value}") for kind in plain),
            *(
                Descriptor(
                    column=self.column,
                    kind=DescriptorKind.CONTAINS,
                    argument=item,
                    name=f"{self.column}.contains({item})",
                )
                for item in self.contains
            ),
            *(
                Descriptor(
                    column=self.column,
                    kind=DescriptorKind.REG_EXP,
                    argument=item,
                    name=f"{self.column}.matches({name})",
                )
                for name, item in self.patterns.items()
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingColumn(Document):
    """A column of lists of numbers, all of one length."""

    column: str
    method: SeparationMethod = SeparationMethod.DOMAIN_CLASSIFIER
    threshold: float | None = None
    """From which value on it has drifted; ``None`` is the method's own, 0.55 or 0.015."""

    def __post_init__(self) -> None:
        if self.method is SeparationMethod.DOMAIN_CLASSIFIER:
            _check_area(self.column, self.beyond)
        elif not self.beyond > 0:
            msg = f"The threshold of {self.column} is {self.beyond}, but must be above zero: equal data has 0."
            raise InvalidInputError(msg)

    @property
    def beyond(self) -> float:
        """From which value on the column has drifted."""
        return self.method.threshold if self.threshold is None else self.threshold


def as_texts(columns: Sequence[TextColumn | str]) -> tuple[TextColumn, ...]:
    """Return what is said of each column, where only a name may be."""
    return tuple(TextColumn(column=item) if isinstance(item, str) else item for item in columns)


def as_embeddings(columns: Sequence[EmbeddingColumn | str]) -> tuple[EmbeddingColumn, ...]:
    """Return what is said of each column, where only a name may be."""
    return tuple(EmbeddingColumn(column=item) if isinstance(item, str) else item for item in columns)


def judge_separation(
    column: str,
    method: SeparationMethod,
    *,
    value: float,
    p_value: float,
    threshold: float,
    significance: float,
    missing: tuple[float, float],
) -> ColumnDrift:
    """Return what a separation says: drift when it is beyond the threshold, and more than chance makes of equal data.

    With few rows chance alone passes the threshold, with many the least difference is significant: both are asked for.

    :param missing: shares of the rows without a value, of the reference and of the current data.
    """
    return ColumnDrift(
        column=column,
        method=method.value,
        value=value,
        threshold=threshold,
        drifted=value >= threshold and p_value <= significance,
        adjusted=p_value,
        missing_reference=missing[0],
        missing_current=missing[1],
    )


def _check_area(column: str, threshold: float) -> None:
    if not 0.5 < threshold <= 1:  # noqa: PLR2004 - what a coin would reach
        msg = (
            f"The threshold of {column} is {threshold}, but an area under the ROC curve that tells data apart is above "
            f"0.5 and at most 1."
        )
        raise InvalidInputError(msg)
