"""A Dag that follows a model: it waits in the triggerer until another version serves."""

from airflow.sdk import DAG, Param

from airflow_mlops.sensors.registry import ModelAliasSensor

with DAG("follow", schedule=None, params={"model": Param("", type="string"), "serving": Param("", type="string")}):
    ModelAliasSensor(
        task_id="champion",
        model_name="{{ params.model }}",
        other_than="{{ params.serving }}",
        poke_interval=2,
        deferrable=True,
    )
