"""A window of answers against what was promised: with labels, with few, and without, on a real registry."""

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from airflow_mlops.domain.evaluation import LearningTask
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, WindowCheck
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.engines.numpy import Predictions
from airflow_mlops.exceptions import EvaluationError
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.performance import BiasCheckOperator

from .test_promotion_operators import Loop
from .watched import Watched, scorer, sigmoid

pytestmark = pytest.mark.integration

ROWS = 2000
PARITY = {"column": "sex", "metric": "demographic_parity_difference", "at_most": 0.1}
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
        PARITY,
        {"column": "sex", "metric": "equal_opportunity_difference", "at_most": 0.1},
    ]
    without = watched.check(BiasCheckOperator, spec={"bars": bars})
    assert (without.kind, without.verdict) == (CheckKind.BIAS, CheckVerdict.VIOLATED)
    assert without.figures["demographic_parity_difference.sex"] > 0.15
    assert "needs labels. None of 2,000 answers has a label yet." in without.reasons[1]

    labels = watched.label(ids, outcome(features["x"]))
    both = watched.check(BiasCheckOperator, spec={"bars": bars}, labels=labels)
    assert [bar["verdict"] for bar in watched.detail("bias")["bars"]] == ["violated", "violated"]
    assert set(both.figures) == {
        "labelled_share", "demographic_parity_difference.sex", "equal_opportunity_difference.sex",
    }  # fmt: skip


def test_nothing_is_decided_without_labels_and_the_estimate_says_what_it_is(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    watched.serve("1", features, scorer(features["x"]))
    check = watched.check()
    assert check.verdict is CheckVerdict.UNDECIDED
    assert check.reasons[0] == "None of 2,000 answers has a label yet."
    assert check.reasons[1].startswith("Estimated without labels, not measured: roc_auc 0.8")
    assert "roc_auc" not in check.figures
    assert check.figures["roc_auc.estimated"] == pytest.approx(check.figures["roc_auc.promised"], abs=0.02)


def test_estimate_can_alert_when_the_author_says_so(watched: Watched) -> None:
    promoted(watched)
    features = draw(0.5)
    watched.serve("1", features, scorer(features["x"]))
    check = watched.check(spec={"estimate_decides": True})
    assert check.verdict is CheckVerdict.VIOLATED
    assert check.reasons[0].startswith("Estimated without labels, not measured")


def test_labels_that_come_later_replace_the_record_of_the_window(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    came = outcome(features["x"], 0.3)
    ids = watched.serve("1", features, scorer(features["x"]))

    def recorded() -> WindowCheck:
        (file,) = Path(artifact_store().path).glob("monitoring/*/windows/*/decay.json")
        return WindowCheck.from_dict(json.loads(file.read_text()))

    nobody = watched.folder / "labels"
    assert watched.check(labels=str(nobody)).reasons[2].startswith("There are no labels: Nothing is at")
    labels = watched.label(ids[:300], came[:300], name="first")
    few = watched.check(labels=labels)
    assert few.reasons[0] == "300 of 2,000 answers have a label (15.0%), less than the 50% that a verdict takes."
    assert recorded() == few
    watched.label(ids[300:], came[300:], name="later")
    all_of_them = watched.check(labels=labels)
    assert all_of_them.verdict is CheckVerdict.VIOLATED
    assert recorded() == all_of_them
    assert watched.check(labels=labels) == all_of_them


def test_early_labels_of_another_kind_of_answers_are_told(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    ids = np.array(watched.serve("1", features, scorer(features["x"])))
    early = features["x"] > -0.5
    labels = watched.label(ids[early].tolist(), outcome(features["x"])[early])
    check = watched.check(labels=labels)
    assert any("The answers that have a label are unlike those that have none" in reason for reason in check.reasons)


def test_each_version_answers_for_itself(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    ids = watched.serve("1", features, scorer(features["x"]))
    others = watched.serve("2", features, scorer(-features["x"]))
    labels = watched.label(ids + others, np.tile(outcome(features["x"]), 2))
    check = watched.check(labels=labels)
    assert (check.verdict, check.model_version, check.rows) == (CheckVerdict.PASSED, "1", 2000)
    assert "2,000 answers are of version 2 (2,000), and are not judged here." in check.reasons


def test_version_that_was_not_promoted_is_judged_by_what_its_author_promises(watched: Watched) -> None:
    promoted(watched)
    second = watched.loop.register(watched.loop.train(b"two"))
    features = draw()
    labels = watched.label(watched.serve("2", features, scorer(-features["x"])), outcome(features["x"]))
    with pytest.raises(EvaluationError, match=r"Nothing says what .* version 2 predicts"):
        watched.check(labels=labels, model_version=second.version)
    unsaid = watched.check(labels=labels, model_version="2", spec={"task": "binary"})
    assert (unsaid.verdict, unsaid.model_version) == (CheckVerdict.UNDECIDED, "2")
    assert "nothing was promised" in unsaid.reasons[0]
    said = watched.check(labels=labels, model_version="2", spec={"task": "binary", "promised": 0.8})
    assert said.verdict is CheckVerdict.VIOLATED


def test_one_class_only_shows_nothing(watched: Watched) -> None:
    promoted(watched)
    features = draw()
    ids = watched.serve("1", features, scorer(features["x"]))
    check = watched.check(labels=watched.label(ids, [0] * ROWS))
    assert check.verdict is CheckVerdict.UNDECIDED
    assert (
        "Every one of the 2,000 labels is 0, which does not show how the model tells it from another." in check.reasons
    )


def test_labels_of_other_ids_and_of_other_types(watched: Watched) -> None:
    promoted(watched)
    features = draw(rows=300)
    ids = watched.serve("1", features, scorer(features["x"]))
    check = watched.check(labels=watched.label([f"z{name}" for name in ids], outcome(features["x"])))
    assert check.reasons[0].endswith("300 labels are of ids that the window does not have.")
    for strange, why in ((["late"] * 300, "cannot be compared"), ([0, 1, 2] * 100, "has two labels, but there are 3")):
        with pytest.raises(EvaluationError, match=why):
            watched.check(labels=watched.label(ids, strange))
    with pytest.raises(EvaluationError, match="they are of another kind"):
        watched.check(labels=watched.label(ids, [5, 6] * 150))


@pytest.mark.parametrize("given", [None, "", "None"])
def test_window_without_predictions_is_undecided(watched: Watched, given: str | None) -> None:
    promoted(watched)
    check = watched.check(predictions=given)
    assert (check.verdict, check.rows) == (CheckVerdict.UNDECIDED, 0)
    assert check.reasons == ("Version 1 has no answer in the window.", "No predictions of the window were given.")
    bias = watched.check(BiasCheckOperator, predictions=given, spec={"bars": [PARITY]})
    assert bias.verdict is CheckVerdict.UNDECIDED


def test_window_that_other_versions_answered_is_undecided(watched: Watched) -> None:
    promoted(watched)
    features = draw(rows=300)
    watched.serve("6", features, scorer(features["x"]))
    check = watched.check()
    assert check.verdict is CheckVerdict.UNDECIDED
    assert check.reasons[-1] == "300 answers are of version 6 (300), and are not judged here."


def test_model_without_champion_is_not_judged(watched: Watched) -> None:
    watched.loop.register(watched.loop.train(b"one"))
    check = watched.check(predictions=None)
    assert (check.verdict, check.model_version) == (CheckVerdict.UNDECIDED, "")
    assert "has the alias 'champion'" in check.reasons[0]


def test_evidence_that_was_changed_is_refused(watched: Watched) -> None:
    promoted(watched)
    (file,) = Path(artifact_store().path).glob("evidence/*/*.json")
    file.write_text(file.read_text().replace('"rows": 2000', '"rows": 2001'))
    with pytest.raises(EvaluationError, match="It was changed"):
        watched.check(predictions=None)


def test_holdout_that_is_gone_leaves_the_verdict_without_its_cause(watched: Watched) -> None:
    promoted(watched)
    shutil.rmtree(Path(artifact_store().path) / "datasets/holdout")
    (file,) = Path(artifact_store().path).glob("evidence/*/predictions-*.parquet")
    file.unlink()
    features = draw()
    labels = watched.label(watched.serve("1", features, scorer(features["x"])), outcome(features["x"], 0.3))
    check = watched.check(labels=labels)
    assert check.verdict is CheckVerdict.VIOLATED
    assert "concept_effect" not in check.figures
    assert any("predictions of the holdout cannot be read" in reason for reason in check.reasons)


def test_regression_is_judged_by_its_errors_and_never_estimated(watched: Watched) -> None:
    watched.task = LearningTask.REGRESSION
    holdout, noise = draw(seed=3), np.random.default_rng(5).normal(size=ROWS)
    said = Predictions(prediction=2 * holdout["x"])
    watched.promote({**holdout, "label_of_holdout": 2 * holdout["x"] + noise}, said)
    features = draw()
    ids = watched.serve("1", features, Predictions(prediction=2 * features["x"]))
    without = watched.check()
    assert "Without labels there is no estimate for a regression task, only for a binary one." in without.reasons
    check = watched.check(labels=watched.label(ids, 3 * features["x"] + noise))
    assert check.verdict is CheckVerdict.VIOLATED
    assert check.reasons[1].startswith("Concept drift")
    assert check.figures["rmse"] > 2 > check.figures["rmse.promised"]
    assert watched.check(labels=watched.label(ids, 2 * features["x"] + noise)).verdict is CheckVerdict.PASSED


def test_many_classes_are_judged_by_their_labels(watched: Watched) -> None:
    watched.task = LearningTask.MULTICLASS
    names = np.array(["a", "b", "c"], dtype=object)

    def classes(x: Column) -> Column:
        return names[np.digitize(x, [-1.0, 1.0])]

    def true_classes(features: dict[str, Column], noise: float) -> Column:
        return classes(features["x"] + noise * features["y"])

    holdout, features = draw(seed=3), draw()
    watched.promote(
        {**holdout, "label_of_holdout": true_classes(holdout, 0.3)}, Predictions(prediction=classes(holdout["x"]))
    )
    ids = watched.serve("1", features, Predictions(prediction=classes(features["x"])))
    assert watched.check(labels=watched.label(ids, true_classes(features, 0.3))).verdict is CheckVerdict.PASSED
    check = watched.check(labels=watched.label(ids, true_classes(features, 1.5)))
    assert (check.verdict, check.reasons[1][:13]) == (CheckVerdict.VIOLATED, "Concept drift")


def test_report_opens_in_a_browser_from_the_task(watched: Watched) -> None:
    promoted(watched)
    features = draw(rows=400)
    ids = watched.serve("1", features, scorer(features["x"]))
    check = watched.check(labels=watched.label(ids, outcome(features["x"])))
    url = watched.loop.xcoms["check", "mlops_report_url"]
    assert url.endswith(f"/artifacts/performance/{check.window.key}/performance.html")
    run_id = watched.loop.mlflow.version(watched.loop.model_name, "1").run_id
    kept = {"run_uuid": run_id, "path": f"performance/{check.window.key}/performance.html"}
    page = httpx.get(f"{watched.loop.mlflow.tracking_uri}/get-artifact", params=kept).text
    assert check.report_uri is not None
    assert page == Path(check.report_uri.removeprefix("file://")).read_text()
    assert "What the change is due to" in page


def test_column_that_the_log_lacks_cannot_be_sensitive(watched: Watched) -> None:
    promoted(watched)
    features = draw(rows=300)
    watched.serve("1", features, scorer(features["x"]))
    with pytest.raises(EvaluationError, match="Bias is to be by 'sex'"):
        watched.check(BiasCheckOperator, spec={"bars": [PARITY]})
