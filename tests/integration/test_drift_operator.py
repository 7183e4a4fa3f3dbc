"""Windows against the champion's training data, with a real registry, real snapshots and real reports."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops.domain.audit.entry import Chain, EventKind
from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.drift.report import DriftReport, ProfileReference
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, WindowCheck, check_path
from airflow_mlops.domain.registry import CHAMPION, TAG_DATASET_URI, ModelVersion
from airflow_mlops.exceptions import DatasetError, InvalidInputError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.storage import artifact_store, open_storage
from airflow_mlops.operators.dataset import DatasetSnapshotOperator
from airflow_mlops.operators.drift import DriftCheckOperator
from airflow_mlops.operators.prediction_window import PredictionWindowOperator
from airflow_mlops.operators.profile import ProfileOperator
from airflow_mlops.prediction_log import PredictionLog

from .test_evaluation_operator import loop
from .test_promotion_operators import Loop

__all__ = ["loop"]  # a fixture
pytest_plugins = ["tests.integration.s3"]
pytestmark = pytest.mark.integration

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PASSED, VIOLATED, UNDECIDED = CheckVerdict
random = np.random.default_rng(6)


@pytest.fixture(autouse=True)
def _same_rows_in_any_order_of_tests() -> None:
    random.bit_generator.state = np.random.default_rng(6).bit_generator.state


def snapshot(loop: Loop, name: str, columns: dict[str, Any], **arguments: Any) -> Snapshot:
    """Take a snapshot of columns."""
    pq.write_table(pa.table(columns), loop.folder / f"{name}.parquet")
    take = DatasetSnapshotOperator(
        task_id="take", dataset_name=name, source=str(loop.folder / f"{name}.parquet"), **arguments
    )
    ti = SimpleNamespace(dag_id="loop", run_id="run", task_id="snapshot", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {take.asset: SimpleNamespace(extra=None)}}
    return Snapshot.from_dict(take.execute(context))


def rows(count: int = 2000, *, shift: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"x": random.normal(shift, 1, count), "plan": random.choice(["basic", "pro"], count), **more}


def promoted(loop: Loop, training: Snapshot) -> ModelVersion:
    """Make a version that takes ``x`` and was trained on a snapshot the champion."""
    known: dict[str, Any] = {
        "dataset_name": training.dataset_name,
        "dataset_digest": training.digest,
        "dataset_uri": training.uri,
    }
    version = loop.register(loop.train(b"1.5", **known))
    loop.mlflow.set_alias(version, CHAMPION)
    return version


def check(loop: Loop, current: Any, *, day: int = 0, days: int = 1, **arguments: Any) -> WindowCheck:
    arguments.setdefault("evidently_report", False)
    operator = DriftCheckOperator(
        task_id=arguments.pop("task_id", f"drift-{day}"),
        model_name=loop.model_name,
        current=[item.to_dict() for item in current] if isinstance(current, list) else current and current.to_dict(),
        window_start=START + day * DAY,
        window_end=START + (day + days) * DAY,
        **arguments,
    )
    found = operator.execute(loop.context(operator))
    return WindowCheck.from_dict(json.loads(json.dumps(found)))


def report_of(found: WindowCheck) -> DriftReport:
    return DriftReport.from_dict(json.loads(Path(str(found.report_uri)).with_name("drift.json").read_text()))


def drift_entries(loop: Loop) -> list[Any]:
    entries = audit_trail().read(Chain.of_model(loop.model_name)).entries
    return [entry for entry in entries if entry.event_kind is EventKind.DRIFT]


def test_window_like_the_training_data_passes_and_another_is_violated_and_told(loop: Loop) -> None:
    version = promoted(loop, snapshot(loop, "train", rows()))
    same = check(loop, snapshot(loop, "same", rows()))
    assert (same.verdict, same.kind, same.rows, same.model_version) == (
        PASSED,
        CheckKind.DATA_DRIFT,
        2000,
        version.version,
    )
    assert same.reasons == ("0 of 1 columns have drifted (0%), below the drift_share of 50%.",)
    assert drift_entries(loop) == []
    moved = check(loop, snapshot(loop, "moved", rows(shift=0.5)), day=1)
    assert moved.verdict is VIOLATED
    assert moved.figures["drift_share"] == 1.0
    assert moved.figures["drift.x"] == pytest.approx(5, abs=1)  # times its threshold
    [entry] = drift_entries(loop)
    assert entry.happening.version == version.version
    assert entry.happening.facts["drifted"] == ["x"]
    assert entry.happening.facts["report_uri"] == moved.report_uri
    record = artifact_store() / check_path(moved)
    assert WindowCheck.from_dict(record.read_json()) == moved


def test_texts_and_embeddings_of_a_window_are_compared_and_shown(loop: Loop) -> None:
    def talk(words: str, mean: float) -> dict[str, Any]:
        comments = [" ".join(random.choice(words.split(), 9)) for _ in range(600)]
        return rows(600, comment=comments, vector=list(random.normal(mean, 1, (600, 6))))

    promoted(loop, snapshot(loop, "train-talk", talk("parcel late box damaged refund driver", 0)))
    spec = {"text": ["comment"], "embeddings": ["vector"], "stable": ["vector"]}
    same = check(loop, snapshot(loop, "same-talk", talk("parcel late box damaged refund driver", 0)), spec=spec)
    assert same.verdict is PASSED, same.reasons
    moved = check(
        loop,
        snapshot(loop, "moved-talk", talk("login password screen black update app", 1)),
        day=1,
        spec=spec,
        evidently_report=True,
    )
    assert moved.verdict is VIOLATED
    assert moved.reasons[0].startswith("vector must not drift, and has: ")
    assert min(moved.figures["drift.comment"], moved.figures["drift.vector"]) > 1
    found = {item.column: item for item in report_of(moved).drift.columns}
    assert {"x", "comment", "comment.text_length", "comment.word_count", "vector"} <= found.keys()
    page = Path(str(moved.report_uri)).read_text()
    assert "domain_classifier" in page
    assert "by chance 0.005" in page
    assert Path(str(moved.report_uri)).with_name("evidently.html").exists()


def test_ids_and_texts_that_nobody_named_are_compared_as_evidently_does_and_not_by_their_shares(loop: Loop) -> None:
    def tickets(words: str) -> dict[str, Any]:
        comments = [" ".join(random.choice(words.split(), 9)) for _ in range(600)]
        return rows(600, comment=comments, key=[f"{number:016x}" for number in random.integers(0, 2**62, 600)])

    reference = snapshot(loop, "train-tickets", tickets("parcel late box damaged refund driver")).to_dict()
    promoted(loop, snapshot(loop, "train", rows()))
    columns = {"columns": ["x", "key", "comment"]}
    same = snapshot(loop, "same-tickets", tickets("parcel late box damaged refund driver"))
    found = report_of(check(loop, same, reference=reference, spec=columns)).drift
    assert {item.column: (item.method, item.drifted) for item in found.columns} == {
        "x": ("ks", False),
        "key": ("domain_classifier", False),
        "comment": ("domain_classifier", False),
    }
    assert any(note.startswith("key, comment: more than half of the texts differ") for note in found.notes)
    moved = snapshot(loop, "moved-tickets", tickets("login password screen black update app"))
    assert [item.column for item in report_of(check(loop, moved, reference=reference, spec=columns)).drift.drifted] == [
        "comment"
    ]


def test_answers_of_two_versions_are_no_drift_of_the_predictions_of_one(loop: Loop) -> None:
    version = promoted(loop, snapshot(loop, "train", rows()))
    log: dict[str, Any] = {"model_name": [loop.model_name] * 2000, "model_version": [version.version] * 2000}
    check(loop, snapshot(loop, "first", rows(prediction=random.normal(0, 1, 2000), **log)))
    said = np.concatenate([random.normal(0, 1, 1000), random.normal(3, 1, 1000)])
    mixed: dict[str, Any] = log | {"model_version": [version.version] * 1000 + ["another"] * 1000}
    found = check(loop, snapshot(loop, "mixed", rows(prediction=said, **mixed)), day=1)
    assert found.verdict is PASSED
    assert any(note.startswith("1,000 of 2,000 answers are not of version") for note in report_of(found).drift.notes)
    alone = check(loop, snapshot(loop, "alone", rows(prediction=said, **log)), day=2)
    assert alone.verdict is VIOLATED
    assert alone.reasons[0].startswith("The prediction prediction has drifted")


def test_window_of_the_champion_alone_follows_the_alias(loop: Loop) -> None:
    def take() -> Any:
        task = PredictionWindowOperator(
            task_id="window",
            model_name=loop.model_name,
            log=str(loop.folder / "log"),
            window_start=START.isoformat(),
            window_end=(START + DAY).isoformat(),
            model_version="champion",
        )
        return Snapshot.from_dict(task.execute(loop.context(task)))

    answer(loop, "none", 3)
    with pytest.raises(AirflowSkipException, match="has the alias champion yet"):
        take()
    version = promoted(loop, snapshot(loop, "train", rows()))
    answer(loop, version.version, 5)
    answer(loop, f"{version.version}0", 7)
    assert take().rows == 5


def answer(loop: Loop, version: str, count: int) -> None:
    with PredictionLog(loop.folder / "log", model_name=loop.model_name, model_version=version, features={}) as log:
        for _ in range(count):
            log.write({}, prediction=0.5, predicted_at=START)


def test_report_shows_every_column_and_evidently_stands_beside_it(loop: Loop) -> None:
    version = promoted(loop, snapshot(loop, "train", rows()))
    moved = snapshot(loop, "moved", rows(shift=0.5))
    spec = {"columns": ["x", "plan"], "sample_rows": 500}
    found = check(loop, moved, spec=spec, evidently_report=True)
    page = Path(str(found.report_uri)).read_text()
    assert "Violated" in page
    assert '<a href="evidently.html"' in page
    assert "on a random sample of 500 and 500 rows" in page
    assert page.count("<svg") == 2
    beside = Path(str(found.report_uri)).with_name("evidently.html").read_text()
    assert "Wasserstein distance (normed)" in beside
    link = loop.xcoms["drift-0", "mlops_report_url"]
    run, key = version.run_id, found.window.key
    assert link.endswith(f"/runs/{run}/artifacts/drift/{key}/drift.html")
    shown = httpx.get(
        f"{loop.mlflow.tracking_uri}/get-artifact", params={"path": f"drift/{key}/drift.html", "run_uuid": run}
    ).text
    assert f"/runs/{run}/artifacts/drift/{key}/evidently.html" in shown


def test_reference_is_profiled_once_and_its_profile_kept_with_it(loop: Loop) -> None:
    training = snapshot(loop, "train", rows())
    promoted(loop, training)
    window = snapshot(loop, "window", rows(shift=0.3))
    first = check(loop, window)
    for part in Path(training.uri).glob("part-*.parquet"):
        part.write_bytes(b"nobody reads it again")
    again = check(loop, window, day=1)
    assert again.figures["drift.x"] == first.figures["drift.x"]
    kept = Path(training.uri) / "_profile-own.json"
    kept.write_text('{"schema_version": 0}')  # as another release may have written it
    with pytest.raises(DatasetError, match="changed after it was written"):
        check(loop, window, day=2)


def test_parts_that_mapped_tasks_profile_are_judged_as_the_whole(loop: Loop) -> None:
    promoted(loop, snapshot(loop, "train", rows(shift=0.0)))
    columns = rows(3000, shift=0.4)
    whole = check(loop, snapshot(loop, "whole", columns))
    parts = [
        snapshot(loop, f"part{start}", {name: values[start : start + 1000] for name, values in columns.items()})
        for start in range(0, 3000, 1000)
    ]
    assert _told(check(loop, parts, day=1)) == _told(whole)
    profiles = []
    for part in parts:
        operator = ProfileOperator(task_id="profile", snapshot=part.to_dict(), model_name=loop.model_name)
        profiles.append(json.loads(json.dumps(operator.execute(loop.context(operator)))))
    merged = check(loop, [ProfileReference.from_dict(item) for item in profiles], day=2, evidently_report=True)
    assert _told(merged) == _told(whole)
    assert report_of(merged).drift.current.dataset_name == "part0, part1000, part2000"


def _told(found: WindowCheck) -> tuple[Any, ...]:
    return found.rows, found.verdict, {name: pytest.approx(value) for name, value in found.figures.items()}


def test_predictions_are_compared_with_the_first_window_of_the_version(loop: Loop) -> None:
    promoted(loop, snapshot(loop, "train", rows()))
    said = [snapshot(loop, f"log{day}", rows(probability=random.normal(shift, 1, 2000))) for day, shift in
            enumerate((0, 0, 2))]  # fmt: skip
    first, second, third = (check(loop, window, day=day) for day, window in enumerate(said))
    assert [found.verdict for found in (first, second, third)] == [PASSED, PASSED, VIOLATED]
    assert report_of(first).drift.notes == (
        "The reference has no column probability to compare with.",
        "The reference has no probability: later windows of version 1 are compared with this one.",
    )
    assert third.reasons[0].startswith("The prediction probability has drifted: ")
    assert third.figures["drift.probability"] == pytest.approx(20, abs=2)
    repeated = check(loop, said[0], day=0)
    assert _told(repeated) == _told(first)
    named = check(loop, said[1], day=4, prediction_reference=said[2].to_dict())
    assert named.reasons[0].startswith("The prediction probability has drifted: ")


def test_rows_that_do_not_come_violate_the_window(loop: Loop) -> None:
    promoted(loop, snapshot(loop, "train", rows()))
    window = snapshot(loop, "window", rows())
    for day in range(3):
        assert "volume" not in check(loop, window, day=day).figures
    few = check(loop, snapshot(loop, "few", rows(500)), day=3)
    assert few.figures["volume"] == 0.25
    assert few.reasons == (
        "Too few rows came: 500 instead of about 2,000 (0.25 times), by the median of the 3 windows before.",
    )


def test_rows_per_time_of_the_reference_say_what_to_expect_at_first(loop: Loop) -> None:
    at = [START - 10 * DAY + index * timedelta(minutes=14.4) for index in range(1000)]
    training = snapshot(
        loop, "train", rows(1000, at=at), time_column="at", start=(START - 10 * DAY).isoformat(), end=START.isoformat()
    )
    promoted(loop, training)
    assert check(loop, snapshot(loop, "window", rows(300))).figures["volume"] == pytest.approx(3)


def test_window_without_rows_or_before_any_champion_is_undecided_and_recorded(loop: Loop) -> None:
    before = check(loop, None)
    assert (before.verdict, before.model_version) == (UNDECIDED, "")
    assert before.reasons[0].startswith(f"No version of {loop.model_name} has the alias champion yet")
    promoted(loop, snapshot(loop, "train", rows()))
    for empty in (check(loop, None), check(loop, [])):
        assert (empty.verdict, empty.rows, empty.model_version) == (UNDECIDED, 0, "1")
        assert WindowCheck.from_dict((artifact_store() / check_path(empty)).read_json()) == empty


def test_version_that_does_not_say_what_it_was_trained_on_needs_a_reference(loop: Loop) -> None:
    version = promoted(loop, snapshot(loop, "train", rows()))
    loop.mlflow.set_version_tags(version, {TAG_DATASET_URI: ""})
    window = snapshot(loop, "window", rows())
    with pytest.raises(InvalidInputError, match=r"has no tag airflow_mlops\.dataset_uri, so it is not known"):
        check(loop, window)
    assert check(loop, window, reference=window.to_dict()).figures["drift.x"] == pytest.approx(0, abs=1e-12)


def test_retry_of_a_violated_window_is_told_once(loop: Loop) -> None:
    promoted(loop, snapshot(loop, "train", rows()))
    moved = snapshot(loop, "moved", rows(shift=0.5))
    assert check(loop, moved) == check(loop, moved)
    assert len(drift_entries(loop)) == 1


@pytest.mark.parametrize("wrong", ["a text", [3]])
def test_window_that_is_neither_snapshot_nor_profile_is_refused(loop: Loop, wrong: Any) -> None:
    promoted(loop, snapshot(loop, "train", rows()))
    operator = DriftCheckOperator(
        task_id="d", model_name=loop.model_name, current=wrong, window_start=START, window_end=START + DAY
    )
    with pytest.raises(InvalidInputError, match="is neither a snapshot nor a profile"):
        operator.execute(loop.context(operator))


def test_all_of_it_lies_on_s3(loop: Loop, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", f"{s3_bucket}/artifacts")
    training = snapshot(loop, "train", rows(probability=random.normal(0, 1, 2000)))
    promoted(loop, training)
    moved = check(loop, snapshot(loop, "moved", rows(shift=0.5, probability=random.normal(2, 1, 2000))))
    assert moved.verdict is VIOLATED
    assert str(moved.report_uri).startswith(f"{s3_bucket}/artifacts/reports/")
    assert WindowCheck.from_dict((artifact_store() / check_path(moved)).read_json()) == moved
    assert (open_storage(training.uri) / "_profile-own.json").exists()
    assert len(drift_entries(loop)) == 1
    again = check(loop, snapshot(loop, "moved2", rows(shift=0.5)), day=1)
    assert again.figures["drift.x"] == pytest.approx(moved.figures["drift.x"], abs=1)
