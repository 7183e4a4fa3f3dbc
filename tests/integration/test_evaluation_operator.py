"""Two versions score the same holdout as real processes: what the evidence, its report and MLflow then hold."""

import json
import textwrap
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import Evaluation, EvidenceReference
from airflow_mlops.domain.gates import ExplanationGate, LatencyGate, ModelSizeGate
from airflow_mlops.domain.promotion import ImprovementGate, MetricGate, PromotionPolicy
from airflow_mlops.domain.registry import (
    CHAMPION,
    TAG_BACKEND,
    TAG_DATASET_DIGEST,
    TAG_DATASET_URI,
    TAG_IMAGE_DIGEST,
    ModelVersion,
)
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import EvaluationError, ImageNotFoundError, JobOutputError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.policy import read_evidence

from .test_promotion_operators import Loop

pytestmark = pytest.mark.integration

SCORE = """
    import os, pathlib
    import numpy as np, pyarrow as pa, pyarrow.parquet as pq
    root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
    slope = float((root / "model" / "weights.bin").read_text())
    files = sorted(root.glob("input/data/score/*.parquet"))
    x = np.concatenate([pq.read_table(file)["x"].to_numpy() for file in files])
    said = {"prediction": slope * x}
    if os.environ.get("BINARY"):
        probability = 1 / (1 + np.exp(-slope * x))
        said = {"prediction": (probability > 0.5).astype(int), "probability": probability}
    pq.write_table(pa.table(said), root / "output" / "data" / "predictions.parquet")
"""


@pytest.fixture
def loop(mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    code = textwrap.dedent(SCORE)
    (tmp_path / "regression.py").write_text(code)
    (tmp_path / "binary.py").write_text(f"import os\nos.environ['BINARY'] = '1'\n{code}")
    name = f"judged-{zlib.crc32(request.node.name.encode()):08x}"
    return Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)


@pytest.fixture
def holdout(loop: Loop) -> Snapshot:
    lines = [f"{x / 10},{int(x + 7 * (x % 3) > 10)},{x / 5 + x % 2}" for x in range(-30, 50)]
    (loop.folder / "holdout.csv").write_text("\n".join(["x,late,delay", *lines]) + "\n")
    take = DatasetSnapshotOperator(task_id="take", dataset_name="holdout", source=str(loop.folder / "holdout.csv"))
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


def evaluate(loop: Loop, version: ModelVersion, holdout: Snapshot, **arguments: Any) -> EvidenceReference:
    operator = EvaluateModelOperator(
        task_id="evaluate", model_version=version.to_dict(), holdout=holdout.to_dict(), resamples=50, **arguments
    )
    return EvidenceReference.from_dict(json.loads(json.dumps(operator.execute(loop.context(operator)))))


def binary(loop: Loop, version: ModelVersion, holdout: Snapshot) -> EvidenceReference:
    return evaluate(loop, version, holdout, target="late", program=("python", "./binary.py"))


def test_evidence_of_a_first_model_has_a_report_that_a_browser_can_open(loop: Loop, holdout: Snapshot) -> None:
    candidate = loop.register(loop.train(b"1.5"))
    reference = binary(loop, candidate, holdout)
    assert (reference.model_name, reference.version) == (loop.model_name, "1")
    evaluation = Evaluation.from_dict(json.loads(Path(reference.uri).read_text()))
    assert evaluation.content_digest() == reference.digest
    assert evaluation.champion is None
    assert [item.role for item in evaluation.diagnostics] == ["candidate"]
    page = Path(reference.report_uri).read_text()
    assert reference.digest in page
    assert f"{loop.model_name} version 1 against no champion" in page
    assert reference.report_url.endswith(f"/runs/{candidate.run_id}/artifacts/evaluation/{reference.digest}.html")
    kept = {"run_uuid": candidate.run_id, "path": f"evaluation/{reference.digest}.html"}
    assert httpx.get(f"{loop.mlflow.tracking_uri}/get-artifact", params=kept).text == page
    assert loop.xcoms["evaluate", "mlops_report_url"] == reference.report_url


def test_candidate_is_compared_with_the_champion_on_the_same_rows(loop: Loop, holdout: Snapshot) -> None:
    champion = loop.register(loop.train(b"-1.0"))
    loop.mlflow.set_alias(champion, CHAMPION)
    reference = binary(loop, loop.register(loop.train(b"2.0")), holdout)
    evaluation = Evaluation.from_dict(json.loads(Path(reference.uri).read_text()))
    assert evaluation.champion is not None
    assert evaluation.champion.version == "1"
    assert [item.role for item in evaluation.diagnostics] == ["candidate", "champion"]
    policy = PromotionPolicy(gates=(ImprovementGate(metric="roc_auc", absolute=0.1, confidence=0.95),))
    decision = loop.gate(read_evidence(reference), policy=policy)
    assert decision.passed
    assert (decision.report_uri, decision.report_url) == (reference.report_uri, reference.report_url)


def test_regression_passes_through_the_same_operator(loop: Loop, holdout: Snapshot) -> None:
    candidate = loop.register(loop.train(b"2.0"))
    reference = evaluate(
        loop, candidate, holdout, target="delay", task="regression", program=("python", "./regression.py")
    )
    evaluation = Evaluation.from_dict(json.loads(Path(reference.uri).read_text()))
    assert {item.metric for item in evaluation.metrics} == {"rmse", "mae", "r2"}
    assert "Residuals" in Path(reference.report_uri).read_text()


def test_program_that_measures_nothing_is_told_in_the_evidence_and_refused_by_the_gates(
    loop: Loop, holdout: Snapshot
) -> None:
    reference = binary(loop, loop.register(loop.train(b"1.5")), holdout)
    evaluation = read_evidence(reference).evaluation
    assert evaluation.serving is not None
    assert evaluation.serving.candidate.model_bytes > 0
    assert evaluation.explanation is not None
    gates = (LatencyGate(at_most_ms=1e9), ExplanationGate(), ModelSizeGate(at_most_mb=1))
    verdicts = PromotionPolicy(gates=gates).judge(read_evidence(reference)).verdicts
    assert [verdict.passed for verdict in verdicts[:3]] == [False, False, True]
    assert "left no output/data/serving.json" in verdicts[0].reason
    assert "left no output/data/explanation.json" in verdicts[1].reason


def test_figures_that_a_program_leaves_are_compared_with_the_champions(loop: Loop, holdout: Snapshot) -> None:
    measure = """
        import json
        figures = {"calls": 200, "p50_ms": 1.0, "p95_ms": abs(slope), "p99_ms": 9.0}
        (root / "output/data/serving.json").write_text(json.dumps(figures))
        importances = [{"feature": "x", "mean": abs(slope), "standard_deviation": 0.1},
                       {"feature": "y", "mean": 1.0, "standard_deviation": 0.1}]
        (root / "output/data/explanation.json").write_text(json.dumps({"metric": "mae", "importances": importances}))
    """
    (loop.folder / "measured.py").write_text(textwrap.dedent(SCORE) + textwrap.dedent(measure))
    arguments = {"target": "delay", "task": "regression", "program": ("python", "./measured.py")}
    loop.mlflow.set_alias(loop.register(loop.train(b"1.0")), CHAMPION)
    reference = evaluate(loop, loop.register(loop.train(b"3.0")), holdout, **arguments)
    gates = (LatencyGate(at_most_times_champion=2.5), ExplanationGate(drift_at_most=0.2))
    verdicts = PromotionPolicy(gates=gates).judge(read_evidence(reference)).verdicts
    assert verdicts[0].reason.startswith("p95 latency is 3 ms against the champion's 1 ms, but may be at most 2.5")
    assert verdicts[1].reason.startswith("25% of the importance is on other features than the champion's")
    page = Path(reference.report_uri).read_text()
    assert "<h2>Serving</h2>" in page
    assert "<b>25%</b> of the importance" in page

    (loop.folder / "measured.py").write_text(
        textwrap.dedent(SCORE) + "(root / 'output/data/serving.json').write_text('[]')"
    )
    with pytest.raises(JobOutputError, match=r"serving\.json must be an object of names and figures"):
        evaluate(loop, loop.register(loop.train(b"4.0")), holdout, **arguments)


def test_nothing_is_measured_where_the_spec_switches_it_off(loop: Loop, holdout: Snapshot) -> None:
    candidate = loop.register(loop.train(b"1.5"))
    spec = {"serving": None, "explain": None}
    reference = evaluate(loop, candidate, holdout, target="late", program=("python", "./binary.py"), spec=spec)
    evaluation = read_evidence(reference).evaluation
    assert (evaluation.serving, evaluation.explanation) == (None, None)


def test_second_evaluation_of_the_same_models_is_the_same_evidence(loop: Loop, holdout: Snapshot) -> None:
    candidate = loop.register(loop.train(b"1.5"))
    assert binary(loop, candidate, holdout) == binary(loop, candidate, holdout)


def test_target_that_the_holdout_lacks_is_refused(loop: Loop, holdout: Snapshot) -> None:
    candidate = loop.register(loop.train(b"1.5"))
    with pytest.raises(EvaluationError, match="no_such"):
        evaluate(loop, candidate, holdout, target="no_such", program=("python", "./binary.py"))


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_champion_whose_image_is_gone_is_named_with_the_remedy(loop: Loop, holdout: Snapshot) -> None:
    champion = loop.register(loop.train(b"-1.0"))
    loop.mlflow.set_version_tags(champion, {TAG_BACKEND: "docker", TAG_IMAGE_DIGEST: f"sha256:{'0' * 64}"})
    loop.mlflow.set_alias(champion, CHAMPION)
    candidate = loop.register(loop.train(b"2.0"))
    with pytest.raises(
        ImageNotFoundError, match=r"The champion, .* version 1, .* its image is gone\. .* Build it there"
    ):
        binary(loop, candidate, holdout)


def test_holdout_that_the_candidate_learned_from_is_refused(loop: Loop, holdout: Snapshot) -> None:
    candidate = loop.register(loop.train(b"1.5"))
    learned = replace(candidate, tags={**candidate.tags, TAG_DATASET_DIGEST: holdout.digest})
    with pytest.raises(EvaluationError, match=r"is the very data that .* learned from"):
        binary(loop, learned, holdout)


def snapshot(loop: Loop, name: str, rows: list[str], **arguments: Any) -> Snapshot:
    (loop.folder / f"{name}.csv").write_text("\n".join(["time,x,late", *rows]) + "\n")
    take = DatasetSnapshotOperator(
        task_id="take", dataset_name=name, source=str(loop.folder / f"{name}.csv"), **arguments
    )
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


def trained_on(version: ModelVersion, training: Snapshot) -> ModelVersion:
    origin = {TAG_DATASET_DIGEST: training.digest, TAG_DATASET_URI: training.uri}
    return replace(version, tags={**version.tags, **origin})


def hours(first: int, last: int) -> list[str]:
    return [f"2013-01-01T{hour:02}:00:00,{hour % 7 - 3},{hour % 2}" for hour in range(first, last)]


def read(reference: EvidenceReference) -> Evaluation:
    return Evaluation.from_dict(json.loads(Path(reference.uri).read_text()))


def test_holdout_with_rows_of_the_training_data_is_refused_with_their_share(loop: Loop) -> None:
    training, holdout = snapshot(loop, "training", hours(0, 12)), snapshot(loop, "holdout", hours(8, 24))
    candidate = trained_on(loop.register(loop.train(b"1.5")), training)
    with pytest.raises(
        EvaluationError, match=r"4 rows of the holdout \(25\.00%\) .* compared by time, x, late\. .* 1\.00%"
    ):
        binary(loop, candidate, holdout)


def test_overlap_that_the_spec_allows_is_told_to_the_reviewer(loop: Loop) -> None:
    training, holdout = snapshot(loop, "training", hours(0, 12)), snapshot(loop, "holdout", hours(8, 24))
    candidate = trained_on(loop.register(loop.train(b"1.5")), training)
    reference = evaluate(
        loop, candidate, holdout, target="late", program=("python", "./binary.py"), spec={"max_overlap": 0.3}
    )
    (overlap,) = read(reference).overlaps
    assert (overlap.rows, overlap.share) == (4, 0.25)
    assert str(overlap) in read(reference).notes
    assert str(overlap) in Path(reference.report_uri).read_text()


def test_holdout_of_a_later_window_is_known_to_be_unseen_by_its_times(loop: Loop) -> None:
    training = snapshot(loop, "training", hours(0, 12), time_column="time")
    holdout = snapshot(loop, "holdout", hours(12, 24), time_column="time")
    evaluation = read(binary(loop, trained_on(loop.register(loop.train(b"1.5")), training), holdout))
    (overlap,) = evaluation.overlaps
    assert (overlap.rows, overlap.how.partition(" 2013")[0]) == (0, "by time it ends")
    assert not any("overlap" in note for note in evaluation.notes)


def test_training_data_that_is_gone_is_told_to_the_reviewer(loop: Loop, holdout: Snapshot) -> None:
    evaluation = read(binary(loop, loop.register(loop.train(b"1.5")), holdout))
    assert evaluation.overlaps[0].rows is None
    assert any("Nobody can say whether the holdout overlaps" in note for note in evaluation.notes)


def test_holdout_of_one_class_is_refused_before_any_job_runs(loop: Loop) -> None:
    one_class = snapshot(loop, "holdout", [f"2013-01-01T{hour:02}:00:00,{hour},0" for hour in range(9)])
    (loop.folder / "never.py").write_text("raise SystemExit('this must not run')")
    candidate = loop.register(loop.train(b"1.5"))
    with pytest.raises(EvaluationError, match=r"Every one of the 9 rows of the holdout has the label 0"):
        evaluate(loop, candidate, one_class, target="late", program=("python", "./never.py"))


SAYS = """
    import os, pathlib
    import pyarrow as pa, pyarrow.parquet as pq
    root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
    (file,) = root.glob("input/data/score/*.parquet")
    rows = pq.read_metadata(file).num_rows
    pq.write_table(pa.table({said}), root / "output" / "data" / "predictions.parquet")
"""


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"prediction": "[0] * rows", "probability": "[float('nan')] * rows"}, r"candidate gave 80 .* are NaN or"),
        (
            {"prediction": "[None] * 3 + [0] * (rows - 3)"},
            r"'prediction' of the candidate, .* version 1, has 3 missing",
        ),
        ({"prediction": "[0.3] * rows"}, r"candidate predicts 0\.3, but the holdout's labels are 0, 1"),
        ({"prediction": "[0] * (rows - 1)"}, r"candidate gave 79 values of prediction for 80 rows"),
    ],
)
def test_answers_that_cannot_be_judged_are_refused_by_name(
    loop: Loop, holdout: Snapshot, said: dict[str, str], message: str
) -> None:
    columns = ", ".join(f'"{name}": {values}' for name, values in said.items())
    (loop.folder / "odd.py").write_text(textwrap.dedent(SAYS).replace("{said}", f"{{{columns}}}"))
    candidate = loop.register(loop.train(b"1.5"))
    with pytest.raises(EvaluationError, match=message):
        evaluate(loop, candidate, holdout, target="late", program=("python", "./odd.py"))


def test_champion_that_takes_other_columns_is_refused_before_any_job_runs(loop: Loop, holdout: Snapshot) -> None:
    (loop.folder / "never.py").write_text("raise SystemExit('this must not run')")
    champion = loop.register(loop.train(b"-1.0", column="wind_speed"))
    loop.mlflow.set_alias(champion, CHAMPION)
    candidate = loop.register(loop.train(b"2.0"))
    with pytest.raises(
        EvaluationError,
        match=r"The champion, .* version 1, takes wind_speed, .* it has x, late, delay\.",
    ):
        evaluate(loop, candidate, holdout, target="late", program=("python", "./never.py"))


def test_model_that_always_says_the_same_is_noted_and_passes_no_bar(loop: Loop, holdout: Snapshot) -> None:
    columns = '{"prediction": [0] * rows, "probability": [0.2] * rows}'
    (loop.folder / "constant.py").write_text(textwrap.dedent(SAYS).replace("{said}", columns))
    reference = evaluate(
        loop, loop.register(loop.train(b"1.5")), holdout, target="late", program=("python", "./constant.py")
    )
    assert "The candidate predicts 0 for every row. It does not look at its input." in read(reference).notes
    policy = PromotionPolicy(gates=(MetricGate(metric="roc_auc", at_least=0.6),))
    decision = policy.judge(read_evidence(reference))
    assert [verdict.reason for verdict in decision.verdicts] == ["roc_auc must be at least 0.6, but is 0.5000."]


def test_score_that_leaves_no_predictions_is_refused(loop: Loop, holdout: Snapshot) -> None:
    (loop.folder / "silent.py").write_text("")
    candidate = loop.register(loop.train(b"1.5"))
    with pytest.raises(JobOutputError, match=r"The job of the candidate, .* left no output/data/predictions\.parquet"):
        evaluate(loop, candidate, holdout, target="late", program=("python", "./silent.py"))


def test_task_that_does_not_exist_is_refused_when_the_dag_is_read(loop: Loop, holdout: Snapshot) -> None:
    with pytest.raises(ValueError, match="'ranking' is not a valid LearningTask"):
        EvaluateModelOperator(
            task_id="evaluate", model_version={}, holdout=holdout.to_dict(), target="late", task="ranking"
        )
