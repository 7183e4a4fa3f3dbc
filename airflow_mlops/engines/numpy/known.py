"""Rows whose truth is known, and what a model said of them: of a holdout, or of a window whose labels have come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.engines.numpy.metrics import Array, Predictions, encode
from airflow_mlops.exceptions import EvaluationError

_SHOWN = 5
"""Labels that a message shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRows:
    """Rows whose truth is known, and what the model said of them."""

    truth: Array
    predictions: Predictions

    @property
    def positive(self) -> object:
        """The positive class: the greatest label of the truth and of what the model said."""
        label: object = max(*self.truth.tolist(), *self.predictions.prediction.tolist())
        return label

    def take(self, rows: Array) -> Self:
        """Return these rows only."""
        probability = self.predictions.probability
        return replace(
            self,
            truth=self.truth[rows],
            predictions=Predictions(
                prediction=self.predictions.prediction[rows],
                probability=None if probability is None else probability[rows],
            ),
        )

    def why_not_judged(self, task: LearningTask) -> str:
        """Say why the labels show nothing of the model, or nothing when they do.

        :raises EvaluationError: when they do not fit the task or what the model says.
        """
        if task is LearningTask.REGRESSION:
            if self.truth.dtype.kind not in "fiub":
                msg = f"A regression has numbers for labels, but they are {self.truth.dtype}: {self.truth[0]!r}."
                raise EvaluationError(msg)
            return ""
        labels, said = (encode(values)[0].tolist() for values in (self.truth, self.predictions.prediction))
        if task is LearningTask.BINARY and len(labels) > 2:  # noqa: PLR2004 - that is what binary means
            msg = f"A binary task has two labels, but there are {len(labels)}: {_listed(labels)}."
            raise EvaluationError(msg)
        if len(labels) == 1:
            return (
                f"Every one of the {len(self.truth):,} labels is {labels[0]}, which does not show how the model tells "
                f"it from another."
            )
        strange = [value for value in said if value not in labels]
        if len(strange) == len(said) or (task is LearningTask.BINARY and strange):
            msg = f"The model says {_listed(strange)}, but the labels are {_listed(labels)}: they are of another kind."
            raise EvaluationError(msg)
        return ""


def rests_on(known: KnownRows) -> dict[str, int]:
    """Return how many rows each metric of a binary task rests on; one that is not named rests on all of them.

    A ranking rests on the rarer class, a share on its denominator, and f1 on the mean of its two.
    """
    label = known.positive
    positive, called = (int((values == label).sum()) for values in (known.truth, known.predictions.prediction))
    rarer = min(positive, len(known.truth) - positive)
    return {
        "roc_auc": rarer,
        "average_precision": rarer,
        "precision": called,
        "recall": positive,
        "f1": (positive + called) // 2,
    }


def sample_positions(rows: int, most: int) -> Array:
    """Return the positions of a random sample, the same for the same number of rows, in order."""
    import numpy as np

    if rows <= most:
        return np.arange(rows)
    chosen: Array = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    return chosen


def one_after_the_other(first: Array, second: Array, start: int) -> Array:
    """Return positions in two tables as positions in both together; the second begins at ``start``."""
    import numpy as np

    return np.concatenate([first, second + start])


def means_apart(ours: Predictions, theirs: Predictions) -> tuple[float, float, float] | None:
    """Return the means of what was said, and how far they are apart in standard deviations (Cohen's d).

    Of probabilities where there are any, else of numbers; ``None`` for texts.
    """
    import numpy as np

    pairs = (ours.probability, theirs.probability), (ours.prediction, theirs.prediction)
    first, second = next((a, b) for a, b in pairs if a is not None and b is not None)
    if first.dtype.kind not in "fiub" or second.dtype.kind not in "fiub" or not len(first) or not len(second):
        return None
    first, second = first.astype(float), second.astype(float)
    spread = float(np.sqrt((first.var() + second.var()) / 2))
    one, other = float(first.mean()), float(second.mean())
    return one, other, (one - other) / spread if spread > 0 else 0.0


def _listed(labels: list[object]) -> str:
    return ", ".join(map(str, labels[:_SHOWN])) + (", …" if len(labels) > _SHOWN else "")
