"""Promotions of evidence that is there already: what comes before an approval is tested elsewhere."""

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseNotifier, Context, Param

from airflow_mlops.domain.approval import ApprovalRules, Risk
from airflow_mlops.domain.promotion import MetricGate, PromotionPolicy
from airflow_mlops.operators.approval import PromotionApprovalOperator
from airflow_mlops.operators.promotion import PromoteModelOperator, PromotionGateOperator

GATES = (MetricGate(metric="roc_auc", at_least=0.7),)
SECONDS = 1 / 3600
RULES = {
    "two_people": ApprovalRules(approvals=2, roles=("admin",), reason_codes=("better", "fix")),
    "one_person": ApprovalRules(approvers=("reviewer", "grace")),
    "looked_at": ApprovalRules(approvers=("grace",)),
    "nobody": ApprovalRules(risk=Risk.LOW, automatic=True),
    "rolled_back": ApprovalRules(risk=Risk.LOW, automatic=True),
    "in_time": ApprovalRules(
        remind_after_hours=(10 * SECONDS,), escalate_after_hours=20 * SECONDS, deadline_hours=30 * SECONDS
    ),
}


class Mailbox(BaseNotifier):
    """Leaves each message in a file, where a test finds it."""

    template_fields = ("message",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.message = name + ": {{ approval.kind }} of {{ approval.subject }} at {{ approval.url }}"

    def notify(self, context: Context) -> None:
        with (Path(os.environ["AIRFLOW_HOME"]) / "mailbox.txt").open("a") as file:
            file.write(f"{self.message}\n")


for name, rules in RULES.items():
    policy = PromotionPolicy(gates=GATES, approval=rules)
    with DAG(name, schedule=None, params={"evidence": Param({}, type="object")}, render_template_as_native_obj=True):
        gate = PromotionGateOperator(task_id="gate", evidence="{{ params.evidence }}", policy=policy)
        asked: dict[str, Any] = {"task_id": "approve", "decision": gate.output, "policy": policy}
        asked |= {"notifiers": [Mailbox("team")], "escalation_notifiers": [Mailbox("boss")]}
        approve = (
            PromotionApprovalOperator.partial(**asked).expand(seat=[1, 2])
            if rules.approvals > 1
            else PromotionApprovalOperator(**asked)
        )
        PromoteModelOperator(
            task_id="promote", decision=gate.output, approval=approve.output, policy=policy, model_name=name
        )
