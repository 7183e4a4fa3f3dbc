"""What the scoring program measures beside its predictions, as files of a real job: times, memory and importances."""

import math
import runpy
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scorer_losses import METRICS, loss_of
from sklearn import metrics
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, RidgeClassifier

from airflow_mlops.domain.explanation import EXPLAINED_BY, ExplanationSpec, ModelExplanation
from airflow_mlops.domain.job import EXPLANATION, SERVING
from airflow_mlops.domain.job_figures import read_figures
from airflow_mlops.domain.serving import ModelServing, ServingSpec
from airflow_mlops.operators.jobs import job_hyperparameters

from .conftest import PROGRAMS, Tree

# MLflow's own, when it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

FEATURES = ["strong", "weak", "noise"]


def rows_of(count: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(size=(count, 3)), columns=FEATURES)
    frame["amount"] = 3 * frame["strong"] + frame["weak"] + random.normal(size=count)
    return frame.assign(late=(frame["amount"] > 0).astype(int))


def give(tree: Tree, model: Any, rows: pd.DataFrame) -> None:
    mlflow.sklearn.save_model(model, tree.root / "model", serialization_format="cloudpickle", pip_requirements=[])
    tree.give("score", rows[: len(rows) // 2], "a.parquet")
    tree.give("score", rows[len(rows) // 2 :], "b.parquet")


def ask(tree: Tree, **asked: Any) -> None:
    """Run the program's own function, in this process: most of a job's time would go into imports."""
    tree.configure(job_hyperparameters(asked))
    runpy.run_path(str(PROGRAMS["score"]))["score"](tree.root)


def serving_of(tree: Tree) -> ModelServing:
    return ModelServing.read(read_figures(tree.root, SERVING), model_bytes=1, place="process")


def explanation_of(tree: Tree) -> ModelExplanation:
    return ModelExplanation.read(read_figures(tree.root, EXPLANATION))


def test_importances_agree_with_scikit_learn_within_the_sampling_error(tree: Tree) -> None:
    rows = rows_of(600)
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(rows[FEATURES], rows["late"])
    give(tree, model, rows)
    repeats = 20
    spec = ExplanationSpec(repeats=repeats, shap=False)
    ask(tree, target="late", task="binary", explanation=spec.to_dict())

    ours = explanation_of(tree)
    assert (ours.metric, ours.rows, ours.repeats, ours.notes) == ("roc_auc", 600, repeats, ())
    assert [item.feature for item in ours.importances] == FEATURES
    theirs = permutation_importance(
        model, rows[FEATURES], rows["late"], scoring="roc_auc", n_repeats=repeats, random_state=1
    )
    for place, item in enumerate(ours.importances):
        spread = math.hypot(item.standard_deviation, theirs.importances_std[place]) / math.sqrt(repeats - 1)
        assert item.mean == pytest.approx(theirs.importances_mean[place], abs=4 * spread)
        assert item.standard_deviation == pytest.approx(theirs.importances_std[place], rel=0.75)
    assert [item.feature for item in ours.ranked] == FEATURES


@pytest.mark.parametrize(
    ("task", "metric", "expected"),
    [
        ("binary", "roc_auc", lambda y, said: 1 - metrics.roc_auc_score(y, said["probability"])),
        ("binary", "log_loss", lambda y, said: metrics.log_loss(y, said["probability"])),
        ("binary", "brier_score", lambda y, said: metrics.brier_score_loss(y, said["probability"])),
        ("binary", "accuracy", lambda y, said: 1 - metrics.accuracy_score(y, said["prediction"])),
        ("multiclass", "accuracy", lambda y, said: 1 - metrics.accuracy_score(y, said["prediction"])),
        ("regression", "rmse", lambda y, said: metrics.root_mean_squared_error(y, said["prediction"])),
        ("regression", "mae", lambda y, said: metrics.mean_absolute_error(y, said["prediction"])),
    ],
)
def test_losses_are_those_of_scikit_learn(task: str, metric: str, expected: Any) -> None:
    random = np.random.default_rng(3)
    probability = random.integers(1, 9, 200) / 10  # with ties
    prediction = {"binary": probability > 0.5, "multiclass": random.integers(0, 3, 200), "regression": probability}[
        task
    ]
    truth = random.normal(size=200) if task == "regression" else random.integers(0, 2, 200)
    said = {"prediction": prediction} | ({"probability": probability} if task == "binary" else {})
    chosen, output, loss = loss_of(task, metric, pa.table(said), truth)
    assert chosen == metric
    assert loss(said[output]) == pytest.approx(expected(truth, said))


def test_a_model_without_probabilities_is_explained_by_accuracy(tree: Tree) -> None:
    rows = rows_of(400)
    model = RidgeClassifier().fit(rows[FEATURES], rows["late"])
    give(tree, model, rows)
    ask(tree, target="late", task="binary", explanation=ExplanationSpec().to_dict())
    found = explanation_of(tree)
    assert found.metric == "accuracy"
    assert [item.feature for item in found.ranked][:2] == FEATURES[:2]


def test_the_same_question_has_the_same_answer_and_another_seed_another(tree: Tree) -> None:
    rows = rows_of(500)
    give(tree, LinearRegression().fit(rows[FEATURES], rows["amount"]), rows)
    found = []
    for seed in (1, 1, 2):
        spec = ExplanationSpec(rows=100, repeats=2, seed=seed, shap=False)
        ask(tree, target="amount", task="regression", explanation=spec.to_dict())
        found.append(explanation_of(tree))
    assert found[0] == found[1]
    assert found[0].rows == 100
    assert found[0].importances != found[2].importances


def test_a_model_is_timed_at_its_first_row_by_single_rows_and_in_batches(tree: Tree) -> None:
    rows = rows_of(300)
    give(tree, LinearRegression().fit(rows[FEATURES], rows["amount"]), rows)
    tree.configure(job_hyperparameters({"serving": ServingSpec(calls=40, seconds=60.0).to_dict()}))
    assert tree.run("score") == 0
    found = serving_of(tree)
    assert (found.calls, found.rows, found.notes) == (40, 300, ())
    assert found.p50_ms is not None
    assert found.p95_ms is not None
    assert found.p99_ms is not None
    assert 0 < found.p50_ms <= found.p95_ms <= found.p99_ms
    assert found.cold_start_seconds is not None
    assert found.cold_start_seconds > found.p50_ms / 1000  # the imports alone
    assert found.rows_per_second is not None
    assert found.rows_per_second > 0
    assert found.peak_memory_bytes is not None
    assert 50e6 < found.peak_memory_bytes < 2e9
    assert not (tree.root / EXPLANATION).exists()


def test_nothing_is_measured_without_being_asked(tree: Tree) -> None:
    rows = rows_of(20)
    give(tree, LinearRegression().fit(rows[FEATURES], rows["amount"]), rows)
    ask(tree)
    assert [file.name for file in (tree.root / "output" / "data").iterdir()] == ["predictions.parquet"]


def save_rule(tree: Tree, body: str) -> None:
    import mlflow.pyfunc

    (tree.root / "rule.py").write_text(
        "import time, mlflow.pyfunc\n"
        "class Rule(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        f"        {body}\n"
        "mlflow.models.set_model(Rule())\n"
    )
    mlflow.pyfunc.save_model(tree.root / "model", python_model=str(tree.root / "rule.py"), pip_requirements=[])


def test_a_slow_model_is_measured_for_as_long_as_allowed_and_that_is_said(tree: Tree) -> None:
    save_rule(tree, "time.sleep(0.05); return model_input['strong']")
    tree.give("score", rows_of(10))
    ask(
        tree,
        target="amount",
        task="regression",
        serving=ServingSpec(calls=10_000, seconds=1.0).to_dict(),
        explanation=ExplanationSpec(seconds=0.01, shap=False).to_dict(),
    )
    timed = serving_of(tree)
    assert timed.calls < 20
    assert timed.notes == (f"In 1 s {timed.calls} rows could be timed one by one, not 10000",)
    assert explanation_of(tree).notes == ("In 0.01 s only 1 of 4 features could be shuffled once",)


def test_a_model_that_names_no_columns_does_not_see_the_target(tree: Tree) -> None:
    save_rule(tree, "return model_input.get('amount', 0 * model_input['strong'])")
    tree.give("score", rows_of(10))
    ask(tree, target="amount", task="regression", explanation=ExplanationSpec(shap=False).to_dict())
    assert tree.predictions["prediction"].tolist() == [0.0] * 10
    assert [item.feature for item in explanation_of(tree).importances] == [*FEATURES, "late"]


def test_a_model_that_cannot_take_one_row_or_a_shuffled_column_is_scored_all_the_same(tree: Tree) -> None:
    save_rule(
        tree,
        "assert model_input.index.size > 1 and model_input['weak'].is_monotonic_increasing; return model_input['weak']",
    )
    tree.give("score", rows_of(30).sort_values("weak"))
    ask(
        tree,
        target="amount",
        task="regression",
        serving=ServingSpec().to_dict(),
        explanation=ExplanationSpec().to_dict(),
    )
    assert len(tree.predictions) == 30
    assert serving_of(tree).p50_ms is None
    assert serving_of(tree).notes == ("A single row could not be scored: AssertionError: ",)
    assert explanation_of(tree).notes == ("The model could not be explained: AssertionError: ",)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (rows_of(30).assign(late=1), "roc_auc is not defined on the sample of 30 rows"),
        (rows_of(30).drop(columns="late"), "The rows have no column 'late' to compare the answers with"),
    ],
    ids=["one class", "no target"],
)
def test_rows_that_explain_nothing_say_why(tree: Tree, rows: pd.DataFrame, reason: str) -> None:
    known = rows_of(100)
    give(tree, HistGradientBoostingClassifier(max_iter=2).fit(known[FEATURES], known["late"]), rows)
    ask(tree, target="late", task="binary", explanation=ExplanationSpec().to_dict())
    found = explanation_of(tree)
    assert (found.importances, found.notes) == ((), (reason,))


def test_a_metric_that_the_task_does_not_have_is_named_with_those_it_has(tree: Tree) -> None:
    rows = rows_of(30)
    give(tree, LinearRegression().fit(rows[FEATURES], rows["amount"]), rows)
    ask(tree, target="amount", task="regression", explanation=ExplanationSpec(metric="roc_auc").to_dict())
    (note,) = explanation_of(tree).notes
    assert note.endswith("roc_auc of a regression model cannot be computed from its answer, but rmse, mae")


def test_an_image_without_shap_says_so(tree: Tree) -> None:
    rows = rows_of(30)
    give(tree, LinearRegression().fit(rows[FEATURES], rows["amount"]), rows)
    ask(tree, target="amount", task="regression", explanation=ExplanationSpec().to_dict())
    assert explanation_of(tree).notes == ("The image has no library shap, so there are no SHAP values",)


def test_a_question_that_is_no_json_fails_with_its_file(tree: Tree) -> None:
    rows = rows_of(10)
    give(tree, LinearRegression().fit(rows[FEATURES], rows["amount"]), rows)
    tree.configure({"serving": "soon"})
    assert tree.run("score") == 1
    assert tree.failure.startswith("hyperparameters.json does not say what to measure as the job contract wants it")


def test_the_specs_metrics_are_those_that_the_program_knows() -> None:
    assert {name for known in METRICS.values() for name in known} == set(EXPLAINED_BY)
