"""Columns of texts: what is measured of them, as numbers that are compared like any other."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_mlops.domain.serialization import Document


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
    described: bool = True
    """Whether its form is watched, too: its length, its words and its sentences."""

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """What is measured of each text."""
        plain = [DescriptorKind.TEXT_LENGTH, DescriptorKind.WORD_COUNT, DescriptorKind.SENTENCE_COUNT]
        plain = plain if self.described else []
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
