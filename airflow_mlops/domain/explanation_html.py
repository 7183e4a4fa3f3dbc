"""The part of an evaluation's report that says what the models depend on."""

from collections.abc import Mapping
from html import escape

from airflow_mlops.domain.explanation import Explanation, FeatureImportance, ImportanceDrift, ModelExplanation
from airflow_mlops.domain.html import html_table
from airflow_mlops.domain.svg_bars import bar_chart

_MOST_BARS = 20


def explanation_section(explanation: Explanation | None) -> str:
    """Return bars, a table and the drift, or "" when nothing was to be explained."""
    if explanation is None:
        return ""
    models = {"candidate": explanation.candidate} | ({"champion": explanation.champion} if explanation.champion else {})
    notes = [f"{role.capitalize()}: {note}" for role, model in models.items() for note in model.notes]
    parts = [
        "<h2>What the answers depend on</h2>",
        _drift(explanation.drift),
        "".join(f'<p class="empty">{escape(note)}</p>' for note in (*explanation.notes, *notes)),
    ]
    explained = {role: model for role, model in models.items() if model.importances}
    if explained:
        parts += [_bars(explained), _table(explained)]
    return "\n".join(part for part in parts if part)


def _drift(drift: ImportanceDrift | None) -> str:
    if drift is None:
        return ""
    ranks = (
        ""
        if drift.rank_correlation is None
        else f" The order of the features correlates by {drift.rank_correlation:.2f}."
    )
    largest = [change for change in drift.changes[:3] if change.size > 0]
    changes = "; ".join(
        f"{escape(change.feature)} {_share(change.champion)} → {_share(change.candidate)}" for change in largest
    )
    listed = f" The largest changes: {changes}." if changes else ""
    return f"<p><b>{drift.moved:.0%}</b> of the importance is on other features than the champion's.{ranks}{listed}</p>"


def _bars(explained: Mapping[str, ModelExplanation]) -> str:
    lead = next(iter(explained.values()))
    found = {role: _by_feature(model) for role, model in explained.items()}
    names = [item.feature for item in lead.ranked]
    names += [name for model in explained.values() for name in _by_feature(model) if name not in names]
    rows = [
        (name, {role: features[name].mean for role, features in found.items() if name in features})
        for name in names[:_MOST_BARS]
    ]
    metric = " and ".join(dict.fromkeys(str(model.metric) for model in explained.values()))
    label = f"Loss of {metric} when the feature is shuffled"
    reading = (
        f"How much worse the answers get on {lead.rows:,} rows, drawn by chance, when one feature's values are "
        f"shuffled {lead.repeats} times: the candidate, and below it the champion. Features that say the same hide "
        f"each other: each can be shuffled alone without harm."
    )
    rest = f" The first {_MOST_BARS} of {len(names)} features." if len(names) > _MOST_BARS else ""
    chart = bar_chart("Importance of the features", label, rows)
    return f"<figure>{chart}<figcaption>{escape(reading + rest)}</figcaption></figure>"


def _table(explained: Mapping[str, ModelExplanation]) -> str:
    header, columns = ["Feature"], []
    for role, model in explained.items():
        features = _by_feature(model)
        header.append(role.capitalize())
        columns.append({name: f"{item.mean:+.4g} ± {item.standard_deviation:.2g}" for name, item in features.items()})
        if model.shap_rows:
            header.append(f"SHAP of {model.shap_rows} rows")
            columns.append({name: f"{item.shap:.4g}" for name, item in features.items() if item.shap is not None})
    names = dict.fromkeys(item.feature for model in explained.values() for item in model.ranked)
    rows = [[name, *(column.get(name, "") for column in columns)] for name in names]
    return f"<details><summary>Importance of the features in numbers</summary>{html_table(header, rows)}</details>"


def _by_feature(model: ModelExplanation) -> dict[str, FeatureImportance]:
    return {item.feature: item for item in model.ranked}


def _share(share: float | None) -> str:
    return "not a feature" if share is None else f"{share:.0%}"
