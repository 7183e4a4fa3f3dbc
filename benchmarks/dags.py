"""Dags and data for the benchmarks, in an Airflow of their own."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_mlops.operators.dataset import DatasetSnapshotOperator


def read_dags(name: str, code: str, constants: Mapping[str, object]) -> dict[str, Any]:
    """Write a Dag file with these constants, let Airflow read it, and return its Dags by their ids."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text("".join(f"{key} = {value!r}\n" for key, value in constants.items()) + code)
    bag = DagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    if bag.import_errors:
        raise RuntimeError(str(bag.import_errors))
    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
    sync_bag_to_db(bag, "dags-folder", None)
    return dict(bag.dags)


def take_snapshot(folder: Path) -> dict[str, Any]:
    """Take a snapshot of a few rows."""
    (folder / "rows.csv").write_text("n\n" + "\n".join(map(str, range(1000))))
    operator = DatasetSnapshotOperator(task_id="take", dataset_name="rows", source=str(folder / "rows.csv"))
    ti = SimpleNamespace(dag_id="benchmark", run_id="once", task_id="take", map_index=-1)
    context: Any = {"ti": ti, "outlet_events": {operator.asset: SimpleNamespace(extra=None)}}
    return operator.execute(context)
