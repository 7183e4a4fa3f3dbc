"""What an author asks for by the evaluation's spec is measured, shown in the report and to the reviewer, and judged."""

import json
import textwrap
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.evaluation import Evaluation, EvidenceReference
from airflow_mlops.domain.gates import FairnessGate, SliceGate
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.domain.promotion_summary import approval_summary
from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import EvaluationError
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.evaluation import EvaluateModelOperator
from airflow_mlops.operators.policy import read_evidence

from .test_promotion_operators import Loop

pytestmark = pytest.mark.integration

# A model that is right by x, and says the contrary for one carrier at one airport when it is the second version.
SCORE = """
    import os, pathlib
    import numpy as np, pyarrow as pa, pyarrow.parquet as pq
    root = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
    broken = (root / "model" / "weights.bin").read_text() == "broken"
    table = pa.concat_tables(pq.read_table(file) for file in sorted(root.glob("input/data/score/*.parquet")))
    chance = 1 / (1 + np.exp(-table["x"].to_numpy()))
    cell = (table["carrier"].to_numpy() == "EV") & (table["origin"].to_numpy() == "LGA")
    chance = np.where(cell & broken, 1 - chance, chance)
    said = {"prediction": (chance > 0.5).astype(int), "probability": chance}
    pq.write_table(pa.table(said), root / "output" / "data" / "predictions.parquet")
"""


@pytest.fixture
def loop(mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    (tmp_path / "score.py").write_text(textwrap.dedent(SCORE))
    name = f"sliced-{zlib.crc32(request.node.name.encode()):08x}"
    return Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)


@pytest.fixture
def holdout(loop: Loop) -> Snapshot:
    random = np.random.default_rng(0)
    rows = 4000
    x = random.normal(0, 2, rows)
    table = {
        "x": x,
        "carrier": random.choice(["AA", "DL", "EV", "UA"], rows),
        "origin": random.choice(["EWR", "JFK", "LGA"], rows),
        "sex": pa.array([("f", "m", None)[code] for code in random.choice(3, rows, p=[0.5, 0.49, 0.01])]),
        "city": [f"city {code}" for code in random.integers(0, 1000, rows)],
        "late": (random.uniform(size=rows) < 1 / (1 + np.exp(-x))).astype(int),
    }
    pq.write_table(pa.table(table), loop.folder / "holdout.parquet")
    take = DatasetSnapshotOperator(task_id="take", dataset_name="holdout", source=str(loop.folder / "holdout.parquet"))
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


def evaluate(loop: Loop, version: ModelVersion, holdout: Snapshot, spec: dict[str, Any]) -> EvidenceReference:
    operator = EvaluateModelOperator(
        task_id="evaluate",
        model_version=version.to_dict(),
        holdout=holdout.to_dict(),
        target="late",
        program=("python", "./score.py"),
        resamples=50,
        spec={"serving": None, "explain": None, **spec},
    )
    return EvidenceReference.from_dict(json.loads(json.dumps(operator.execute(loop.context(operator)))))


def test_candidate_that_fails_one_carrier_at_one_airport_is_found_shown_and_refused(
    loop: Loop, holdout: Snapshot
) -> None:
    loop.mlflow.set_alias(loop.register(loop.train(b"whole")), CHAMPION)
    candidate = loop.register(loop.train(b"broken"))
    spec = {
        "slices": {"columns": ["origin"], "search": ["carrier"]},
        "sensitive": {"columns": ["sex", "city"], "min_rows": 50},
    }
    reference = evaluate(loop, candidate, holdout, spec)
    evaluation = Evaluation.from_dict(json.loads(Path(reference.uri).read_text()))
    assert evaluation.slices is not None
    assert evaluation.slices.worst[0].name == "carrier = EV and origin = LGA"
    assert [table.columns for table in evaluation.slices.tables] == [("origin",)]
    assert evaluation.fairness is not None
    sex, city = evaluation.fairness.columns
    assert [group.value for group in sex.groups] == ["f", "m", "(missing)"]
    assert sex.small(50) == ("(missing)",)
    assert "have no value of sex" in sex.notes[0]
    assert (city.groups, "city has 1,000 values" in city.notes[0] or "city has 9" in city.notes[0]) == ((), True)

    page = Path(reference.report_uri).read_text()
    assert "<h2>Slices</h2>" in page
    assert "<td>carrier = EV and origin = LGA</td><td>worse</td>" in page
    assert "Every slice of origin" in page
    assert "<h3>By sex</h3>" in page

    gates = (
        SliceGate(),
        FairnessGate(column="sex", metric="demographic_parity_difference", at_most=0.2),
        FairnessGate(column="city", metric="demographic_parity_difference", at_most=0.2),
    )
    evidence = read_evidence(reference)
    decision = PromotionPolicy(gates=gates).judge(evidence)
    by_slice, by_sex, by_city = decision.verdicts
    assert not by_slice.passed
    assert by_slice.reason.startswith("carrier = EV and origin = LGA (")
    assert "against the champion's" in by_slice.reason
    assert "paired t-test" in by_slice.reason
    assert by_sex.passed
    assert "Not judged, of fewer than 50 rows: (missing)." in by_sex.reason
    assert not by_city.passed
    assert "more than max_groups (50)" in by_city.reason
    summary = approval_summary(decision, evidence.evaluation, candidate, {})
    assert "| carrier = EV and origin = LGA |" in summary
    assert "| sex | demographic_parity_difference |" in summary


def test_equal_models_pass_and_a_first_model_is_searched_against_its_other_rows(loop: Loop, holdout: Snapshot) -> None:
    first = loop.register(loop.train(b"whole"))
    alone = evaluate(loop, first, holdout, {})
    assert "significantly worse than on all other rows" in Path(alone.report_uri).read_text()
    loop.mlflow.set_alias(first, CHAMPION)
    twin = evaluate(loop, loop.register(loop.train(b"twin")), holdout, {})
    policy = PromotionPolicy(gates=(SliceGate(),))
    verdict = policy.judge(read_evidence(twin)).verdicts[0]
    assert verdict.passed, verdict.reason
    none = evaluate(loop, first, holdout, {"slices": None})
    assert Evaluation.from_dict(json.loads(Path(none.uri).read_text())).slices is None
    refused = policy.judge(read_evidence(none)).verdicts[0]
    assert "The evaluation has no slices" in refused.reason


def test_sensitive_column_that_the_holdout_lacks_is_refused(loop: Loop, holdout: Snapshot) -> None:
    version = loop.register(loop.train(b"whole"))
    with pytest.raises(EvaluationError, match="Fairness is to be by 'age', but the holdout has no such column"):
        evaluate(loop, version, holdout, {"sensitive": {"columns": ["age"]}})
