"""How the container of a job is set up: what it runs, as whom, and within which limits."""

from collections.abc import Sequence
from typing import Any, cast

from airflow_mlops.domain.job import (
    BASE_DIR,
    LABEL_FINGERPRINT,
    LABEL_INPUT_BYTES,
    LABEL_SCRATCH_BYTES,
    LABEL_SECRETS,
    LABEL_WALL_SECONDS,
    LABEL_WORK_KEY,
    Job,
)

JOB_USER = 1000
"""User and group id that a job runs as, and that owns its files."""


def container_settings(job: Job, image: str) -> dict[str, Any]:
    """Return the container's settings.

    :param image: name, digest or id of an image on the host.
    """
    from docker.types import DeviceRequest, LogConfig, Ulimit

    limits = job.limits
    memory = f"{limits.memory_mb}m"
    settings: dict[str, Any] = {
        "image": image,
        "command": [job.command.value],
        "name": container_name(job.work_key),  # A name is unique on the host, so two tries cannot both start.
        "labels": {
            **job.labels,
            LABEL_WORK_KEY: job.work_key,
            LABEL_FINGERPRINT: job.fingerprint,
            LABEL_SCRATCH_BYTES: str(limits.scratch_bytes),
            LABEL_INPUT_BYTES: str(job.input_bytes()),
            LABEL_WALL_SECONDS: f"{limits.wall_seconds:.0f}",
            **({LABEL_SECRETS: ",".join(sorted(job.secrets))} if job.secrets else {}),
        },
        "environment": {"HOME": "/tmp", **job.environment_at(BASE_DIR)},  # noqa: S108 - the job's own file system
        "user": f"{JOB_USER}:{JOB_USER}",
        "network_mode": job.network or "none",
        "mem_limit": memory,
        "memswap_limit": memory,  # memory and swap together: no swap
        "nano_cpus": int(limits.cpus * 1e9),
        "pids_limit": limits.processes,
        "read_only": True,
        "tmpfs": {"/tmp": f"size={limits.scratch_mb}m,mode=1777"},  # noqa: S108 - the job's own file system
        "volumes": [BASE_DIR],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ulimits": [
            Ulimit(name="fsize", soft=limits.scratch_bytes, hard=limits.scratch_bytes),
            Ulimit(name="core", soft=0, hard=0),
        ],
        # The host's own default may keep a log without bounds, or where it cannot be read again.
        "log_config": LogConfig(type="json-file", config={"max-size": "50m", "max-file": "2"}),
        "init": True,  # Process 1 ignores a request to stop that it does not handle; an init passes it on.
    }
    if job.gpus:
        is_list = not isinstance(job.gpus, (int, str))
        count = -1 if job.gpus == "all" else job.gpus  # -1 is Docker's word for all
        which = {"device_ids": list(cast("Sequence[str]", job.gpus))} if is_list else {"count": count}
        settings["device_requests"] = [DeviceRequest(capabilities=[["gpu"]], **which)]
    return settings | ({"entrypoint": list(job.program)} if job.program else {})


def container_name(work_key: str) -> str:
    """Return the name of the container that does this work."""
    return f"airflow-mlops-{work_key}"
