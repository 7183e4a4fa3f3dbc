"""Gate, approval and promotion on a real registry: the champion changes when everything agrees, and not otherwise."""

import json
import os
import signal
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseNotifier, Context
from airflow.sdk.exceptions import DownstreamTasksSkipped, TaskAwaitingInput

from airflow_mlops.domain.approval import Approval, ApprovalRules, GivenBy, OnTimeout, Risk
from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.evaluation import (
    Estimate,
    Evaluation,
    Evidence,
    JudgedModel,
    LearningTask,
    MetricComparison,
    evidence_path,
)
from airflow_mlops.domain.promotion import MetricGate, Promotion, PromotionDecision, PromotionPolicy
from airflow_mlops.domain.registry import (
    CHALLENGER,
    CHAMPION,
    TAG_AUDIT_HEAD,
    TAG_BACKEND,
    TAG_MODEL_DIGEST,
    ModelVersion,
)
from airflow_mlops.domain.training import Backend, TrainingResult
from airflow_mlops.engines.mlflow import MlflowEngine
from airflow_mlops.exceptions import (
    EvaluationError,
    InvalidInputError,
    MlflowUnavailableError,
    PromotionRefusedError,
    RegistryError,
)
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.storage import artifact_store
from airflow_mlops.operators.approval import PromotionApprovalOperator
from airflow_mlops.operators.promotion import PromoteModelOperator, PromotionGateOperator
from airflow_mlops.operators.registry import RegisterModelOperator
from tests.integration.faults import SERVER, arm

pytestmark = pytest.mark.integration

POLICY = PromotionPolicy(gates=(MetricGate(metric="roc_auc", at_least=0.7),))


REGISTRATION_KILLS = {
    "before the version is made": ("before", "mlflow.MlflowClient.create_model_version"),
    "after the version is made": ("after", "mlflow.MlflowClient.create_model_version"),
    "after the audit trail": ("after", "airflow_mlops.operators.audit.append_event"),
}


class Loop:
    """One model in the registry, and the tasks of one Dag run around it."""

    def __init__(self, mlflow: MlflowEngine, model_name: str, folder: Path) -> None:
        self.mlflow, self.model_name, self.folder = mlflow, model_name, folder
        self.started_by: str | None = None
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.events: dict[str, Any] = {}

    def context(self, operator: Any) -> Any:
        def push(key: str, value: Any) -> None:
            self.xcoms[operator.task_id, key] = json.loads(json.dumps(value))

        ti = SimpleNamespace(dag_id="loop", run_id="r", task_id=operator.task_id, map_index=-1, xcom_push=push, id="ti")
        events = {outlet: SimpleNamespace(extra=None) for outlet in operator.outlets}
        self.events |= {outlet.uri: event for outlet, event in events.items()}
        return {
            "ti": ti,
            "task": operator,
            "dag": SimpleNamespace(folder=str(self.folder)),
            "dag_run": SimpleNamespace(
                run_after=datetime(2026, 3, 1, tzinfo=UTC), triggering_user_name=self.started_by
            ),
            "outlet_events": events,
        }

    def train(
        self, content: bytes, *, signature: bool = True, takes: str = "double", column: str = "x", **known: Any
    ) -> TrainingResult:
        """Log a run with a model directory, as a training task leaves it."""
        model = self.folder / "model"
        model.mkdir(exist_ok=True)
        schema = f"""signature:
  inputs: '[{{"type": "{takes}", "name": "{column}", "required": true}}]'
  outputs: '[{{"type": "tensor", "tensor-spec": {{"dtype": "int64", "shape": [-1]}}}}]'
"""
        (model / "MLmodel").write_text(
            "flavors: {python_function: {loader_module: x}}\nmodel_uuid: 1\nutc_time_created: '2026-01-01 00:00:00'\n"
            + (schema if signature else "")
        )
        (model / "weights.bin").write_bytes(content)
        run = self.mlflow.start_run(
            experiment_name=self.model_name, run_name="train", work_key=content.hex().ljust(32, "0")[:32], tags={}
        )
        logged = self.mlflow.log_model(run, model, name="model", params={})
        self.mlflow.end_run(run.run_id, "FINISHED")
        result = TrainingResult(
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            model_uri=logged.uri,
            model_id=logged.model_id,
            model_digest=logged.digest,
            metrics={},
            dataset_name="flights",
            dataset_digest="f" * 64,
            dataset_uri="/data",
            backend=Backend.PROCESS,
            image=None,
            image_digest=None,
            code_version="abc123",
            work_key="0" * 32,
            job_seconds=1.0,
        )
        return replace(result, **known)

    def register(self, training: TrainingResult, **arguments: Any) -> ModelVersion:
        operator = RegisterModelOperator(
            task_id="register", model_name=self.model_name, training=training.to_dict(), **arguments
        )
        return ModelVersion.from_dict(operator.execute(self.context(operator)))

    def evidence(self, version: ModelVersion, roc_auc: float) -> Evidence:
        """Store an evaluation of a version against the champion of this moment."""
        champion = self.mlflow.version_by_alias(self.model_name, CHAMPION)
        value = Estimate(value=roc_auc, low=roc_auc, high=roc_auc)
        evaluation = Evaluation(
            model_name=self.model_name,
            candidate=JudgedModel(version=version.version, run_id=version.run_id, model_digest=version.model_digest),
            champion=(
                JudgedModel(version=champion.version, run_id=champion.run_id, model_digest=champion.model_digest)
                if champion
                else None
            ),
            dataset_name="holdout",
            dataset_digest="d" * 64,
            target="late",
            task=LearningTask.BINARY,
            rows=10,
            confidence_level=0.95,
            resamples=10,
            metrics=(MetricComparison(metric="roc_auc", higher_is_better=True, candidate=value),),
        )
        digest = evaluation.content_digest()
        file = artifact_store() / evidence_path(self.model_name, digest)
        file.write_json(evaluation.to_dict())
        return Evidence(
            uri=file.uri,
            digest=digest,
            evaluation=evaluation,
            report_uri=file.uri.replace(".json", ".html"),
            report_url=f"{self.mlflow.tracking_uri}/report",
        )

    def gate(self, evidence: Evidence, policy: Any = POLICY) -> PromotionDecision:
        operator = PromotionGateOperator(task_id="gate", evidence=evidence.reference().to_dict(), policy=policy)
        return PromotionDecision.from_dict(operator.execute(self.context(operator)))

    def approve(
        self, decision: PromotionDecision, option: str = "Approve", *, policy: PromotionPolicy = POLICY, **event: Any
    ) -> Approval:
        operator = PromotionApprovalOperator(task_id="approve", decision=decision.to_dict(), policy=policy)
        answer = {
            "chosen_options": [option],
            "params_input": {"comment": "looks right", "decision": decision.content_digest()},
            "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
            "responded_by_user": {"id": "7", "name": "Ada"},
            **event,
        }
        return Approval.from_dict(operator.execute_complete(self.context(operator), answer))

    def promote(self, decision: PromotionDecision, *approvals: Approval | None, **arguments: Any) -> Promotion:
        given = [approval and approval.to_dict() for approval in approvals]
        operator = PromoteModelOperator(
            decision=decision.to_dict(),
            approval=given if len(given) > 1 else given[0],
            **{"task_id": "promote", "model_name": self.model_name, "policy": POLICY, **arguments},
        )
        return Promotion.from_dict(operator.execute(self.context(operator)))

    def alias(self, alias: str) -> str | None:
        version = self.mlflow.version_by_alias(self.model_name, alias)
        return version.version if version else None


@pytest.fixture
def loop(mlflow_server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_server}))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    name = f"model-{zlib.crc32(request.node.name.encode()):08x}"  # The server is shared, and refuses some characters.
    return Loop(MlflowEngine(tracking_uri=mlflow_server), name, tmp_path)


@pytest.fixture
def candidate(loop: Loop) -> ModelVersion:
    return loop.register(loop.train(b"one"))


@pytest.fixture
def decision(loop: Loop, candidate: ModelVersion) -> PromotionDecision:
    return loop.gate(loop.evidence(candidate, 0.8))


@pytest.fixture
def approval(loop: Loop, decision: PromotionDecision) -> Approval:
    return loop.approve(decision)


def test_first_model_becomes_champion_with_its_story_on_the_version(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    assert loop.alias(CHALLENGER) == "1"
    promotion = loop.promote(decision, approval)
    assert (promotion.version, promotion.previous_version, promotion.approved_by) == ("1", None, "Ada")
    assert (loop.alias(CHAMPION), loop.alias(CHALLENGER)) == ("1", None)
    tags = loop.mlflow.version(loop.model_name, "1").tags
    assert (tags["airflow_mlops.promoted_by"], tags["airflow_mlops.promoted_by_id"]) == ("Ada", "7")
    assert tags["airflow_mlops.approval_comment"] == "looks right"
    assert tags["airflow_mlops.code_version"] == "abc123"
    assert loop.events[f"mlops://models/{loop.model_name}"].extra["version"] == "1"
    assert loop.xcoms["promote", "mlflow_model_version_url"].endswith(f"/models/{loop.model_name}/versions/1")


def test_better_model_replaces_the_champion_and_remembers_it(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    loop.promote(decision, approval)
    second = loop.register(loop.train(b"two"))
    judged = loop.gate(loop.evidence(second, 0.9))
    promotion = loop.promote(judged, loop.approve(judged))
    assert (promotion.version, promotion.previous_version) == ("2", "1")
    assert loop.alias(CHAMPION) == "2"


def test_retry_of_a_promotion_changes_nothing(loop: Loop, decision: PromotionDecision, approval: Approval) -> None:
    first = loop.promote(decision, approval)
    assert loop.promote(decision, approval) == first


def test_second_registration_of_a_training_finds_the_version(loop: Loop) -> None:
    training = loop.train(b"one")
    assert loop.register(training).version == loop.register(training).version == "1"


def test_version_knows_where_it_came_from(loop: Loop, candidate: ModelVersion) -> None:
    assert candidate.tags["airflow_mlops.dataset_digest"] == "f" * 64
    assert candidate.tags[TAG_BACKEND] == "process"
    assert candidate.tags["airflow_mlops.dag_run_id"] == "r"


def test_validation_of_other_data_is_refused(loop: Loop) -> None:
    training = loop.train(b"one")
    with pytest.raises(RegistryError, match="Give this task the validation of the training data"):
        loop.register(training, validation={"dataset_digest": "e" * 64, "suite_digest": "s", "success": True})


def test_suite_is_named_on_the_version_when_the_data_met_it(loop: Loop) -> None:
    validation = {"dataset_digest": "f" * 64, "suite_digest": "s" * 64, "success": True}
    met = loop.register(loop.train(b"one"), validation=validation)
    warned = loop.register(loop.train(b"two"), validation={**validation, "success": False})
    assert met.tags["airflow_mlops.suite_digest"] == "s" * 64
    assert "airflow_mlops.suite_digest" not in warned.tags


@pytest.mark.parametrize("point", REGISTRATION_KILLS.values(), ids=REGISTRATION_KILLS.keys())
def test_after_a_kill_the_retry_ends_with_one_version_and_one_entry(loop: Loop, point: tuple[str, str]) -> None:
    training = loop.train(b"one")
    process = SERVER.Process(target=_register, args=(loop, training, point, dict(os.environ)))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    version = loop.register(training)
    assert [found.version for found in loop.mlflow.versions(loop.model_name)] == [version.version]
    (entry,) = audit_trail().read(Chain.of_model(loop.model_name)).entries
    assert loop.mlflow.version(loop.model_name, version.version).tags[TAG_AUDIT_HEAD] == str(entry.head)


def _register(loop: Loop, training: TrainingResult, point: tuple[str, str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    arm(*point)
    loop.register(training)


def test_model_without_a_signature_is_not_registered(loop: Loop) -> None:
    training = loop.train(b"one", signature=False)
    with pytest.raises(RegistryError, match=r"has no signature\. Save it with one"):
        loop.register(training)
    assert loop.register(training, require_signature=False).version == "1"


def test_refused_model_is_a_verdict_that_is_kept_and_skips_what_follows(loop: Loop, candidate: ModelVersion) -> None:
    with DAG("gates", schedule=None):
        gate = PromotionGateOperator(
            task_id="gate", evidence=loop.evidence(candidate, 0.6).reference().to_dict(), policy=POLICY
        )
        gate >> PromotionApprovalOperator(task_id="approve", decision=gate.output, policy=POLICY)
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        gate.execute(loop.context(gate))
    assert skipped.value.tasks == ["approve"]
    kept = PromotionDecision.from_dict(loop.xcoms["gate", "return_value"])
    assert not kept.passed
    assert "must be at least 0.7, but is 0.6000" in kept.verdicts[0].reason
    assert loop.alias(CHALLENGER) is None


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_policy_may_be_a_file_beside_the_dag(loop: Loop, candidate: ModelVersion, suffix: str) -> None:
    text = '{"gates": [{"kind": "metric", "metric": "roc_auc", "at_least": 0.7}]}'  # JSON is YAML, too
    (loop.folder / f"policy{suffix}").write_text(text)
    assert loop.gate(loop.evidence(candidate, 0.8), policy=f"policy{suffix}") == loop.gate(
        loop.evidence(candidate, 0.8)
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.yaml", None, "missing.yaml cannot be read"),
        ("broken.json", "{", "broken.json is not JSON"),
        ("broken.yaml", "gates: [", "broken.yaml is not YAML"),
        ("unknown.yaml", "gates: []\nfirst: x", "unknown key 'first'"),
    ],
)
def test_policy_that_cannot_be_read_names_the_file(
    loop: Loop, candidate: ModelVersion, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (loop.folder / name).write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        loop.gate(loop.evidence(candidate, 0.8), policy=name)


def test_rejection_is_kept_and_skips_what_follows(loop: Loop, decision: PromotionDecision) -> None:
    with DAG("rejected", schedule=None):
        approve = PromotionApprovalOperator(task_id="approve", decision=decision.to_dict(), policy=POLICY)
        approve >> PromoteModelOperator(
            task_id="promote",
            decision=decision.to_dict(),
            approval=approve.output,
            policy=POLICY,
            model_name=loop.model_name,
        )
    event = {
        "chosen_options": ["Reject"],
        "params_input": {"comment": "too slow", "decision": decision.content_digest()},
        "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": "Ada"},
    }
    with pytest.raises(DownstreamTasksSkipped):
        approve.execute_complete(loop.context(approve), event)
    kept = Approval.from_dict(loop.xcoms["approve", "return_value"])
    assert (kept.approved, kept.comment, kept.responder_name) == (False, "too slow", "Ada")
    with pytest.raises(PromotionRefusedError, match=r"Ada \(7\) rejected it: too slow"):
        loop.promote(decision, kept)


def test_answer_to_another_decision_is_refused(loop: Loop, decision: PromotionDecision) -> None:
    with pytest.raises(PromotionRefusedError, match="start a new Dag run"):
        loop.approve(decision, params_input={"comment": "", "decision": "0" * 64})
    with pytest.raises(PromotionRefusedError, match="that it does not name"):
        loop.approve(decision, params_input={})


def test_reviewer_is_shown_the_candidate_its_gates_and_its_origin(loop: Loop, decision: PromotionDecision) -> None:
    operator = PromotionApprovalOperator(task_id="approve", decision=decision.to_dict(), policy=POLICY)
    text = operator.summarise(decision, loop.mlflow, loop.context(operator))
    assert "roc_auc is 0.8000, which clears the bar" in text
    assert "flights `ffffffffffff`" in text
    assert f"[Evaluation report]({loop.mlflow.tracking_uri}/report)" in text
    assert f"[Candidate in MLflow]({loop.mlflow.tracking_uri}/#/models/{loop.model_name}/versions/1)" in text


def test_approval_task_marked_as_success_by_hand_promotes_nothing(loop: Loop, decision: PromotionDecision) -> None:
    with pytest.raises(PromotionRefusedError, match="Was the approval task marked as success by hand"):
        loop.promote(decision, None)
    assert loop.alias(CHAMPION) is None


def test_approval_without_a_person_promotes_nothing(loop: Loop, decision: PromotionDecision) -> None:
    with pytest.raises(PromotionRefusedError, match="names no responder"):
        loop.approve(decision, responded_by_user=None)
    nobody = replace(loop.approve(decision), responder_id="", responder_name="")
    with pytest.raises(PromotionRefusedError, match="names no responder"):
        loop.promote(decision, nobody)


def test_version_whose_artifacts_changed_after_the_approval_is_refused(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    from mlflow import MlflowClient

    (loop.folder / "model" / "weights.bin").write_bytes(b"replaced")
    source = loop.mlflow.version(loop.model_name, "1").source
    MlflowClient(loop.mlflow.tracking_uri).log_model_artifacts(
        source.removeprefix("models:/"), str(loop.folder / "model")
    )
    with pytest.raises(RegistryError, match="have changed since it was registered"):
        loop.promote(decision, approval)
    assert loop.alias(CHAMPION) is None


def test_version_whose_digest_was_changed_after_the_approval_is_refused(
    loop: Loop, candidate: ModelVersion, decision: PromotionDecision, approval: Approval
) -> None:
    loop.mlflow.set_version_tags(candidate, {TAG_MODEL_DIGEST: "0" * 64})
    with pytest.raises(PromotionRefusedError, match="has changed since it was judged"):
        loop.promote(decision, approval)


def test_champion_that_moved_meanwhile_is_not_overwritten(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    other = loop.register(loop.train(b"other"))
    loop.mlflow.set_alias(other, CHAMPION)
    with pytest.raises(PromotionRefusedError, match="The champion is version 2 now"):
        loop.promote(decision, approval)
    assert loop.alias(CHAMPION) == "2"


def test_evidence_that_was_edited_in_the_store_is_refused(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    file = Path(decision.evidence_uri)
    file.write_text(file.read_text().replace("0.8", "0.9"))
    with pytest.raises(PromotionRefusedError, match="The evidence has changed"):
        loop.promote(decision, approval)


def test_gate_refuses_to_judge_evidence_that_was_edited(loop: Loop, candidate: ModelVersion) -> None:
    evidence = loop.evidence(candidate, 0.6)
    file = Path(evidence.uri)
    file.write_text(file.read_text().replace("0.6", "0.9"))
    with pytest.raises(EvaluationError, match="It was changed; run the evaluation again"):
        loop.gate(evidence)


def test_decision_about_another_model_is_refused(loop: Loop, decision: PromotionDecision, approval: Approval) -> None:
    with pytest.raises(PromotionRefusedError, match="but this task promotes another-model"):
        loop.promote(decision, approval, model_name="another-model")


def test_every_reason_is_named_at_once(loop: Loop, decision: PromotionDecision, approval: Approval) -> None:
    other = loop.register(loop.train(b"other"))
    loop.mlflow.set_alias(other, CHAMPION)
    stale = replace(approval, decision_digest="0" * 64)
    with pytest.raises(PromotionRefusedError, match=r"approved something else.* The champion is version 2 now"):
        loop.promote(decision, stale)


def test_unreachable_mlflow_is_worth_a_retry(
    loop: Loop, decision: PromotionDecision, approval: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": "http://127.0.0.1:9"}))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowUnavailableError, match="does not answer"):
        loop.promote(decision, approval)


# The rules of the policy ---------------------------------------------------------------------------------------------

GRACE = {"id": "8", "name": "Grace"}


def with_rules(**rules: Any) -> PromotionPolicy:
    return replace(POLICY, approval=ApprovalRules(**rules))


def test_two_seats_promote_with_both_names(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(approvals=2, approvers=("7", "8"))
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    ada = loop.approve(decision, policy=policy)
    with pytest.raises(PromotionRefusedError, match=r"2 different people.* Ada \(7\) alone"):
        loop.promote(decision, ada, policy=policy)
    with pytest.raises(PromotionRefusedError, match="Nobody counts twice"):
        loop.promote(decision, ada, replace(ada, seat=2), policy=policy)
    grace = loop.approve(decision, policy=policy, responded_by_user=GRACE)
    assert loop.promote(decision, ada, grace, policy=policy).approved_by == "Ada, Grace"
    assert loop.mlflow.version(loop.model_name, "1").tags["airflow_mlops.promoted_by_id"] == "7, 8"


def test_answer_of_somebody_else_fails_the_approval_and_promotes_nothing(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(approvers=("7",))
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    with pytest.raises(PromotionRefusedError, match=r"Grace \(8\) may not approve: the policy names 7"):
        loop.approve(decision, policy=policy, responded_by_user=GRACE)
    written_by_hand = replace(loop.approve(decision, policy=policy), responder_id="8", responder_name="Grace")
    with pytest.raises(PromotionRefusedError, match="may not approve"):
        loop.promote(decision, written_by_hand, policy=policy)


def test_who_started_the_run_cannot_approve_it(loop: Loop, decision: PromotionDecision) -> None:
    loop.started_by = "Ada"
    with pytest.raises(PromotionRefusedError, match="the policy lets nobody approve an own trigger"):
        loop.approve(decision)
    grace = loop.approve(decision, responded_by_user=GRACE)
    assert (grace.triggered_by, loop.promote(decision, grace).approved_by) == ("Ada", "Grace")


def test_role_is_asked_for_again_at_promotion(
    loop: Loop, candidate: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "Ada:admin,Grace:user")
    policy = with_rules(roles=("admin",))
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    ada = loop.approve(decision, policy=policy)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "Ada:user,Grace:admin")
    with pytest.raises(PromotionRefusedError, match=r"Ada \(7\) may not approve: the policy names members of admin"):
        loop.promote(decision, ada, policy=policy)


def test_policy_that_changed_after_the_gates_is_neither_asked_about_nor_promoted(
    loop: Loop, decision: PromotionDecision, approval: Approval
) -> None:
    changed = with_rules(allow_self_approval=True)
    with pytest.raises(PromotionRefusedError, match="The policy has changed since the gates ran"):
        loop.approve(decision, policy=changed)
    with pytest.raises(PromotionRefusedError, match="The policy has changed since the gates ran"):
        loop.promote(decision, approval, policy=changed)


def test_decision_that_was_edited_in_xcom_is_refused(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(risk=Risk.LOW, automatic=True)
    honest = policy.judge(loop.evidence(candidate, 0.6))
    edited = replace(honest, passed=True, verdicts=tuple(replace(item, passed=True) for item in honest.verdicts))
    operator = PromotionApprovalOperator(task_id="approve", decision=edited.to_dict(), policy=policy)
    with pytest.raises(PromotionRefusedError, match=r"otherwise of the same evidence: roc_auc ≥ 0\.7"):
        operator.execute(loop.context(operator))


def test_policy_approves_a_model_of_low_risk_without_asking(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(risk=Risk.LOW, automatic=True)
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    operator = PromotionApprovalOperator(task_id="approve", decision=decision.to_dict(), policy=policy)
    approval = Approval.from_dict(operator.execute(loop.context(operator)))
    assert (approval.given_by, approval.responder_id) == (GivenBy.POLICY, "")
    assert loop.promote(decision, approval, policy=policy).approved_by == "the policy (every gate passed)"


def test_who_may_answer_is_not_said_twice() -> None:
    with pytest.raises(ValueError, match="Passing assigned_users to ApprovalOperator is not allowed"):
        PromotionApprovalOperator(task_id="approve", decision={}, policy=POLICY, assigned_users=[])


class Notes(BaseNotifier):
    """Keeps what it is told."""

    template_fields = ("message",)

    def __init__(self, kept: list[str], message: str = "{{ approval.kind }}") -> None:
        super().__init__()
        self.kept, self.message = kept, message

    def notify(self, context: Context) -> None:
        self.kept.append(self.message)


def wait_over(loop: Loop, policy: PromotionPolicy, decision: PromotionDecision, hours: float, **notifiers: Any) -> Any:
    """Resume an approval that has waited so long, as the scheduler does."""
    with DAG("waits", schedule=None) as dag:
        operator = PromotionApprovalOperator(task_id="approve", decision=decision.to_dict(), policy=policy, **notifiers)
    asked_at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    event = {"error": "timeout", "error_type": "timeout"}
    context = loop.context(operator)
    context["dag"] = dag
    return operator.execute_complete(context, event, asked_at=asked_at, step=0)


def test_notices_that_are_due_at_once_are_all_sent_and_the_wait_goes_on(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(remind_after_hours=(1.0,), escalate_after_hours=2.0, deadline_hours=8.0)
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    team: list[str] = []
    boss: list[str] = []
    with pytest.raises(TaskAwaitingInput) as parked:
        wait_over(loop, policy, decision, 3.0, notifiers=[Notes(team)], escalation_notifiers=Notes(boss))
    assert (team, boss) == (["reminder"], ["escalation"])
    assert parked.value.kwargs is not None
    assert parked.value.kwargs["step"] == 2
    assert timedelta(hours=4) < parked.value.timeout < timedelta(hours=5)


def test_each_message_of_one_notifier_has_its_own_text(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(remind_after_hours=(1.0, 2.0), escalate_after_hours=3.0)
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    kept: list[str] = []
    notes = Notes(kept, "{{ approval.kind }} after {{ approval.hours }} hours")
    with pytest.raises(TaskAwaitingInput):
        wait_over(loop, policy, decision, 4.0, notifiers=notes, escalation_notifiers=notes)
    assert kept == ["reminder after 1.0 hours", "reminder after 2.0 hours", "escalation after 3.0 hours"]


def test_notifier_that_fails_does_not_end_the_question(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(remind_after_hours=(1.0,))
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    broken = Notes([], "{{ no_such_thing.at_all }}")
    with pytest.raises(TaskAwaitingInput) as parked:
        wait_over(loop, policy, decision, 2.0, notifiers=broken)
    assert parked.value.timeout is None


def test_deadline_fails_the_task_where_the_policy_says_so(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(deadline_hours=8.0, on_timeout=OnTimeout.FAIL)
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    with pytest.raises(PromotionRefusedError, match="Nobody answered within 8 hours"):
        wait_over(loop, policy, decision, 9.0)


def test_deadline_approves_a_model_of_low_risk_where_the_policy_says_so(loop: Loop, candidate: ModelVersion) -> None:
    policy = with_rules(deadline_hours=8.0, on_timeout=OnTimeout.APPROVE, risk=Risk.LOW)
    decision = loop.gate(loop.evidence(candidate, 0.8), policy)
    approval = Approval.from_dict(wait_over(loop, policy, decision, 9.0))
    assert loop.promote(decision, approval, policy=policy).approved_by == "the policy (after the deadline)"
