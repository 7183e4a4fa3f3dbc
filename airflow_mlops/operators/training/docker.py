"""Train in a container of a Docker host; the worker waits for it, or is freed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow.sdk import Context

from airflow_mlops.domain.dataset import Snapshot
from airflow_mlops.domain.job import Gpus, Job, require_digest
from airflow_mlops.domain.training import Backend
from airflow_mlops.operators.training.base import TrainModelOperator
from airflow_mlops.operators.training.deferral import DeferrableTrainingOperator


class DockerTrainingOperator(DeferrableTrainingOperator):
    """Train in a container of a Docker host: no network unless asked for, read-only, not as root, with hard limits.

    Further parameters: see :class:`TrainModelOperator` and :class:`DeferrableTrainingOperator`.

    :param image: image that fulfils the job contract; pulled if the host does not have it (templated).
    :param program: program and arguments before ``train``, in place of the image's entrypoint.
    :param network: Docker network to join; none at all by default.
    :param gpus: how many GPUs, ``"all"``, or a list of their ids on the host; none by default.
    :param require_digest: refuse an image that is named by a tag, which may be another one tomorrow.

    :raises ImageNotFoundError: when the image is neither on the host nor to be pulled.
    :raises ImageRegistryUnavailableError: when it cannot be pulled at this moment.
    :raises DockerUnavailableError: when the host does not answer.
    """

    template_fields: Sequence[str] = (*TrainModelOperator.template_fields, "image")

    backend = Backend.DOCKER

    def __init__(
        self,
        *,
        image: str,
        program: Sequence[str] = (),
        network: str | None = None,
        gpus: Gpus = 0,
        require_digest: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image = image
        self.program = program
        self.network = network
        self.gpus = gpus
        self.require_digest = require_digest

    def job(self, snapshot: Snapshot, channel: Path, context: Context) -> Job:
        """Return the job in its image."""
        if self.require_digest:
            require_digest(self.image)
        job = super().job(snapshot, channel, context)
        gpus = tuple(self.gpus) if isinstance(self.gpus, list) else self.gpus
        return replace(job, image=self.image, program=tuple(self.program), network=self.network, gpus=gpus)
