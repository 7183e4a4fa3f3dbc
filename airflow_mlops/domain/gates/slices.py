"""A gate on the slices of the holdout: a candidate that is better on the whole may still be worse for somebody."""

import math
from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.domain.slices import Against, Loss, Slice, Slices
from airflow_mlops.exceptions import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceGate(Gate):
    """No slice may be worse than the champion by more than ``margin``, and none may cost more than ``loss_at_most``.

    A slice counts as worse when its mean loss is greater and the test says so after the correction for all slices that
    were searched; the significance is that of the evaluation. The absolute bar is on the mean loss as it was measured,
    without a test, and holds for a first model, too.
    """

    kind: ClassVar[str] = "slices"

    margin: float | None = 0.0
    """How much worse a slice may be, in the unit of the loss; ``None`` does not compare with the champion."""
    loss_at_most: float | None = None
    """What a row of a slice may cost the candidate on average."""
    loss: Loss | None = None
    """The loss in which the bars are meant; an evaluation by another one is refused. Wanted for bars above zero."""
    min_rows: int | None = None
    """Slices of fewer rows are not asked; ``None`` is as the evaluation judged them."""

    def __post_init__(self) -> None:
        """Refuse bars that are no bars."""
        if self.margin is None and self.loss_at_most is None:
            msg = "The gate on slices has no bar. Give margin or loss_at_most."
            raise PolicyError(msg)
        if self.margin is not None and not 0 <= self.margin < math.inf:
            msg = f"The gate on slices has the margin {self.margin}. Give zero or more."
            raise PolicyError(msg)
        if self.loss_at_most is not None and not math.isfinite(self.loss_at_most):
            msg = f"The gate on slices has loss_at_most {self.loss_at_most}. Give a finite number."
            raise PolicyError(msg)
        if self.loss is None and (self.margin or self.loss_at_most is not None):
            msg = (
                f"The gate on slices has a bar, but not its unit. Give loss, one of {', '.join(Loss)}: "
                f"0.01 means another thing in each."
            )
            raise PolicyError(msg)
        if self.min_rows is not None and self.min_rows < 2:  # noqa: PLR2004 - one row is no slice
            msg = f"The gate on slices has min_rows {self.min_rows}. Give 2 or more."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        bars = []
        if self.margin is not None:
            by = f" by more than {self.margin:g}" if self.margin else ""
            bars.append(f"no slice worse than champion{by}")
        if self.loss_at_most is not None:
            bars.append(f"every slice ≤ {self.loss_at_most:g}")
        unit = f" ({self.loss.value})" if self.loss else ""
        rows = f", of {self.min_rows:,} rows or more" if self.min_rows else ""
        return f"{' and '.join(bars)}{unit}{rows}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Look for the slice that breaks a bar by most."""
        slices = evaluation.slices
        if slices is None:
            return self.refusal("The evaluation has no slices. Let its spec ask for them.")
        min_rows = self.min_rows or slices.min_rows
        costliest = slices.costliest(min_rows)
        if costliest is None or self._unfit(slices):
            none = f"No slice has the {min_rows:,} rows that it takes to be judged."
            return self.refusal(self._unfit(slices) or none)
        seen = f"{_rows(costliest)} costs most: {slices.loss} is {costliest.loss:.4f}"
        if self.loss_at_most is not None and costliest.loss > self.loss_at_most:
            return self.refusal(f"{seen}, but may be {self.loss_at_most:g} at most.")
        if self.margin is None:
            return self.passing(f"{seen}, which is within {self.loss_at_most:g}.")
        if slices.against is not Against.CHAMPION:
            return self.without_champion(first_model)
        return self._compare(slices, min_rows, self.margin)

    def _compare(self, slices: Slices, min_rows: int, margin: float) -> GateVerdict:
        beyond = slices.beyond(margin, min_rows)
        worst = beyond or slices.surely_worse(min_rows)
        if worst is None:
            return self.passing(
                f"Of {slices.judged:,} slices, none of {min_rows:,} rows or more is significantly worse than the "
                f"champion ({slices.test}, false discovery rate {slices.significance:g})."
            )
        compared = (
            f"{_rows(worst)}: {slices.loss} is {worst.loss:.4f} against the champion's {worst.baseline or 0:.4f}, "
            f"{worst.difference or 0:.4f} worse"
        )
        tested = f"{slices.test}, p = {worst.adjusted_p or 0:.2g} corrected for {slices.judged:,} slices"
        if beyond is not None:
            allowed = f", but may be worse by {margin:g} at most" if margin else ""
            all_of_them = f" {slices.worse:,} slices are significantly worse in all." if slices.worse > 1 else ""
            return self.refusal(f"{compared}{allowed} ({tested}).{all_of_them}")
        return self.passing(f"The worst slice is {compared}, which is within {margin:g} ({tested}).")

    def _unfit(self, slices: Slices) -> str:
        if self.loss is not None and self.loss is not slices.loss:
            return f"The gate's bar is in {self.loss}, but the evaluation compared slices by {slices.loss}."
        if self.min_rows is not None and self.min_rows < slices.min_rows:
            return (
                f"The gate asks for slices of {self.min_rows:,} rows or more, but the evaluation judged only those of "
                f"{slices.min_rows:,}. Lower min_rows in its spec."
            )
        return ""


def _rows(found: Slice) -> str:
    return f"{found.name} ({found.rows:,} rows)"
