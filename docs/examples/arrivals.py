"""Take a snapshot of the files that have come, and check it."""

from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_mlops.operators.new_data import NewDataSnapshotOperator
from airflow_mlops.operators.validation import DataValidationOperator
from airflow_mlops.triggers.new_data import NewDataTrigger

arrivals = Asset(
    "flight-arrivals",
    watchers=[AssetWatcher(name="files", trigger=NewDataTrigger(address="s3://lake@flights/in/**/*.parquet"))],
)

with DAG(dag_id="arrivals", schedule=[arrivals]):
    snapshot = NewDataSnapshotOperator(task_id="snapshot", dataset_name="flights-arrived")
    DataValidationOperator(task_id="validate", dataset=snapshot.output, suite="expectations/flights.json")
