"""Jobs in containers of Docker hosts.

``engine`` runs a job for a worker that waits, ``watch`` follows many of them in one event loop for a triggerer.
"""

from airflow_mlops.engines.docker.engine import DockerEngine
from airflow_mlops.engines.docker.images import REVISION_LABEL

__all__ = ["REVISION_LABEL", "DockerEngine"]
