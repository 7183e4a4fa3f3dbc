"""What a reviewer reads before approving: Markdown for Airflow's Required Actions page."""

from collections.abc import Mapping

from airflow_mlops.domain.evaluation import Estimate, Evaluation
from airflow_mlops.domain.promotion import GateMode, GateVerdict, PromotionDecision
from airflow_mlops.domain.registry import (
    TAG_CODE_VERSION,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_IMAGE_DIGEST,
    TAG_SUITE_DIGEST,
    ModelVersion,
)

_SHORT = 12
"""Characters of a digest that people compare."""


def approval_summary(
    decision: PromotionDecision, evaluation: Evaluation, candidate: ModelVersion, links: Mapping[str, str]
) -> str:
    """Return the candidate against the champion, the verdicts, where it came from, and where to read on."""
    champion = f"version {decision.champion_version}" if decision.champion_version else "none yet: this is the first"
    parts = [
        (
            f"**Candidate** version {decision.version} of `{decision.model_name}` · **Champion** {champion} · "
            f"judged on {evaluation.rows:,} rows of `{evaluation.dataset_name}`."
        ),
        _gates(decision),
        _metrics(evaluation),
        _provenance(decision, evaluation, candidate),
        " · ".join(f"[{name}]({url})" for name, url in links.items() if url),
    ]
    return "\n\n".join(part for part in parts if part)


def _gates(decision: PromotionDecision) -> str:
    rows = [f"| {_mark(verdict)} | {_cell(verdict.gate)} | {_cell(verdict.reason)} |" for verdict in decision.verdicts]
    return "\n".join(["### Gates", "", "| | Gate | Verdict |", "|---|---|---|", *rows])


def _mark(verdict: GateVerdict) -> str:
    if verdict.mode is GateMode.OFF:
        return "off"
    mark = "✅" if verdict.passed else "❌"
    return mark if verdict.mode is GateMode.ENFORCE else f"dry run {mark}"


def _metrics(evaluation: Evaluation) -> str:
    compared = evaluation.champion is not None
    header = ["Metric", "Candidate", *(["Champion", "Difference", "p"] if compared else [])]
    rows = []
    for item in evaluation.metrics:
        cells = [f"{item.metric} {'↑' if item.higher_is_better else '↓'}", _estimate(item.candidate)]
        if compared:
            cells += [_estimate(item.champion), _estimate(item.difference, signed=True), str(item.test or "")]
        rows.append(f"| {' | '.join(cells)} |")
    title = f"### Metrics, with {evaluation.confidence_level:.0%} intervals"
    notes = [f"\n{note}" for note in evaluation.notes]
    return "\n".join([title, "", f"| {' | '.join(header)} |", "|---" * len(header) + "|", *rows, *notes])


def _provenance(decision: PromotionDecision, evaluation: Evaluation, candidate: ModelVersion) -> str:
    tags = candidate.tags
    facts = {
        "Training data": (tags.get(TAG_DATASET_NAME), tags.get(TAG_DATASET_DIGEST)),
        "Holdout": (evaluation.dataset_name, evaluation.dataset_digest),
        "Expectation suite": ("", tags.get(TAG_SUITE_DIGEST)),
        "Image": ("", (tags.get(TAG_IMAGE_DIGEST) or "").rpartition("sha256:")[2]),
        "Model": ("", decision.model_digest),
        "Evidence": ("", decision.evidence_digest),
    }
    rows = [f"| {what} | {name or ''} `{digest[:_SHORT]}` |" for what, (name, digest) in facts.items() if digest]
    if decision.report_uri:
        rows.append(f"| Report | `{_cell(decision.report_uri)}` |")
    if code := tags.get(TAG_CODE_VERSION):
        rows.append(f"| Code | `{_cell(code)}` |")
    return "\n".join(["### Where it came from", "", "| | |", "|---|---|", *rows])


def _estimate(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "not computed"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.4f} [{estimate.low:{sign}.4f}, {estimate.high:{sign}.4f}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
