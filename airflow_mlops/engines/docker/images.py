"""Images on a host: found, or pulled, and known by what they are and from which source they were built."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops.engines.docker.containers import explain
from airflow_mlops.exceptions import ImageNotFoundError, ImageRegistryUnavailableError, InvalidInputError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

REVISION_LABEL = "org.opencontainers.image.revision"
_UNAVAILABLE = (
    r"\bHTTP (status: )?(408|429|5\d\d)\b|\b5\d\d (Internal|Bad|Service|Gateway)|too ?many ?requests|rate limit"
    r"|connection refused|connection reset|broken pipe|\bEOF\b|time(d )?out|deadline exceeded|awaiting headers"
    r"|no route to host|network is unreachable|server misbehaving|temporary failure|no space left on device"
)
"""Docker's words, for it has no codes: the registry, the way to it, or the host's disk is at fault."""


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
    :raises ImageRegistryUnavailableError: when it is not there, and its registry does not answer or asks to wait.
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
        problem = _pull(client, reference, login)
    except APIError as error:
        problem = explain(error)
    if not problem:
        return client.images.get(reference)
    is_absent = re.search(_UNAVAILABLE, problem, re.IGNORECASE) is None
    msg = (
        f"The image {reference} is not on the Docker host {address}, and cannot be pulled: {problem}. "
        f"{remedy if is_absent else 'See to the registry, or to the way to it.'}"
    )
    raise (ImageNotFoundError if is_absent else ImageRegistryUnavailableError)(msg)


def _pull(client: "DockerClient", reference: str, login: dict[str, Any] | None) -> str:
    """Pull an image, and return what went wrong under way. Docker has answered by then, and the SDK does not look."""
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(reference)
    problem = ""
    for step in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True, auth_config=login):
        problem = str(step.get("error", problem))
    return " ".join(problem.split()).rstrip(".")
