"""What a model's answers depend on, and how much of that has moved since the champion was trained.

Permutation importance: the rise of a metric's loss on the holdout when a feature's values are shuffled (Breiman, Random
Forests, 2001). SHAP: how far a feature moves an answer on average (Lundberg and Lee, 2017).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from airflow_mlops.domain.job import EXPLANATION
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import InvalidInputError, JobOutputError

EXPLAINED_BY: Final = ("roc_auc", "log_loss", "brier_score", "accuracy", "rmse", "mae")
"""Metrics whose loss can be asked about; which of them a model has depends on its task and its answers."""

_CHANGES = 10
_FEWEST_RANKED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationSpec(Document):
    """How thoroughly a model is explained. The time of a job grows with rows, features and repeats."""

    rows: int = 2000
    """Rows of the holdout that are taken by chance, the same ones for both models."""
    repeats: int = 5
    """How often each feature is shuffled; the standard deviation is over these."""
    seconds: float = 30.0
    """Wall time for shuffling, and again for SHAP; what it did not suffice for is said."""
    seed: int = 0
    metric: str | None = None
    """One of :data:`EXPLAINED_BY`; by default ``roc_auc``, without probabilities ``accuracy``, of amounts ``rmse``."""
    shap: bool = True
    """Whether to ask the library ``shap``, where the model's image has it. It costs about ten seconds to load."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("rows", "repeats", "seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                msg = f"ExplanationSpec.{name} is {value}, but must be above zero; to explain nothing: `explain: null`."
                raise InvalidInputError(msg)
        if self.seed < 0:
            msg = f"ExplanationSpec.seed is {self.seed}, but must be zero or more."
            raise InvalidInputError(msg)
        if self.metric is not None and self.metric not in EXPLAINED_BY:
            msg = f"ExplanationSpec.metric is {self.metric!r}, but must be one of {', '.join(EXPLAINED_BY)}."
            raise InvalidInputError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureImportance(Document):
    """How much worse a model is without what one feature says."""

    feature: str
    mean: float
    """Rise of the loss, on average over the repeats. Around zero, also below it, the feature does not matter."""
    standard_deviation: float
    shap: float | None = None
    """Mean absolute SHAP value, in the unit of the answer: probability, or the regression's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExplanation(Document):
    """The importances of one model's features. Without any, the notes say why."""

    metric: str | None = None
    """Whose loss rises: 1 - value where more is better."""
    rows: int = 0
    repeats: int = 0
    importances: tuple[FeatureImportance, ...] = ()
    """In the order of the model's columns."""
    shap_rows: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any] | None) -> Self:
        """Read what the scoring job left in ``explanation.json``; ``None`` when it left none, which is no error.

        :raises JobOutputError: when a key is unknown, or a value of the wrong type.
        """
        if content is None:
            return cls(notes=(f"The program that scored it left no {EXPLANATION}.",))
        try:
            return cls.from_dict(content)
        except InvalidInputError as error:
            msg = f"The job's {EXPLANATION} cannot be read: {error}"
            raise JobOutputError(msg) from error

    @property
    def ranked(self) -> tuple[FeatureImportance, ...]:
        """The importances, the greatest first."""
        return tuple(sorted(self.importances, key=lambda item: -item.mean))

    @property
    def shares(self) -> dict[str, float]:
        """Each feature's share of the importance, 1 in all; below zero is zero. Empty when no feature matters."""
        total = sum(max(item.mean, 0.0) for item in self.importances)
        return {item.feature: max(item.mean, 0.0) / total for item in self.importances} if total > 0 else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceChange(Document):
    """A feature's share of the importance in both models; ``None`` in the one that does not have the feature."""

    feature: str
    candidate: float | None
    champion: float | None

    @property
    def size(self) -> float:
        """How much of the importance came or went."""
        return abs((self.candidate or 0.0) - (self.champion or 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceDrift(Document):
    """How differently two models depend on their features."""

    moved: float
    """Share of the importance that is on other features now: 0 none, 1 all. Half of the summed changes of shares."""
    rank_correlation: float | None
    """Spearman's, of the shares of features that both have; ``None`` for less than three, or where all are equal."""
    changes: tuple[ImportanceChange, ...]
    """The largest ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Document):
    """What the candidate and the champion depend on, and the difference."""

    candidate: ModelExplanation
    champion: ModelExplanation | None = None
    drift: ImportanceDrift | None = None
    notes: tuple[str, ...] = ()
    """Why there is no drift, where there is a champion."""

    @classmethod
    def compare(cls, candidate: ModelExplanation, champion: ModelExplanation | None) -> Self:
        """Put both together, with the drift where it is defined."""
        if champion is None:
            return cls(candidate=candidate)
        reason = _why_not_comparable(candidate, champion)
        if reason:
            return cls(candidate=candidate, champion=champion, notes=(reason,))
        return cls(candidate=candidate, champion=champion, drift=_drift(candidate.shares, champion.shares))


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Spearman's coefficient: Pearson's of the ranks, equal values sharing their mean rank."""
    if len(left) < _FEWEST_RANKED:
        return None
    x, y = _ranks(left), _ranks(right)
    middle = (len(x) + 1) / 2
    spread = math.sqrt(sum((a - middle) ** 2 for a in x) * sum((b - middle) ** 2 for b in y))
    return sum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True)) / spread if spread else None


def _why_not_comparable(candidate: ModelExplanation, champion: ModelExplanation) -> str:
    for role, model in (("candidate", candidate), ("champion", champion)):
        if not model.importances:
            return f"The {role} has no importances, so they cannot be compared. {' '.join(model.notes)}".rstrip()
        if not model.shares:
            return f"Shuffling makes the {role} worse with no feature, so there are no shares to compare."
    if candidate.metric != champion.metric:
        return (
            f"The candidate is explained by {candidate.metric} and the champion by {champion.metric}, so their "
            f"importances cannot be compared."
        )
    return ""


def _drift(candidate: Mapping[str, float], champion: Mapping[str, float]) -> ImportanceDrift:
    changes = [
        ImportanceChange(feature=feature, candidate=candidate.get(feature), champion=champion.get(feature))
        for feature in dict.fromkeys([*candidate, *champion])
    ]
    both = [feature for feature in candidate if feature in champion]
    return ImportanceDrift(
        moved=sum(change.size for change in changes) / 2,
        rank_correlation=rank_correlation([candidate[name] for name in both], [champion[name] for name in both]),
        changes=tuple(sorted(changes, key=lambda change: -change.size)[:_CHANGES]),
    )


def _ranks(values: Sequence[float]) -> list[float]:
    ranks: dict[float, float] = {}
    place = 1
    for value, count in sorted(Counter(values).items()):
        ranks[value] = place + (count - 1) / 2
        place += count
    return [ranks[value] for value in values]
