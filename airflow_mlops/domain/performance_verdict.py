"""What a window says of a model, in a verdict and in sentences."""

from dataclasses import replace
from typing import Final

from airflow_mlops.domain.bias import BiasSpec
from airflow_mlops.domain.evaluation import Estimate
from airflow_mlops.domain.monitoring import CheckVerdict
from airflow_mlops.domain.performance import (
    AnswerCounts,
    Cause,
    PerformanceReport,
    PerformanceSpec,
    WindowMetric,
    difference,
)

MIN_OVERLAP = 0.2
"""When a smaller share of the rows lies where both holdout and window have inputs, their part is not judged."""

_RESTS_ON: Final = {
    "precision": "that were called positive",
    "recall": "of the positive class",
    "f1": "that are positive or were called so (the mean of both)",
}
"""What the answers are that a metric rests on; of others it is the rarer class."""


def judge(report: PerformanceReport) -> PerformanceReport:
    """Return the report with its verdict and reasons: what decides first, then what should be known besides."""
    found = report.find(report.metric)
    verdict, decisive = _decide(report, found)
    reasons = [decisive, *_estimate(report, found)]
    if report.cause is not None and found is not None and found.measured is not None:
        promised = found.promised.value if found.promised else 0.0
        reasons.append(explain(report.cause, report.spec.margin_of(found.metric, promised) / 2))
    if found is not None and found.estimated is not None and _may_estimate_decide(report):
        bar = _compared(found, found.estimated, report.spec)
        if bar is not None and bar[0]:
            verdict = CheckVerdict.VIOLATED
            reasons = [reasons[1], reasons[0], *reasons[2:]]
    reasons += [*report.notes, *report.counts.notes()]
    return replace(report, verdict=verdict, reasons=tuple(reasons))


def _may_estimate_decide(report: PerformanceReport) -> bool:
    return report.spec.estimate_decides and why_open(report) != "" and report.counts.rows > 0


def why_open(report: PerformanceReport) -> str:
    """Say why the labels decide nothing: there are too few, of all or of the class that the metric rests on."""
    found, least = report.find(report.metric), report.spec.min_of_class
    if why := why_too_few(report.counts, report.spec):
        return why
    if found is None or found.measured is None or found.rests_on is None or found.rests_on >= least:
        return ""
    return (
        f"{found.metric} is {_shown(found.measured)}, but rests on {found.rests_on:,} answers "
        f"{_RESTS_ON.get(found.metric, 'of the rarer class')}, fewer than the {least:,} that a verdict takes "
        f"(min_of_class)."
    )


def _decide(report: PerformanceReport, found: WindowMetric | None) -> tuple[CheckVerdict, str]:
    if not report.counts.rows:
        return CheckVerdict.UNDECIDED, f"Version {report.model_version} has no answer in the window."
    if why := why_open(report):
        return CheckVerdict.UNDECIDED, why
    if found is None or found.measured is None:
        return CheckVerdict.UNDECIDED, f"{report.metric} could not be measured."
    compared = _compared(found, found.measured, report.spec)
    if compared is None:
        seen = _shown(found.measured)
        return CheckVerdict.UNDECIDED, (
            f"{report.metric} is {seen}, but nothing was promised: version {report.model_version} has no evaluation "
            f"that can be read. Give the spec a promised value."
        )
    is_worse, sentence = compared
    return (CheckVerdict.VIOLATED if is_worse else CheckVerdict.PASSED), f"{sentence}{_labelled(report)}"


def why_too_few(counts: AnswerCounts, spec: PerformanceSpec | BiasSpec) -> str:
    """Say why nothing can be decided by the labels, or nothing when it can."""
    seen = f"{counts.labelled:,} of {counts.rows:,} answers have a label ({counts.labelled_share:.1%})"
    if not counts.labelled:
        none = f"None of {counts.rows:,} answers has a label yet"
        strangers = f"; {counts.unknown_ids:,} labels are of ids that the window does not have"
        return f"{none}{strangers if counts.unknown_ids else ''}."
    if counts.labelled < spec.min_labels:
        return f"{seen}, fewer than the {spec.min_labels:,} that a verdict takes."
    if counts.labelled_share < spec.min_labelled_share:
        return f"{seen}, less than the {spec.min_labelled_share:.0%} that a verdict takes."
    return ""


def _compared(found: WindowMetric, now: Estimate, spec: PerformanceSpec) -> tuple[bool, str] | None:
    """Return whether the value is surely worse than promised, and say so; ``None`` where nothing was promised."""
    if found.promised is None:
        return None
    margin = spec.margin_of(found.metric, found.promised.value)
    change = difference(now, found.promised)
    sign = 1 if found.higher_is_better else -1
    best = max(sign * change.low, sign * change.high)
    values = f"{found.metric} is {_shown(now)}, promised was {_shown(found.promised)}"
    sure = f"with {spec.confidence_level:.0%} confidence"
    if best < -margin:
        return (
            True,
            f"{values}: {sure} it is worse by at least {-best:.4f}, which is more than the margin {margin:.4g}.",
        )
    worse = -sign * change.value
    seen = f"worse by {worse:.4f}" if worse > 0 else "no worse" if worse == 0 else f"better by {-worse:.4f}"
    return False, f"{values}: {seen}, which is not surely more than the margin {margin:.4g}."


def _labelled(report: PerformanceReport) -> str:
    counts = report.counts
    if counts.labelled == counts.rows:
        return f" All {counts.rows:,} answers have a label."
    return f" {counts.labelled:,} of {counts.rows:,} answers have a label ({counts.labelled_share:.1%})."


def _estimate(report: PerformanceReport, found: WindowMetric | None) -> list[str]:
    """Say what is estimated, where it is not measured, and that it is an estimate."""
    if found is None or found.estimated is None or not why_open(report):
        return []
    against = f" against the promised {_shown(found.promised)}" if found.promised else ""
    seen = f"Estimated without labels, not measured: {found.metric} {_shown(found.estimated)}{against}."
    return [f"{seen} That takes for granted that answers of a probability come true as often as at promotion."]


def explain(cause: Cause, noticeable: float) -> str:
    """Say what a change is due to, as far as the intervals allow.

    :param noticeable: a part is named when it is surely below zero, and by this much: half the margin.
    """
    change = f"{cause.metric} changed by {_signed(cause.change)} against the holdout"
    if cause.overlap < MIN_OVERLAP:
        share = f"{cause.overlap:.0%}" if cause.overlap >= 0.01 else "less than 1%"  # noqa: PLR2004 - a digit
        return (
            f"Data drift, so far that it hides whether there is concept drift: {share} of the rows lie where holdout "
            f"and window both have inputs, too few to say whether these come true otherwise. {change}."
        )
    concept, inputs = (part.high < 0 and -part.value >= noticeable for part in (cause.concept, cause.inputs))
    if concept and inputs:
        said = "Both concept drift and data drift: the same inputs have worse errors, and harder or new inputs came"
    elif concept:
        said = "Concept drift: the same inputs have worse errors than at promotion"
    elif inputs:
        said = (
            "Data drift: on the inputs that both have the model is as good as at promotion, but harder or new ones came"
        )
    elif cause.change.high < 0 and -cause.change.value >= noticeable:
        said = "Whether the same inputs have worse errors or harder ones came cannot be told apart with confidence"
    else:
        said = "Neither concept drift nor data drift makes the model noticeably worse"
    parts = f"on the same inputs {_signed(cause.concept)}, by other inputs {_signed(cause.inputs)}"
    told = f"{said}. {change}: {parts} (below zero is worse)."
    if not concept or not cause.together:
        return told
    pairs = ", ".join(cause.together)
    return (
        f"{told} Some of it may be other inputs: {pairs} go together otherwise than at promotion, which counts there."
    )


def _shown(estimate: Estimate) -> str:
    if estimate.low == estimate.high == estimate.value:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"
