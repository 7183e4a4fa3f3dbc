"""What the scoring jobs of an evaluation left beside their predictions: how fast the models answered, and why so."""

from __future__ import annotations

from pathlib import Path

from airflow_mlops.domain.explanation import Explanation, ModelExplanation
from airflow_mlops.domain.job import EXPLANATION, SERVING, JobLimits
from airflow_mlops.domain.job_figures import read_figures
from airflow_mlops.domain.serving import ModelServing, ServingFigures
from airflow_mlops.operators.scoring import ScoredHoldout, ScoredModel


def serving_figures(scored: ScoredHoldout, limits: JobLimits) -> ServingFigures:
    """Return the figures of both models, and the sizes of their directories.

    :raises JobOutputError: when a job left figures that cannot be read.
    """
    return ServingFigures(
        candidate=_serving(scored.candidate),
        champion=_serving(scored.champion) if scored.champion else None,
        cpus=limits.cpus,
        memory_mb=limits.memory_mb,
    )


def explanation(scored: ScoredHoldout) -> Explanation:
    """Return what both models depend on.

    :raises JobOutputError: when a job left an explanation that cannot be read.
    """
    champion = scored.champion
    return Explanation.compare(_explanation(scored.candidate), _explanation(champion) if champion else None)


def _serving(model: ScoredModel) -> ModelServing:
    return ModelServing.read(
        read_figures(model.output, SERVING), model_bytes=_size(model.model), place=model.version.backend.value
    )


def _explanation(model: ScoredModel) -> ModelExplanation:
    return ModelExplanation.read(read_figures(model.output, EXPLANATION))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
