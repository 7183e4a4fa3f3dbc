"""Return to a version that served before, by the records of what was deployed.

Trigger it with the model and the reason. Which version: `previous`, or one that served, such as `3`; the entry of its
deployment, such as `#7`; or a time, such as `2026-03-01T12:00`, for what served then (UTC). Nothing is done when the
records and the registry do not agree, until you accept it.
"""

from airflow.sdk import DAG, Param

from airflow_mlops.domain.approval import ApprovalRules
from airflow_mlops.operators.rollback import RollbackApprovalOperator, RollbackModelOperator

# Who must agree. With None, whoever may trigger this Dag rolls back at once.
APPROVAL: ApprovalRules | None = None  # or ApprovalRules(approvals=1, approvers=("grace",))

with DAG(
    dag_id="model_rollback",
    description="Make a version the champion again that served before.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["mlops"],
    default_args={"retries": 2, "retry_delay": 30},
    params={
        "model": Param("flight-delays", type="string", minLength=1, title="Model", description="The registered model."),
        "reason": Param(
            None,
            type="string",
            minLength=3,
            title="Why",
            description="Recorded in the audit trail, and shown to whoever wants to come back to what you leave now.",
        ),
        "to": Param(
            "previous",
            type="string",
            title="Back to",
            description="previous; or a version that served (3), the entry of its deployment (#7), or a time.",
        ),
        "accept_drift": Param(
            default=False,
            type="boolean",
            title="Accept drift",
            description="Go on although the alias names another version than the records say. It is recorded.",
        ),
    },
) as dag:
    rollback = {
        "model_name": "{{ params.model }}",
        "to": "{{ params.to }}",
        "reason": "{{ params.reason }}",
        "accept_drift": "{{ params.accept_drift }}",
    }
    approval = None
    if APPROVAL is not None:
        approve = RollbackApprovalOperator.partial(task_id="approve", rules=APPROVAL, **rollback)
        approval = approve.expand(seat=list(range(1, APPROVAL.approvals + 1))).output
    RollbackModelOperator(task_id="roll_back", approval=approval, rules=APPROVAL, **rollback)
