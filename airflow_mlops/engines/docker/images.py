"""Images on a host: found, or pulled, and known by what they are and from which source they were built."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops.engines.docker.containers import explain
from airflow_mlops.exceptions import ImageNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

REVISION_LABEL = "org.opencontainers.image.revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which image a job ran, and from which source it was built."""

    digest: str
    revision: str | None

    @classmethod
    def of(cls, image: "Image", reference: str) -> "Origin":
        """Prefer the digest under the name that was asked for: other hosts can pull it. A local image has its id."""
        digests: list[str] = image.attrs.get("RepoDigests") or []
        named = [digest for digest in digests if reference.startswith(digest.partition("@")[0])]
        return cls(digest=(named or digests or [str(image.id)])[0], revision=image.labels.get(REVISION_LABEL) or None)


def find_image(client: "DockerClient", reference: str | None, *, address: str, login: dict[str, Any] | None) -> "Image":
    """Return the image of this name, digest or id, which is pulled if it is not there.

    :param login: user name and password at the registry.
    :raises InvalidInputError: when no image is named.
    :raises ImageNotFoundError: when it is neither there nor to be pulled.
    """
    from docker.errors import APIError, ImageNotFound

    if not reference:
        msg = "A job on a Docker host needs an image."
        raise InvalidInputError(msg)
    try:
        return client.images.get(reference)
    except ImageNotFound:
        pass
    remedy = "Build it there, push it to a registry that the host can reach, or correct the name."
    if reference.startswith("sha256:"):
        msg = f"The image {reference} is not on the Docker host {address}, and an id cannot be pulled. {remedy}"
        raise ImageNotFoundError(msg)
    try:
        return client.images.pull(reference, auth_config=login)
    except APIError as error:
        msg = (
            f"The image {reference} is not on the Docker host {address}, "
            f"and cannot be pulled: {explain(error)}. {remedy}"
        )
        raise ImageNotFoundError(msg) from error
