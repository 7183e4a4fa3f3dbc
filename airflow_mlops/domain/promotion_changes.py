"""What changed since the champion was trained: data, hyperparameters, code and image, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_mlops.domain.dataset import SnapshotManifest
from airflow_mlops.domain.registry import (
    TAG_CODE_VERSION,
    TAG_DATASET_DIGEST,
    TAG_DATASET_NAME,
    TAG_SUITE_DIGEST,
    ModelVersion,
)

_SHORT = 12
"""Characters of a digest that people compare."""
_LONGEST = 60
"""Characters of a value in the table; the report and MLflow have it all."""
_MOST_PARAMS = 10
_MIDNIGHT = "T00:00:00+00:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedVersion:
    """A version, what its run was told, and what it learned from; ``None`` where the snapshot is gone."""

    version: ModelVersion
    params: Mapping[str, str] = field(default_factory=dict)
    manifest: SnapshotManifest | None = None


def changes_since(candidate: TrainedVersion, champion: TrainedVersion | None) -> str:
    """Return a table of what differs, and a line of what does not. Empty when there is no champion."""
    if champion is None:
        return ""
    old, new = _facts(champion), _facts(candidate)
    names = list(dict.fromkeys([*new, *old]))
    differ = {name: (old.get(name, ""), new.get(name, "")) for name in names if old.get(name) != new.get(name)}
    told = {**champion.params, **candidate.params}
    params = {
        name: (champion.params.get(name, ""), candidate.params.get(name, ""))
        for name in sorted(told)
        if champion.params.get(name) != candidate.params.get(name)
    }
    shown = dict(list(params.items())[:_MOST_PARAMS])
    rows = [f"| {name} | {_cell(before)} | {_cell(after)} |" for name, (before, after) in (differ | shown).items()]
    same = [name.lower() for name in names if name not in differ] + ([] if params or not told else ["hyperparameters"])
    parts = [f"### What changed since version {champion.version.version}"]
    if rows:
        header = f"| | Version {champion.version.version} | Version {candidate.version.version} |"
        parts.append("\n".join([header, "|---|---|---|", *rows]))
    if len(params) > len(shown):
        parts.append(f"{len(params) - len(shown)} more hyperparameters differ; MLflow has them.")
    if same:
        parts.append(f"The same: {', '.join(same)}.")
    return "\n\n".join(parts)


def _facts(trained: TrainedVersion) -> dict[str, str]:
    tags, manifest = trained.version.tags, trained.manifest
    facts = {
        "Training data": f"{tags.get(TAG_DATASET_NAME, '')} {tags.get(TAG_DATASET_DIGEST, '')[:_SHORT]}",
        "Window": str(manifest.window).replace(_MIDNIGHT, "") if manifest and manifest.window else "",
        "Rows": f"{manifest.rows:,}" if manifest else "",
        "Expectation suite": (tags.get(TAG_SUITE_DIGEST) or "")[:_SHORT],
        "Image": (trained.version.image_digest or "").rpartition("sha256:")[2][:_SHORT],
        "Code": tags.get(TAG_CODE_VERSION) or "",
    }
    return {name: text.strip() for name, text in facts.items() if text.strip()}


def _cell(text: str) -> str:
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return short.replace("|", "\\|").replace("\n", " ") or "none"
