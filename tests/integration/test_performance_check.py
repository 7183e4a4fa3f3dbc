"""A window of answers against what was promised: with labels, with few, and without, on a real registry."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.operators.performance import BiasCheckOperator

from .test_promotion_operators import Loop
from .watched import Watched, scorer, sigmoid

pytestmark = pytest.mark.integration

ROWS = 4000
Column = Any


@pytest.fixture
def watched(
    mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Watched:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    name = f"watched-{zlib.crc32(request.node.name.encode()):08x}"
    return Watched(Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path))


def draw(spread: float = 2.0, *, seed: int = 1, rows: int = ROWS) -> dict[str, Column]:
    random = np.random.default_rng(seed)
    return {"x": random.normal(0, spread, rows), "y": random.normal(0, 1, rows)}


def outcome(x: Column, slope: float = 1.0, *, seed: int = 2) -> Column:
    return (np.random.default_rng(seed).uniform(size=len(x)) < sigmoid(slope * x)).astype(int)


def promoted(watched: Watched) -> None:
    holdout = draw(seed=3)
    watched.promote({**holdout, "label_of_holdout": outcome(holdout["x"], seed=4)}, scorer(holdout["x"]))


def test_model_that_is_as_good_as_promised_passes(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    ids = watched.serve("1", features, scorer(features["x"]))
    labels = watched.label(ids, outcome(features["x"]))
    check = watched.check(labels=labels)
    assert (check.kind, check.verdict) == (CheckKind.DECAY, CheckVerdict.PASSED)


def test_same_inputs_with_worse_errors_are_concept_drift(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    ids = watched.serve("1", features, scorer(features["x"]))
    check = watched.check(labels=watched.label(ids, outcome(features["x"], 0.4)))
    assert check.verdict is CheckVerdict.VIOLATED
    assert any(reason.startswith("Concept drift") for reason in check.reasons)


def test_harder_inputs_are_data_drift(watched: Watched) -> None:
    promoted(watched)
    features = draw(spread=0.8)
    ids = watched.serve("1", features, scorer(features["x"]))
    check = watched.check(labels=watched.label(ids, outcome(features["x"])))
    assert check.verdict is CheckVerdict.VIOLATED
    assert any(reason.startswith("Data drift") for reason in check.reasons)
    assert check.figures["roc_auc.estimated.low"] < check.figures["roc_auc"] < check.figures["roc_auc.estimated.high"]


def test_groups_are_judged_without_labels_where_that_can_be_done(watched: Watched) -> None:
    promoted(watched)
    features = draw() | {"sex": np.array(["f", "m"] * (ROWS // 2), dtype=object)}
    moved = np.where(features["sex"] == "f", features["x"] + 1.5, features["x"])
    ids = watched.serve("1", features, scorer(moved))
    bars = [
        {"column": "sex", "metric": "demographic_parity_difference", "at_most": 0.1},
        {"column": "sex", "metric": "equal_opportunity_difference", "at_most": 0.1},
    ]
    without = watched.check(BiasCheckOperator, spec={"bars": bars})
    assert (without.kind, without.verdict) == (CheckKind.BIAS, CheckVerdict.VIOLATED)
    assert without.figures["demographic_parity_difference.sex"] > 0.15
    assert "needs labels. None of 4,000 answers has a label yet." in without.reasons[1]

    labels = watched.label(ids, outcome(features["x"]))
    both = watched.check(BiasCheckOperator, spec={"bars": bars}, labels=labels)
    assert [bar["verdict"] for bar in watched.detail("bias")["bars"]] == ["violated", "violated"]
    assert set(both.figures) == {
        "labelled_share", "demographic_parity_difference.sex", "equal_opportunity_difference.sex",
    }  # fmt: skip
