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
from airflow_mlops.domain.promotion import ImprovementGate, PromotionPolicy
from airflow_mlops.domain.registry import CHAMPION, TAG_BACKEND, TAG_DATASET_DIGEST, TAG_IMAGE_DIGEST, ModelVersion
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import EvaluationError, ImageNotFoundError, JobOutputError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.promotion import read_evidence

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
    context: Any = {"outlet_events": {take.asset: SimpleNamespace(extra=None)}}
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


def test_score_that_leaves_no_predictions_is_refused(loop: Loop, holdout: Snapshot) -> None:
    (loop.folder / "silent.py").write_text("")
    candidate = loop.register(loop.train(b"1.5"))
    with pytest.raises(JobOutputError, match=r"The candidate, .* left no output/data/predictions\.parquet"):
        evaluate(loop, candidate, holdout, target="late", program=("python", "./silent.py"))


def test_task_that_does_not_exist_is_refused_when_the_dag_is_read(loop: Loop, holdout: Snapshot) -> None:
    with pytest.raises(ValueError, match="'ranking' is not a valid LearningTask"):
        EvaluateModelOperator(
            task_id="evaluate", model_version={}, holdout=holdout.to_dict(), target="late", task="ranking"
        )
