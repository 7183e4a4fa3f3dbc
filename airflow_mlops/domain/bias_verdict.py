"""What a window says of how a model treats groups of people, in a verdict and in sentences."""

from dataclasses import replace

from airflow_mlops.domain.bias import BiasReport, JudgedBar, needs_labels
from airflow_mlops.domain.gates.fairness import FairnessGate
from airflow_mlops.domain.monitoring import CheckVerdict
from airflow_mlops.domain.performance_verdict import why_too_few

_WORST_FIRST = (CheckVerdict.VIOLATED, CheckVerdict.UNDECIDED, CheckVerdict.PASSED)


def judge_bias(report: BiasReport) -> BiasReport:
    """Return the report with its verdict: violated when one bar is missed, undecided when one cannot be judged."""
    bars = tuple(_judge(report, bar) for bar in report.spec.bars)
    verdict = next(state for state in _WORST_FIRST if any(bar.verdict is state for bar in bars))
    ordered = sorted(bars, key=lambda bar: _WORST_FIRST.index(bar.verdict))
    reasons = tuple(dict.fromkeys(bar.reason for bar in ordered))
    return replace(report, bars=bars, verdict=verdict, reasons=(*reasons, *report.notes, *report.counts.notes()))


def _judge(report: BiasReport, bar: FairnessGate) -> JudgedBar:
    def said(verdict: CheckVerdict, reason: str) -> JudgedBar:
        return JudgedBar(bar=bar.name, verdict=verdict, reason=reason)

    if not report.counts.rows:
        return said(CheckVerdict.UNDECIDED, f"Version {report.model_version} has no answer in the window.")
    if needs_labels(bar) and (why := why_too_few(report.counts, report.spec)):
        return said(CheckVerdict.UNDECIDED, f"{bar.name} needs labels. {why}")
    fairness = report.measured_by(bar)
    if fairness is None:
        return said(CheckVerdict.UNDECIDED, f"{bar.name} could not be measured.")
    judged = bar.judge_fairness(fairness)
    if bar.observe(fairness) is None:
        return said(CheckVerdict.UNDECIDED, judged.reason)
    return said(
        CheckVerdict.PASSED if judged.passed else CheckVerdict.VIOLATED, f"{judged.reason}{_before(report, bar)}"
    )


def _before(report: BiasReport, bar: FairnessGate) -> str:
    """Say what it was at promotion, where the evaluation measured it."""
    seen = bar.observe(report.promised) if report.promised is not None else None
    if seen is None:
        return ""
    low, high, _ = seen
    return f" At promotion it was {low:.4f}." if low == high else f" At promotion it was {low:.4f} to {high:.4f}."
