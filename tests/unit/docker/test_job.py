"""The trainer's job from outside: files in, a child process, files out. Each start imports scikit-learn and MLflow."""

import math
import shutil
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.sklearn
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from .conftest import FEATURES, HYPERPARAMETERS, Tree

# MLflow's own type hints, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, flights: pd.DataFrame) -> Tree:
    """A tree in which `train` has succeeded. Tests copy what they change."""
    tree = Tree(root=tmp_path_factory.mktemp("trained"))
    # Names decide the order, not the order of writing.
    tree.give("train", flights[1000:2000], "b.parquet")
    tree.give("train", flights[:1000], "a.parquet")
    tree.configure(HYPERPARAMETERS)
    assert tree.run("train") == 0
    return tree


@pytest.fixture
def scoring(tree: Tree, trained: Tree) -> Tree:
    """A tree that holds nothing but the trained model."""
    shutil.copytree(trained.root / "model", tree.root / "model")
    return tree


def test_training_leaves_finite_flat_metrics(trained: Tree) -> None:
    assert trained.metrics.keys() == {
        "train_log_loss",
        "train_auc",
        "validation_log_loss",
        "validation_auc",
        "n_iterations",
        "train_rows",
        "validation_rows",
    }
    assert all(math.isfinite(value) for value in trained.metrics.values())
    assert (trained.metrics["train_rows"], trained.metrics["validation_rows"]) == (1800, 200)


def test_training_leaves_one_line_a_step(trained: Tree) -> None:
    steps = trained.steps
    assert [line["step"] for line in steps] == list(range(int(trained.metrics["n_iterations"]) + 1))
    assert steps[-1]["train_loss"] < steps[0]["train_loss"]
    assert steps[-1]["validation_loss"] == pytest.approx(trained.metrics["validation_log_loss"])


def test_model_is_an_mlflow_model_with_signature_and_example(trained: Tree) -> None:

    described = mlflow.models.Model.load(str(trained.root / "model"))
    assert described.signature is not None
    assert described.signature.inputs.input_names() == FEATURES.split(",")
    assert all(column.required for column in described.signature.inputs.inputs)
    assert described.saved_input_example_info is not None
    assert (trained.root / "model" / "model.skops").is_file()


def test_job_leaves_nothing_outside_of_its_contract(trained: Tree) -> None:
    assert {path.name for path in trained.root.iterdir()} == {"input", "model", "output"}
    assert not (trained.root / "output" / "failure").exists()


def test_same_data_and_seed_give_the_same_model_on_any_number_of_threads(
    tree: Tree, trained: Tree, flights: pd.DataFrame
) -> None:
    tree.give("train", flights[:2000])
    tree.configure(HYPERPARAMETERS)
    assert tree.run("train", OMP_NUM_THREADS="1") == 0
    assert tree.metrics == trained.metrics
    assert tree.steps == trained.steps


def test_scoring_gives_one_row_for_each_row_in_the_order_of_file_names(scoring: Tree, flights: pd.DataFrame) -> None:
    rows = flights[2000:2500]
    scoring.give("score", rows[300:], "c.parquet")
    scoring.give("score", rows[:100], "a.parquet")
    scoring.give("score", rows[:0], "b.parquet")
    scoring.give("score", rows[100:300], "b2.parquet")
    assert scoring.run("score") == 0

    estimator: Any = mlflow.sklearn.load_model(str(scoring.root / "model"))
    expected = estimator.predict_proba(rows.astype({"hour": float, "weekday": float}))[:, 1]
    assert list(scoring.predictions.columns) == ["prediction", "probability"]
    assert scoring.predictions["probability"].tolist() == pytest.approx(expected.tolist())
    assert (scoring.predictions["prediction"] == (scoring.predictions["probability"] > 0.5)).all()


def test_unknown_categories_nulls_and_other_number_types_are_scored(scoring: Tree, flights: pd.DataFrame) -> None:
    rows = flights[2000:2004].drop(columns=["late", "arrival_delay"])  # Outcomes are not known yet.
    rows["carrier"] = ["ZZ", None, "UA", "AA"]
    rows["pressure"] = None
    rows["temp"] = [30, 31, 32, 33]
    scoring.give("score", rows)
    assert scoring.run("score") == 0
    assert scoring.predictions["probability"].between(0, 1).all()


def test_scoring_needs_the_columns_of_the_model_in_their_types(scoring: Tree, flights: pd.DataFrame) -> None:
    scoring.give("score", flights[:10].drop(columns="pressure"))
    assert scoring.run("score") == 1
    assert "Column 'pressure' is not in part-0.parquet of channel 'score'" in scoring.failure

    scoring.give("score", flights[:10].assign(temp="mild"))
    assert scoring.run("score") == 1
    assert "Column 'temp' of channel 'score' is string, where the model expects double" in scoring.failure
    assert not list((scoring.root / "output" / "data").iterdir())


def test_scoring_takes_any_model_of_scikit_learn(tree: Tree) -> None:

    rows = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 0.0, 1.0]})
    model = LinearRegression().fit(rows, [2.0, 3.0, 4.0])
    mlflow.sklearn.save_model(model, tree.root / "model", serialization_format="cloudpickle", pip_requirements=[])
    tree.give("score", rows.assign(other="ignored"))
    assert tree.run("score") == 0
    assert list(tree.predictions.columns) == ["prediction"]
    assert tree.predictions["prediction"].tolist() == pytest.approx([2.0, 3.0, 4.0])


def save_function(tree: Tree, body: str) -> None:
    """Save a model of the flavour python_function alone."""
    import mlflow.pyfunc

    (tree.root / "rule.py").write_text(
        "import mlflow.pyfunc, pandas as pd\n"
        "class Rule(mlflow.pyfunc.PythonModel):\n"
        f"    def predict(self, context, model_input, params=None): return {body}\n"
        "mlflow.models.set_model(Rule())\n"
    )
    mlflow.pyfunc.save_model(tree.root / "model", python_model=str(tree.root / "rule.py"), pip_requirements=[])


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        ("model_input['a'] * 2", {"prediction": [2, 4, 6]}),
        ("model_input[['a']]", {"prediction": [1, 2, 3]}),
        (
            "pd.DataFrame({'probability': model_input['a'] / 4, 'prediction': model_input['a'] > 2, 'x': 0})",
            {"prediction": [False, False, True], "probability": [0.25, 0.5, 0.75]},
        ),
    ],
    ids=["one value a row", "one column", "named columns"],
)
def test_scoring_takes_any_model_that_is_a_python_function(
    tree: Tree, body: str, columns: dict[str, list[object]]
) -> None:
    save_function(tree, body)
    tree.give("score", pd.DataFrame({"a": [1, 2, 3]}))
    assert tree.run("score") == 0
    assert tree.predictions.to_dict(orient="list") == columns


def test_an_answer_that_is_not_one_value_a_row_is_refused(tree: Tree) -> None:
    save_function(tree, "model_input[['a', 'b']]")
    tree.give("score", pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 3]}))
    assert tree.run("score") == 1
    assert "answers 3 rows with an array of shape (3, 2)" in tree.failure
    assert "'prediction' and, if you like, 'probability'" in tree.failure


def test_a_model_that_python_cannot_score_is_told_by_its_flavours(tree: Tree) -> None:
    tree.give("score", pd.DataFrame({"a": [1]}))
    (tree.root / "model").mkdir()
    (tree.root / "model" / "MLmodel").write_text("flavors: {crate: {}}\n")
    assert tree.run("score") == 1
    assert "no flavour python_function, by which Python scores any model, it has: crate" in tree.failure


def test_scoring_without_a_model_says_so(tree: Tree, flights: pd.DataFrame) -> None:
    tree.give("score", flights[:10])
    assert tree.run("score") == 1
    assert "the file MLmodel is missing" in tree.failure


def test_amounts_are_learned_with_task_regression(tree: Tree, flights: pd.DataFrame) -> None:
    tree.give("train", flights[:500])
    tree.configure({"target": "arrival_delay", "features": "carrier,hour,temp", "task": "regression"})
    assert tree.run("train") == 0
    assert tree.metrics.keys() >= {"train_rmse", "validation_rmse", "validation_mae", "n_iterations"}


def test_string_classes_keep_their_names(tree: Tree, flights: pd.DataFrame) -> None:
    # Without a time column a random share validates, and there is no category here.
    rows = flights[:500].assign(outcome=flights["late"].map({0: "on time", 1: "late"}))
    tree.give("train", rows)
    tree.give("score", rows[:20])
    tree.configure({"target": "outcome", "features": "hour,temp", "max_iterations": "5"})
    assert tree.run("train") == 0
    assert tree.run("score") == 0
    assert set(tree.predictions["prediction"]) <= {"on time", "late"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"learning_rate": "fast"}, "'learning_rate': expected a number, found 'fast'", id="no number"),
        pytest.param({"learning_rate": "2"}, "'learning_rate': expected more than 0, at most 1", id="out of range"),
        pytest.param({"learnin_rate": "0.1"}, "'learnin_rate': unknown, expected one of target,", id="unknown name"),
        pytest.param({"target": ""}, "'target': required, but not given", id="required"),
        pytest.param({"features": "hour,late"}, "'features': expected columns without the target", id="leak"),
        pytest.param({"seed": 7}, "'seed': expected a string", id="no string"),
        pytest.param({"target": "delayed"}, "Column 'delayed' is not in part-0.parquet", id="missing target"),
        pytest.param({"features": "scheduled_departure"}, "'scheduled_departure' (of features) is", id="no feature"),
        pytest.param({"time_column": "gap"}, "Column 'gap' is not in part-0.parquet", id="missing time"),
        pytest.param({"target": "arrival_delay"}, "different values; for an amount, set task=regression", id="amount"),
    ],
)
def test_bad_hyperparameter_fails_with_its_name(
    tree: Tree, flights: pd.DataFrame, change: dict[str, object], reason: str
) -> None:
    tree.give("train", flights[:300])
    tree.configure(HYPERPARAMETERS | change)
    assert tree.run("train") == 1
    assert reason in tree.failure


def test_bad_data_fails_with_the_column_and_the_file(tree: Tree, flights: pd.DataFrame) -> None:
    tree.configure(HYPERPARAMETERS)
    assert tree.run("train") == 1
    assert "Channel 'train' has no Parquet file" in tree.failure

    tree.give("train", flights[:0])
    assert tree.run("train") == 1
    assert "Channel 'train' has no rows" in tree.failure

    tree.give("train", flights[:300].assign(late=flights["late"][2:300]))
    assert tree.run("train") == 1
    assert "Column 'late' (the target) has 2 missing values in 300 rows" in tree.failure

    tree.give("train", flights[:300].assign(late=0))
    assert tree.run("train") == 1
    assert "Column 'late' (the target) has only the value 0" in tree.failure

    tree.give("train", flights[:300].assign(pressure=None))
    assert tree.run("train") == 1
    assert "Column 'pressure' (of features) is empty in the rows to learn from" in tree.failure

    (tree.root / "input" / "data" / "train" / "part-0.parquet").write_bytes(b"PAR1 and then nothing")
    assert tree.run("train") == 1
    assert "part-0.parquet of channel 'train' is not a readable Parquet file" in tree.failure
    assert not (tree.root / "model").exists()


def test_own_trainer_is_one_function(tree: Tree) -> None:
    tree.configure({})
    (tree.root / "constant.py").write_text("def train(job): job.log_metrics({'answer': 42})")
    assert tree.run("train", JOB_TRAINER="constant", PYTHONPATH=str(tree.root)) == 0
    assert tree.metrics == {"answer": 42}


def test_own_trainer_reads_its_secrets(tree: Tree) -> None:
    tree.configure({})
    (tree.root / "input" / "secrets").mkdir()
    (tree.root / "input" / "secrets" / "token").write_text("42")
    (tree.root / "reader.py").write_text("def train(job): job.log_metrics({'answer': int(job.secret('token'))})")
    assert tree.run("train", JOB_TRAINER="reader", PYTHONPATH=str(tree.root)) == 0
    assert tree.metrics == {"answer": 42}


def test_a_secret_that_was_not_given_is_named(tree: Tree) -> None:
    tree.configure({})
    (tree.root / "reader.py").write_text("def train(job): job.secret('token')")
    assert tree.run("train", JOB_TRAINER="reader", PYTHONPATH=str(tree.root)) == 1
    assert tree.failure == "There is no secret 'token': name it in the operator's `secrets`\n"


def test_a_trainer_without_the_function_is_named(tree: Tree) -> None:
    (tree.root / "empty.py").touch()
    assert tree.run("train", JOB_TRAINER="empty", PYTHONPATH=str(tree.root)) == 1
    assert tree.failure == "The trainer 'empty' has no function train(job)\n"


def test_metric_that_is_not_finite_fails_the_job(tree: Tree) -> None:
    (tree.root / "endless.py").write_text("def train(job): job.log_metrics({'loss': float('nan')})")
    assert tree.run("train", JOB_TRAINER="endless", PYTHONPATH=str(tree.root)) == 1
    assert tree.failure == "ValueError: The metric 'loss' is nan, and a metric must be a finite number\n"


def test_job_that_is_asked_to_stop_says_so(tree: Tree) -> None:
    stop = "import os, signal\ndef train(job): os.kill(os.getpid(), signal.SIGTERM)"
    (tree.root / "stopping.py").write_text(stop)
    assert tree.run("train", JOB_TRAINER="stopping", PYTHONPATH=str(tree.root)) == 143
    assert tree.failure == "The job was asked to stop before it had finished\n"


def test_results_of_an_earlier_run_do_not_outlive_a_failure(tree: Tree) -> None:
    results = tree.root / "output" / "data"
    results.mkdir(parents=True)
    for name in ("metrics.json", "metrics.jsonl"):
        Path(results / name).write_text("{}")
    assert tree.run("train") == 1
    assert not list(results.iterdir())
    assert tree.failure == "Hyperparameter 'target': required, but not given\n"
