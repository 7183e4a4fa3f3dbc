"""Deploy what serves, whoever moved the alias, forth or back."""

from typing import Any

from airflow.sdk import DAG, Variable, task

from airflow_mlops.sensors.registry import ModelAliasSensor


@task
def deploy(version: dict[str, Any]) -> None:
    """Load ``version["source"]`` into what answers requests, then remember it."""
    Variable.set("churn_deployed", version["version"])


with DAG("follow_churn", schedule="@continuous", catchup=False, max_active_runs=1):
    champion = ModelAliasSensor(
        task_id="champion",
        model_name="churn",
        other_than="{{ var.value.get('churn_deployed', '') }}",
        deferrable=True,
    )
    deploy(champion.output)
