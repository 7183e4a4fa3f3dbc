"""Registered models: their versions, aliases and files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.engines.fsspec import tree_digest
from airflow_mlops.engines.mlflow.server import MlflowServer, is_unreachable
from airflow_mlops.exceptions import RegistryError


class MlflowRegistry(MlflowServer):
    """The registry of a server."""

    def register(
        self, *, model_name: str, run_id: str, model_id: str, source: str, tags: Mapping[str, str], description: str
    ) -> tuple[ModelVersion, bool]:
        """Return the version that this run's model has in the registry, made if need be, and whether it was made."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                client.create_registered_model(model_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = [
                version
                for version in client.search_model_versions(f"name = '{model_name}' and run_id = '{run_id}'")
                if version.source == source
            ]
            if found:
                return _version(min(found, key=lambda version: int(version.version))), False
            made = client.create_model_version(
                model_name, source, run_id=run_id, model_id=model_id, tags=dict(tags), description=description
            )
            return _version(client.get_model_version(model_name, made.version)), True

    def version(self, model_name: str, version: str) -> ModelVersion:
        """Return one version with its tags of this moment.

        :raises RegistryError: when there is no such version.
        """
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                return _version(client.get_model_version(model_name, version))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                msg = f"{model_name} version {version} is not in the registry at {self.tracking_uri}. Was it deleted?"
                raise RegistryError(msg) from error

    def versions(self, model_name: str) -> tuple[ModelVersion, ...]:
        """Return every version of a model with its tags of this moment; none when there is no such model."""
        found: list[ModelVersion] = []
        token: str | None = None
        with self._client() as client:
            while True:
                page = client.search_model_versions(f"name = '{model_name}'", page_token=token)
                found += [_version(version) for version in page]
                token = page.token
                if not token:
                    return tuple(found)

    def version_by_alias(self, model_name: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias names, or ``None`` where the model or the alias does not exist."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                return _version(client.get_model_version_by_alias(model_name, alias))
            except MlflowException as error:
                # A missing alias is, surprisingly, an invalid parameter value.
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise

    def find_version(self, model_name: str, is_wanted: Callable[[ModelVersion], bool]) -> ModelVersion | None:
        """Return the newest version that is wanted, or ``None``. Only as many are read as it takes."""
        token: str | None = None
        with self._client() as client:
            while True:
                page = client.search_model_versions(
                    f"name = '{model_name}'", order_by=["version_number DESC"], page_token=token
                )
                found = next((item for item in map(_version, page) if is_wanted(item)), None)
                token = page.token
                if found is not None or not token:
                    return found

    def has_model(self, model_name: str) -> bool:
        """Whether the registry knows a model."""
        from mlflow.exceptions import MlflowException

        with self._client() as client:
            try:
                client.get_registered_model(model_name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return True

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        """Point an alias at a version. MLflow has no compare-and-set: the last writer wins."""
        with self._client() as client:
            client.set_registered_model_alias(version.model_name, alias, version.version)

    def delete_alias(self, model_name: str, alias: str) -> None:
        """Remove an alias; nothing happens when there is none."""
        with self._client() as client:
            client.delete_registered_model_alias(model_name, alias)

    def set_version_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Set tags of a model version."""
        with self._client() as client:
            for name, value in tags.items():
                client.set_model_version_tag(version.model_name, version.version, name, value)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Download the model directory of a version into ``folder``, and return where it is.

        :raises RegistryError: when the artifacts are gone, or are not what was registered.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        folder.mkdir(parents=True, exist_ok=True)
        with self._client():
            try:
                path = Path(
                    download_artifacts(
                        artifact_uri=version.source, dst_path=str(folder), tracking_uri=self.tracking_uri
                    )
                )
            except (MlflowException, OSError) as error:
                if is_unreachable(error):
                    raise
                msg = f"The artifacts of {version} cannot be read from {version.source}: {error}"
                raise RegistryError(msg) from error
        (path / "registered_model_meta").unlink(missing_ok=True)  # MLflow adds it to what it downloads.
        found = tree_digest(path)
        if found != version.model_digest:
            msg = (
                f"The artifacts of {version} at {version.source} have changed since it was registered: their digest "
                f"is {found}, but {version.model_digest} was registered. Train and register a new version."
            )
            raise RegistryError(msg)
        return path

    def version_url(self, model_name: str, version: str) -> str:
        """Return the address of a model version's page in the MLflow UI."""
        return f"{self._ui}/#/models/{quote(model_name, safe='')}/versions/{version}"


def _version(version: Any) -> ModelVersion:
    return ModelVersion(
        model_name=version.name,
        version=str(version.version),
        run_id=version.run_id or "",
        source=version.source,
        tags=dict(version.tags),
    )
