"""What the gate, the answer and the promotion leave in the audit trail, whatever happens to them on the way."""

import json
import os
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_mlops.domain.approval import Approval
from airflow_mlops.domain.audit.card import model_card
from airflow_mlops.domain.audit.entry import Chain, Head
from airflow_mlops.domain.audit.events import model_evaluated, model_trained, snapshot_taken
from airflow_mlops.domain.audit.history import unfinished
from airflow_mlops.domain.audit.lineage import find_version, learned_from
from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest, SourceFile
from airflow_mlops.domain.promotion import PromotionDecision
from airflow_mlops.domain.registry import CHAMPION, TAG_AUDIT_HEAD, TAG_DECISION, ModelVersion
from airflow_mlops.engines.fsspec import Storage
from airflow_mlops.engines.ledger import Ledger
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import AuditTrailBusyError, PromotionRefusedError, PromotionUnderWayError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.operators.audit import append_event
from tests.integration.test_promotion_operators import Loop

pytestmark = pytest.mark.integration


@pytest.fixture
def loop(mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    name = f"audited-{zlib.crc32(request.node.name.encode()):08x}"
    return Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)


@pytest.fixture
def decision(loop: Loop) -> PromotionDecision:
    return loop.gate(loop.evidence(loop.register(loop.train(b"one")), 0.8))


@pytest.fixture
def approval(loop: Loop, decision: PromotionDecision) -> Approval:
    return loop.approve(decision)


def test_what_happened_is_in_the_audit_trail_and_the_version_remembers_its_end(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    loop.promote(decision, approval)
    loop.promote(decision, approval)  # A retry tells nothing twice.
    version = loop.mlflow.version(loop.model_name, "1")
    head = Head.parse(version.tags[TAG_AUDIT_HEAD], "the tag")
    record = audit_trail().read(Chain.of_model(loop.model_name), [head])
    assert record.is_whole
    assert record.head.digest == head.digest
    told = [(entry.event_kind.value, entry.happening.who) for entry in record.entries]
    person = "Ada (7)"
    assert told == [
        ("registration", ""), ("gate", ""), ("approval", person), ("promotion", person), ("deployment", person),
    ]  # fmt: skip
    assert record.entries[3].happening.digests["decision"] == decision.content_digest()
    assert loop.mlflow.versions(loop.model_name) == (version,)


def test_nothing_is_promoted_when_the_audit_trail_cannot_be_written(
    loop: Loop, decision: PromotionDecision, approval: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "link", refuse)
        full.setattr(Ledger, "__init__", partialmethod(Ledger.__init__, patience_seconds=0.0))
        with pytest.raises(AuditTrailBusyError, match=r"'promotion' of .* No space left"):
            loop.promote(decision, approval)
        assert loop.alias(CHAMPION) is None
        assert TAG_DECISION not in loop.mlflow.version(loop.model_name, "1").tags
    loop.promote(decision, approval)
    assert loop.alias(CHAMPION) == "1"


def test_an_answer_that_the_trail_cannot_take_does_not_count(
    loop: Loop, decision: PromotionDecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(Storage, "create_text", lambda *_: False)
        full.setattr(Ledger, "__init__", partialmethod(Ledger.__init__, patience_seconds=0.0))
        for option in ("Approve", "Reject"):
            with pytest.raises(AuditTrailBusyError):
                loop.approve(decision, option)
    loop.promote(decision, loop.approve(decision))
    entries = audit_trail().read(Chain.of_model(loop.model_name)).entries
    assert [entry.event_kind.value for entry in entries][2:] == ["approval", "promotion", "deployment"]


def test_an_approval_that_was_written_into_an_xcom_by_hand_is_refused(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    forged = replace(approval, responder_id="8", responder_name="Grace")
    with pytest.raises(PromotionRefusedError, match=r"The audit trail has no approval by Grace \(8\)"):
        loop.promote(decision, forged)
    assert loop.alias(CHAMPION) is None


def test_a_rejection_stands_when_the_task_is_cleared_and_answered_again(
    loop: Loop, decision: PromotionDecision
) -> None:
    loop.approve(decision, "Reject")
    again = loop.approve(decision)
    with pytest.raises(PromotionRefusedError, match=r"Ada \(7\) rejected it in this Dag run before .* Start a new"):
        loop.promote(decision, again)


def test_a_promotion_that_died_before_the_alias_moved_is_carried_out_by_its_retry(
    loop: Loop, decision: PromotionDecision, approval: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(MlflowEngine, "set_alias", die)
        with pytest.raises(KeyboardInterrupt):
            loop.promote(decision, approval)
    chain = Chain.of_model(loop.model_name)
    (begun,) = unfinished(audit_trail().read(chain).entries)
    assert (begun.happening.version, loop.alias(CHAMPION)) == ("1", None)
    loop.promote(decision, approval)
    assert not unfinished(audit_trail().read(chain).entries)


def test_of_two_promotions_of_a_model_at_once_one_goes_on(
    loop: Loop, decision: PromotionDecision, approval: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = loop.register(loop.train(b"two"))
    other = loop.gate(loop.evidence(second, 0.9))
    other_approval = loop.approve(other)
    move = MlflowEngine.set_alias
    refused: list[str] = []

    def meanwhile(self: MlflowEngine, version: ModelVersion, alias: str) -> None:
        monkeypatch.setattr(MlflowEngine, "set_alias", move)
        with pytest.raises(PromotionUnderWayError, match="is being promoted by another task: entry") as error:
            loop.promote(other, other_approval, task_id="promote_other")
        refused.append(str(error.value))
        move(self, version, alias)

    monkeypatch.setattr(MlflowEngine, "set_alias", meanwhile)
    loop.promote(decision, approval)
    assert (len(refused), loop.alias(CHAMPION)) == (1, "1")
    with pytest.raises(PromotionRefusedError, match="The champion is version 1 now"):
        loop.promote(other, other_approval, task_id="promote_other")


def test_a_registration_stands_on_its_training_and_an_evaluation_on_its_holdout(loop: Loop) -> None:
    def take(digest: str, dataset: str, file: str) -> None:
        snapshot = Snapshot(dataset_name=dataset, digest=digest, uri=f"/{dataset}", rows=10, created=True)
        source = SourceFile(uri=file, digest="5" * 64, size_bytes=1)
        manifest = SnapshotManifest(
            dataset_name=dataset, digest=digest, rows=10, columns=(), parts=(), sources=(source,), window=None,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        append_event(context, snapshot_taken(snapshot, manifest))

    context = loop.context(BaseOperator(task_id="any"))
    training = loop.train(b"one")
    take(training.dataset_digest, "flights", "/data/january.csv")
    append_event(context, model_trained(training))
    take("d" * 64, "holdout", "/data/march.csv")
    version = loop.register(training)
    evidence = loop.evidence(version, 0.8)
    append_event(context, model_evaluated(evidence.evaluation, evidence.reference()))

    trail = audit_trail().trail(Chain.of_model(loop.model_name))
    assert not trail.findings()
    assert {str(chain) for chain in trail.records} == {
        f"models/{loop.model_name}", "datasets/flights", "datasets/holdout",
    }  # fmt: skip
    assert find_version(trail, training.run_id).sources() == (("/data/january.csv", "5" * 64),)
    assert [item.version for item in learned_from(trail, "january.csv")] == [version.version]
    assert learned_from(trail, "march.csv") == ()  # It was judged by it.
    card = model_card(trail, loop.model_name, None, datetime(2026, 1, 1, tzinfo=UTC))
    assert card.metrics == {"roc_auc": 0.8}
