"""What a reviewer reads before approving: Markdown for Airflow's Required Actions page."""

from collections.abc import Mapping, Sequence

from airflow_mlops.domain.evaluation import Estimate, Evaluation
from airflow_mlops.domain.facts import TrainingFacts
from airflow_mlops.domain.fairness import Disparity, Fairness
from airflow_mlops.domain.promotion import GateMode, GateVerdict, PromotionDecision
from airflow_mlops.domain.registry import (
    TAG_CODE_VERSION,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_IMAGE_DIGEST,
    TAG_SUITE_DIGEST,
    ModelVersion,
)
from airflow_mlops.domain.slices import Against, Slices

_SHORT = 12
"""Characters of a digest that people compare."""
_SLICES = 3
"""How many of the worst slices a reviewer sees here; the report has more."""
_FAIRNESS = ("demographic_parity_difference", "equalized_odds_difference", "mae_difference", "accuracy_difference")
"""Which of the measures a reviewer sees here, where the task has them."""
_FEATURES = 3


def approval_summary(
    decision: PromotionDecision,
    evaluation: Evaluation,
    candidate: ModelVersion,
    links: Mapping[str, str],
    changes: str = "",
) -> str:
    """Return the candidate against the champion, the verdicts, where it came from, and where to read on.

    :param changes: Markdown of what changed since the champion.
    """
    champion = f"version {decision.champion_version}" if decision.champion_version else "none yet: this is the first"
    parts = [
        (
            f"**Candidate** version {decision.version} of `{decision.model_name}` · **Champion** {champion} · "
            f"judged on {evaluation.rows:,} rows of `{evaluation.dataset_name}`."
        ),
        " · ".join(f"[{name}]({url})" for name, url in links.items() if url),
        _reasons(candidate.trained_because),
        _gates(decision),
        _metrics(evaluation),
        _slices(evaluation.slices),
        _fairness(evaluation.fairness),
        _beside(evaluation),
        changes,
        _provenance(decision, evaluation, candidate),
    ]
    return "\n\n".join(part for part in parts if part)


def _reasons(reasons: Sequence[str]) -> str:
    """Return why monitoring asked for the candidate; of others the Dag run says who started it."""
    return "\n".join(["### Why it was trained", "", *(f"- {_plain(reason)}" for reason in reasons)]) if reasons else ""


def _gates(decision: PromotionDecision) -> str:
    """Return the verdicts that decide, then those that do not: what is tried, and what is switched off."""
    decide = [verdict for verdict in decision.verdicts if verdict.mode is GateMode.ENFORCE]
    tried = [verdict for verdict in decision.verdicts if verdict.mode is GateMode.DRY_RUN]
    off = [verdict for verdict in decision.verdicts if verdict.mode is GateMode.OFF]
    parts = [f"### Gates: {sum(verdict.passed for verdict in decide)} of {len(decide)} passed", _verdicts(decide)]
    if tried or off:
        would = sum(not verdict.passed for verdict in tried)
        counts = [f"{len(tried)} on trial, {would} of which would refuse"] if tried else []
        counts += [f"{len(off)} off"] if off else []
        parts += [f"**These decide nothing**: {'; '.join(counts)}.", _verdicts([*tried, *off])]
    return "\n\n".join(part for part in parts if part)


def _verdicts(verdicts: Sequence[GateVerdict]) -> str:
    rows = [f"| {_mark(verdict)} | {_cell(verdict.gate)} | {_cell(verdict.reason)} |" for verdict in verdicts]
    return "\n".join(["| | Gate | Verdict |", "|---|---|---|", *rows]) if rows else ""


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


def _slices(slices: Slices | None) -> str:
    """Return the slices that are surely worse, a few of them."""
    if slices is None or not slices.judged:
        return ""
    than = "the champion" if slices.against is Against.CHAMPION else "all other rows"
    found = [item for item in slices.worst if item.is_worse(slices.significance)][:_SLICES]
    title = f"### Slices, {slices.judged:,} searched"
    if not found:
        return f"{title}\n\nNone is significantly worse than {than} ({slices.test}, corrected for all)."
    rows = [
        f"| {_cell(item.name)} | {item.rows:,} | {item.loss:.4f} | {item.baseline or 0:.4f} "
        f"| {item.difference or 0:+.4f} | {item.adjusted_p or 0:.2g} |"
        for item in found
    ]
    header = f"| Slice | Rows | {slices.loss.value} ↓ | Of {than} | Difference | p |"
    more = f"\n{slices.worse:,} are significantly worse ({slices.test}, corrected for all)."
    return "\n".join([title, "", header, "|---|---|---|---|---|---|", *rows, more])


def _fairness(fairness: Fairness | None) -> str:
    """Return the two measures that reviewers ask for first, of each sensitive column."""
    rows = [
        f"| {_cell(column.column)} | {item.metric} | {_distance(item.candidate)} | {_distance(item.champion)} |"
        for column in (fairness.columns if fairness else ())
        for item in [item for item in column.disparities if item.metric in _FAIRNESS][:2]
    ]
    if not rows:
        return ""
    return "\n".join(["### Fairness", "", "| By | Measure | Candidate | Champion |", "|---|---|---|---|", *rows])


def _distance(disparity: Disparity | None) -> str:
    return f"{disparity.value:.4f}" if disparity else "not judged"


def _beside(evaluation: Evaluation) -> str:
    """Say in a line each what the models cost to serve, and what the candidate depends on."""
    lines = []
    if evaluation.serving:
        candidate, champion = evaluation.serving.candidate, evaluation.serving.champion
        times = [model.p95_ms for model in (candidate, champion) if model and model.p95_ms is not None]
        sizes = [model.model_bytes / 2**20 for model in (candidate, champion) if model]
        spoken = " against the champion's ".join(f"{value:,.3g} ms" for value in times)
        latency = f"p95 {spoken} a row · " if candidate.p95_ms is not None else ""
        lines.append(f"**Serving** {latency}model {' against '.join(f'{size:,.2f} MiB' for size in sizes)}")
    if evaluation.explanation:
        explained = evaluation.explanation.candidate
        features = ", ".join(f"`{_cell(item.feature).replace('`', '')}`" for item in explained.ranked[:_FEATURES])
        drift = evaluation.explanation.drift
        moved = f" · {drift.moved:.0%} of the importance is on other features than the champion's" if drift else ""
        lines.append(f"**Depends most on** {features}{moved}" if features else " ".join(explained.notes))
    return "\n\n".join(line for line in lines if line)


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
    if evaluation.facts:
        rows += _ages(evaluation.facts.training)
    if decision.report_uri and not decision.report_url:  # A path of this length makes the page wide.
        rows.append(f"| Report | `{_cell(decision.report_uri)}` |")
    if code := tags.get(TAG_CODE_VERSION):
        rows.append(f"| Code | `{_cell(code)}` |")
    return "\n".join(["### Where it came from", "", "| | |", "|---|---|", *rows])


def _ages(training: TrainingFacts) -> list[str]:
    times = {"Training data until": training.data_until, "Trained": training.trained_at}
    return [f"| {what} | {time:%Y-%m-%d %H:%M} UTC |" for what, time in times.items() if time]


def _estimate(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return "not computed"
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.4f} [{estimate.low:{sign}.4f}, {estimate.high:{sign}.4f}]"


def _plain(text: str) -> str:
    """Return a sentence that somebody else wrote, such as in an asset event: no links, no pictures, no HTML."""
    return _line(text).replace("[", "\\[").replace("<", "&lt;")


def _line(text: str) -> str:
    return text.replace("\n", " ")


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
