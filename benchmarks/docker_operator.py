"""What one writes oneself with Airflow's DockerOperator, to train in a container and have it in MLflow."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from docker.types import Mount
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, LoggedModelOutput, Metric, Param


class LoggedDockerOperator(DockerOperator):
    """Train on a snapshot in a folder that is mounted, and log parameters, data, metrics and model to MLflow.

    The same memory and CPUs, no network, and no container left in the end. A mount is quicker than a copy, and works
    where the worker is the Docker host. As after ``mlflow.log_model``, the run lists its model, and the task returns
    both ids, so that another can register it. MLflow gets everything by as few requests as its client can.

    What it leaves out: it does not look whether the data are what they were, knows neither which image a tag meant nor
    what the job used, and a failed training leaves no run. A retry trains again.
    """

    def __init__(
        self,
        *,
        snapshot: dict[str, Any],
        tracking_uri: str,
        experiment_name: str,
        hyperparameters: dict[str, str],
        **kwargs: Any,
    ) -> None:
        super().__init__(mount_tmp_dir=False, network_mode="none", auto_remove="success", **kwargs)
        self.snapshot = snapshot
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.hyperparameters = hyperparameters

    def execute(self, context: Context) -> dict[str, str]:  # type: ignore[override]  # It returns what was printed.
        """Lay out the inputs, run the container, and log what it left."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("input/config", "input/data/train", "model", "output/data"):
                (folder / part).mkdir(parents=True)
            (folder / "input/config/hyperparameters.json").write_text(json.dumps(self.hyperparameters))
            for file in Path(self.snapshot["uri"].removeprefix("file://")).glob("*.parquet"):
                shutil.copy(file, folder / "input/data/train")
            self.mounts = [Mount("/opt/ml", name, type="bind")]
            super().execute(context)
            return self.log_training(folder)

    def log_training(self, folder: Path) -> dict[str, str]:
        """Log it as one MLflow run with one model."""
        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name(self.experiment_name)
        assert experiment is not None  # noqa: S101 - the other side has made it
        run = client.create_run(experiment.experiment_id, run_name="theirs", tags={"image": self.image})
        run_id = run.info.run_id
        dataset = Dataset(self.snapshot["dataset_name"], self.snapshot["digest"][:36], "local", self.snapshot["uri"])
        client.log_inputs(run_id, [DatasetInput(dataset, [])])
        metrics = json.loads((folder / "output/data/metrics.json").read_text())
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, run.info.start_time, 0) for key, value in metrics.items()],
            params=[Param(key, value) for key, value in self.hyperparameters.items()],
        )
        model = client.create_logged_model(experiment.experiment_id, name="model", source_run_id=run_id)
        client.log_model_artifacts(model.model_id, str(folder / "model"))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.set_terminated(run_id, "FINISHED")
        return {"run_id": run_id, "model_id": model.model_id}
