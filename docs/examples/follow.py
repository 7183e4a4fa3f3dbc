from typing import Any

from airflow.sdk import DAG, Variable, task

from airflow_mlops.sensors.registry import ModelAliasSensor


@task
def deploy(version: dict[str, Any]) -> None:
    print(f"Deploy {version['source']}, SHA-256 {version['tags']['airflow_mlops.model_digest']}")
    Variable.set("churn_deployed", version["version"])


with DAG("follow_churn", schedule="@continuous", catchup=False, max_active_runs=1):
    champion = ModelAliasSensor(
        task_id="champion",
        model_name="churn",
        other_than="{{ var.value.get('churn_deployed', '') }}",
        deferrable=True,
    )
    deploy(champion.output)
