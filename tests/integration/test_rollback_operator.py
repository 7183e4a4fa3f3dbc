"""Rollbacks on a real registry and audit trail: back to what really served, or not at all."""

import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from airflow_mlops.domain.approval import Approval, ApprovalRules, Risk
from airflow_mlops.domain.audit.entry import Chain, EventKind
from airflow_mlops.domain.audit.history import serving_history
from airflow_mlops.domain.registry import CHAMPION, TAG_MODEL_DIGEST
from airflow_mlops.domain.rollback import Rollback
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import (
    MlflowUnavailableError,
    PromotionRefusedError,
    PromotionUnderWayError,
    RollbackRefusedError,
)
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.operators.rollback import RollbackApprovalOperator, RollbackModelOperator
from tests.integration.test_promotion_operators import Loop

pytestmark = pytest.mark.integration


RULES = ApprovalRules(approvers=("ada", "grace"))


class Served(Loop):
    """A model of which versions have served, and rollbacks of it, each in a Dag run of its own."""

    run = "r"

    def context(self, operator: Any) -> Any:
        context = super().context(operator)
        context["ti"].run_id = self.run
        context["dag_run"].triggering_user_name = "grace"
        return context

    def serve(self, *contents: bytes) -> None:
        for content in contents:
            self.run = f"promote-{content.decode()}"
            decision = self.gate(self.evidence(self.register(self.train(content)), 0.8))
            self.promote(decision, self.approve(decision))

    def roll_back(self, run: str = "rollback", **arguments: Any) -> Rollback:
        self.run = run
        operator = RollbackModelOperator(
            task_id="roll_back", **{"model_name": self.model_name, "reason": "All scores are 0.", **arguments}
        )
        return Rollback.from_dict(operator.execute(self.context(operator)))

    def answer(
        self, option: str = "Approve", *, run: str = "rollback", user: str = "ada", shown: str = "", **arguments: Any
    ) -> Approval:
        """Answer the question that Airflow shows for the plan of this moment."""
        self.run = run
        operator = RollbackApprovalOperator(
            task_id="approve",
            rules=RULES,
            **{"model_name": self.model_name, "reason": "All scores are 0.", **arguments},
        )
        digest = shown or operator.read(self.context(operator))[0].content_digest()
        event = {
            "chosen_options": [option],
            "params_input": {"comment": "go", "decision": digest},
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": user, "name": user},
        }
        return Approval.from_dict(operator.execute_complete(self.context(operator), event))

    def move_by_hand(self, version: str) -> None:
        self.mlflow.set_alias(self.mlflow.version(self.model_name, version), CHAMPION)

    def delete(self, version: str) -> None:
        uri = self.mlflow.tracking_uri
        MlflowClient(uri, uri).delete_model_version(self.model_name, version)

    def told(self) -> list[tuple[str, str | None]]:
        kinds = {EventKind.ROLLBACK, EventKind.PROMOTION, EventKind.DEPLOYMENT}
        entries = audit_trail().read(Chain.of_model(self.model_name)).entries
        return [(entry.event_kind.value, entry.happening.version) for entry in entries if entry.event_kind in kinds]

    def deployment(self, version: str) -> int:
        entries = audit_trail().read(Chain.of_model(self.model_name)).entries
        return next(item.sequence for item in serving_history(entries) if item.version == version)


@pytest.fixture
def model(
    mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Served:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    name = f"rolled-back-{zlib.crc32(request.node.name.encode()):08x}"
    return Served(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)


def test_rollback_after_two_promotions_restores_the_first_and_tells_why(model: Served) -> None:
    model.serve(b"one", b"two")
    rollback = model.roll_back()
    assert (rollback.version, rollback.previous_version, rollback.approved_by) == ("1", "2", "grace")
    assert rollback.deployment == model.deployment("1")
    assert model.alias(CHAMPION) == "1"
    assert model.told()[-2:] == [("rollback", "1"), ("deployment", "1")]
    assert model.events[f"mlops://models/{model.model_name}"].extra["version"] == "1"
    entry = audit_trail().read(Chain.of_model(model.model_name)).entries[-2]
    assert (entry.happening.who, entry.happening.facts["reason"]) == ("grace", "All scores are 0.")
    assert audit_trail().read(Chain.of_model(model.model_name)).is_whole


def test_previous_does_not_return_to_what_was_rolled_back_unless_it_is_named(model: Served) -> None:
    model.serve(b"one", b"two", b"three")
    assert model.roll_back("first").version == "2"
    with pytest.raises(RollbackRefusedError, match=r"All scores are 0\. To undo that, give to='3'.*give to='1'"):
        model.roll_back("second")
    assert model.alias(CHAMPION) == "2"
    assert model.roll_back("third", to="3", reason="It was the feed.").version == "3"
    with pytest.raises(RollbackRefusedError, match=r"It was the feed\. To undo that, give to='2'.*give to='1'"):
        model.roll_back("fourth")  # Each of the two was left for a reason.


def test_deployment_and_time_name_what_served_as_well_as_a_version(model: Served) -> None:
    model.serve(b"one", b"two", b"three")
    since = serving_history(audit_trail().read(Chain.of_model(model.model_name)).entries)[0].since
    assert model.roll_back("by entry", to=f"#{model.deployment('1')}").version == "1"
    model.serve(b"four")
    assert model.roll_back("by time", to=since.isoformat()).version == "1"


def test_deleted_version_is_refused_and_the_next_one_further_back_named(model: Served) -> None:
    model.serve(b"one", b"two", b"three")
    model.delete("2")
    with pytest.raises(RollbackRefusedError, match=r"Version 2 .*was deleted\. Further back, .*give to='1'"):
        model.roll_back()
    assert model.alias(CHAMPION) == "3"
    assert model.roll_back("again", to="1").version == "1"
    model.serve(b"four")
    model.delete("1")
    with pytest.raises(RollbackRefusedError, match="Nothing further back is still in the registry"):
        model.roll_back("last", to="1")


def test_alias_that_was_moved_by_hand_is_told_and_recorded_when_it_is_accepted(model: Served) -> None:
    model.serve(b"one", b"two")
    third = model.register(model.train(b"three"))
    model.move_by_hand(third.version)
    drift = rf"alias champion of {model.model_name} names version 3, but the records say that version 2 serves since"
    with pytest.raises(RollbackRefusedError, match=rf"{drift}.*decided by Ada \(7\)\).*by hand.*To go on.*version 2"):
        model.roll_back()
    assert model.alias(CHAMPION) == "3"
    rollback = model.roll_back("again", accept_drift="True")
    assert (rollback.version, rollback.previous_version, len(rollback.drift)) == ("2", "3", 1)
    entry = audit_trail().read(Chain.of_model(model.model_name)).entries[-2]
    assert entry.happening.facts["drift"] == list(rollback.drift)
    assert "Accepted: The alias champion" in entry.happening.summary


def test_champion_that_was_deleted_is_drift_too(model: Served) -> None:
    model.serve(b"one", b"two")
    model.delete("2")
    with pytest.raises(RollbackRefusedError, match=r"names no version.*Version 2 was deleted from the registry"):
        model.roll_back(to="1")
    assert model.roll_back("again", to="1", accept_drift=True).version == "1"
    assert model.alias(CHAMPION) == "1"


def test_entry_that_was_altered_is_drift_too(model: Served, tmp_path: Path) -> None:
    model.serve(b"one", b"two")
    file = tmp_path / "store" / "audit" / "models" / model.model_name / "00000001.json"
    file.write_text(file.read_text().replace("registered", "stolen"))
    with pytest.raises(RollbackRefusedError, match=r"The records themselves are broken: Entry 1 .* was altered"):
        model.roll_back()
    assert model.roll_back("again", accept_drift=True).version == "1"


def test_changed_artifact_is_refused_and_the_next_one_further_back_named(model: Served) -> None:
    model.serve(b"one", b"two", b"three")
    two = model.mlflow.version(model.model_name, "2")
    run = model.folder / "other"
    run.mkdir()
    (run / "weights.bin").write_bytes(b"evil")
    uri = model.mlflow.tracking_uri
    MlflowClient(uri, uri).log_model_artifacts(two.source.rpartition("/")[2], str(run))
    with pytest.raises(RollbackRefusedError, match=r"have changed since it was registered.*Further back.*to='1'"):
        model.roll_back()
    model.mlflow.set_version_tags(two, {TAG_MODEL_DIGEST: "0" * 64})
    with pytest.raises(RollbackRefusedError, match="another digest than was recorded: 0000"):
        model.roll_back()
    assert model.alias(CHAMPION) == "3"
    assert ("rollback", "2") not in model.told()


@pytest.mark.parametrize("died", ["set_alias", "version_by_alias"])
def test_retry_carries_out_the_same_rollback_once(model: Served, died: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model.serve(b"one", b"two")
    real = getattr(MlflowEngine, died)

    def fail(self: MlflowEngine, *arguments: Any) -> Any:
        if died == "set_alias" or model.alias_is_moved:  # type: ignore[attr-defined] # of this test alone
            msg = "MLflow does not answer"
            raise MlflowUnavailableError(msg)
        return real(self, *arguments)

    moved = MlflowEngine.set_alias

    def note(self: MlflowEngine, *arguments: Any) -> None:
        moved(self, *arguments)
        model.alias_is_moved = True  # type: ignore[attr-defined] # of this test alone

    model.alias_is_moved = False  # type: ignore[attr-defined] # of this test alone
    with monkeypatch.context() as broken:
        broken.setattr(MlflowEngine, "set_alias", note)
        broken.setattr(MlflowEngine, died, fail)
        with pytest.raises(MlflowUnavailableError):
            model.roll_back()
    assert model.told()[-1] == ("rollback", "1")
    first = model.roll_back()
    assert (first.version, first.previous_version, model.alias(CHAMPION)) == ("1", "2", "1")
    told = model.told()
    assert model.roll_back() == first  # also after all was done
    assert model.told() == told
    assert told[-2:] == [("rollback", "1"), ("deployment", "1")]


def test_alias_that_moves_between_two_tries_is_left_alone(model: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    model.serve(b"one", b"two")

    def fail(*_: Any) -> None:
        msg = "MLflow does not answer"
        raise MlflowUnavailableError(msg)

    with monkeypatch.context() as broken:
        broken.setattr(MlflowEngine, "set_alias", fail)
        with pytest.raises(MlflowUnavailableError):
            model.roll_back()
    with pytest.raises(PromotionUnderWayError, match="is made the champion again in place of version 2"):
        model.roll_back("another run", to="1")
    model.move_by_hand(model.register(model.train(b"three")).version)
    with pytest.raises(RollbackRefusedError, match=r"names .* version 3 now, but it named 2"):
        model.roll_back()
    assert model.alias(CHAMPION) == "3"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"to": "9"}, r"No version of .* served as '9' says.*version 1 \(#\d+, "),
        ({"to": "#1"}, "served as '#1' says"),
        ({"to": "yesterday"}, "Give 'previous', one of these versions"),
        ({"to": "1999-01-01"}, "served as '1999-01-01' says"),
        ({"to": "1"}, "names it now, so there is nothing to return to"),
        ({}, "served before what serves now"),
        ({"reason": " "}, "say why"),
    ],
)
def test_what_never_served_is_refused_with_what_did(model: Served, arguments: dict[str, str], reason: str) -> None:
    model.serve(b"one")
    with pytest.raises(RollbackRefusedError, match=reason):
        model.roll_back(**arguments)
    assert model.told()[-1] == ("deployment", "1")


def test_model_without_records_is_refused(model: Served) -> None:
    model.register(model.train(b"one"))
    with pytest.raises(RollbackRefusedError, match=r"No deployment of .* is recorded"):
        model.roll_back()


def test_rollback_that_wants_an_approval_follows_the_one_that_was_given_to_its_plan(model: Served) -> None:
    model.serve(b"one", b"two", b"three")
    with pytest.raises(RollbackRefusedError, match="There is no approval: nobody answered"):
        model.roll_back(rules=RULES, approval=[None])  # marked as success by hand
    with pytest.raises(PromotionRefusedError, match="grace started the Dag run"):
        model.answer(user="grace")
    with pytest.raises(PromotionRefusedError, match="eve may not approve"):
        model.answer(user="eve")
    approval = model.answer().to_dict()
    with pytest.raises(RollbackRefusedError, match="ada approved something else: version 2"):
        model.roll_back(rules=RULES, approval=approval, to="1")
    with pytest.raises(RollbackRefusedError, match="The audit trail has no approval by ada"):
        model.roll_back(rules=RULES, approval={**approval, "comment": "forged"})
    rollback = model.roll_back(rules=RULES.to_dict(), approval=[approval])
    assert (rollback.version, rollback.approved_by, model.alias(CHAMPION)) == ("2", "ada", "2")
    assert model.roll_back(rules=RULES, approval=approval) == rollback


def test_approval_of_a_rollback_does_not_outlive_what_was_shown(model: Served) -> None:
    model.serve(b"one", b"two")
    approval = model.answer().to_dict()
    model.serve(b"three")
    with pytest.raises(RollbackRefusedError, match="ada approved something else: version 1"):
        model.roll_back(rules=RULES, approval=approval)
    with pytest.raises(PromotionRefusedError, match="The answer is to the decision"):
        model.answer(shown=approval["decision_digest"])
    assert model.alias(CHAMPION) == "3"


def test_reviewer_sees_where_to_why_and_the_drift_that_is_accepted(model: Served) -> None:
    model.serve(b"one", b"two")
    model.move_by_hand(model.register(model.train(b"three")).version)
    operator = RollbackApprovalOperator(
        task_id="approve", rules=RULES, model_name=model.model_name, reason="All scores are 0.", accept_drift="True"
    )
    decision, rules = operator.read(model.context(operator))
    text = operator.summarise(decision, model.mlflow, model.context(operator))
    assert text.startswith(f"**Back to** version 2 of `{model.model_name}`: entry {model.deployment('2')} of the audit")
    assert operator._subject(decision, rules) == f"Roll {model.model_name} back to version 2?"
    assert "> All scores are 0." in text
    assert "**Drift** The alias champion" in text
    assert f"[Now, in MLflow]({model.mlflow.version_url(model.model_name, '3')})" in text
    automatic = ApprovalRules(automatic=True, risk=Risk.LOW)
    assert not automatic.approves_by_itself(decision)
    model.move_by_hand("2")
    operator.accept_drift = False
    assert automatic.approves_by_itself(operator.read(model.context(operator))[0])
    assert rules == RULES
