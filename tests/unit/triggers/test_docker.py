"""What the triggerer stores of a trigger."""

import json
from datetime import UTC, datetime
from pkgutil import resolve_name

from airflow_mlops.domain.job import JobHandle, JobLimits
from airflow_mlops.triggers.docker import DockerJobTrigger


def test_a_trigger_is_the_same_after_it_was_stored() -> None:
    handle = JobHandle(
        work_key="a" * 32, job_id="b" * 64, started_at=datetime.now(UTC), image_digest="sha256:c", code_version=None
    )
    trigger = DockerJobTrigger(
        handle=handle.to_dict(),
        limits=JobLimits(memory_mb=64).to_dict(),
        run_id="run",
        docker_conn_id="farm",
        mlflow_conn_id="mlflow_default",
        keep_on_failure=True,
        secrets={"token": "var:api_token"},
    )
    name, arguments = trigger.serialize()
    again = resolve_name(name)(**json.loads(json.dumps(arguments)))
    assert (again.handle, again.limits) == (handle, JobLimits(memory_mb=64))
    assert again.serialize() == trigger.serialize()
