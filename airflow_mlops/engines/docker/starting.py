"""How a job gets its container: the one that an earlier try left, or a new one with the job's inputs in it."""

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlops.domain.job import BASE_DIR, LABEL_FINGERPRINT, LABEL_PREPARED_SECONDS, Job, JobState
from airflow_mlops.domain.polling import WallLimit
from airflow_mlops.engines.archive import pack
from airflow_mlops.engines.docker.collecting import judge_container
from airflow_mlops.engines.docker.containers import (
    CONFLICT,
    NOT_FOUND,
    explain,
    find_containers,
    remove_container,
)
from airflow_mlops.engines.docker.images import find_image
from airflow_mlops.engines.docker.settings import JOB_USER, container_settings
from airflow_mlops.exceptions import InvalidInputError, TransientError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStart:
    """Makes and starts the container of one job."""

    client: "DockerClient"
    job: Job
    address: str
    """The host's, in words."""
    login: dict[str, str | None] | None
    """User name and password at the registry that images are pulled from."""
    wall_limit: WallLimit
    job_id: str | None
    """Attach to this container alone."""

    def obtain(self, prepared: str = "") -> "Container":
        """Return the container of an earlier try, or a new one that is not started.

        It is made at once, as if image and name were there to be used, since most often they are. Each question saved
        is a round trip to the host.

        :param prepared: id of a container that was made before.
        :raises ImageNotFoundError: when the image is neither there nor to be pulled.
        :raises TransientError: when another try makes the container at this moment.
        """
        from docker.errors import APIError, NotFound

        if prepared:
            with contextlib.suppress(NotFound):
                return self.client.containers.get(prepared)
        begun = time.monotonic()
        if self.job.image:
            try:
                return self._create(self.job.image, 0.0)
            except APIError as error:
                if error.status_code not in {CONFLICT, NOT_FOUND}:
                    raise
        if (found := self._attachable()) is not None:
            return found
        image = find_image(self.client, self.job.image, address=self.address, login=self.login)
        try:
            return self._create(str(image.id), time.monotonic() - begun)
        except APIError as error:
            if error.status_code != CONFLICT:
                raise
            msg = f"Another try of work {self.job.work_key} is starting its job on {self.address} at this moment."
            raise TransientError(msg) from error

    def start(self, container: "Container") -> None:
        """Start the new container. One that cannot be started is removed."""
        from docker.errors import APIError

        try:
            container.start()
        except BaseException as error:
            with contextlib.suppress(Exception):  # The first error says more.
                remove_container(self.client, str(container.id))
            if self.job.gpus and isinstance(error, APIError) and "device" in str(error):
                msg = (
                    f"The Docker host {self.address} cannot give the job its GPUs (gpus={self.job.gpus!r}): "
                    f"{explain(error)}. Install the NVIDIA Container Toolkit there, or run the job elsewhere."
                )
                raise InvalidInputError(msg) from error
            raise

    def _attachable(self) -> "Container | None":
        """Return the container of an earlier try that runs or can be collected, and remove any other of this key.

        One that was stopped from outside can not: that is what a retry cures. Nor one that was not started, since the
        try may have died before it had all its inputs.
        """
        found = None
        for container in find_containers(self.client, self.job.work_key, self.job_id):
            is_useful = container.attrs["State"]["Running"] or (
                container.status == "exited" and judge_container(container, self.wall_limit, "") is not JobState.STOPPED
            )
            if found is None and is_useful and container.labels.get(LABEL_FINGERPRINT) == self.job.fingerprint:
                found = container
            else:
                remove_container(self.client, str(container.id))
        return found

    def _create(self, image: str, prepared_seconds: float) -> "Container":
        """Make the container, and copy its inputs into it.

        :param prepared_seconds: how long it took to get the image.
        """
        settings = container_settings(self.job, image)
        settings["labels"][LABEL_PREPARED_SECONDS] = f"{prepared_seconds:.3f}"
        container = self.client.containers.create(**settings)
        try:
            container.put_archive(BASE_DIR, pack(self.job, owner=JOB_USER))
        except BaseException:
            with contextlib.suppress(Exception):  # The first error says more.
                remove_container(self.client, str(container.id))
            raise
        return container
