"""What operators that run jobs share: the rows of a snapshot on the worker's own disk."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
from airflow_mlops.exceptions import DatasetError
from airflow_mlops.hooks.storage import open_storage


@contextlib.contextmanager
def local_channel(snapshot: Snapshot) -> Iterator[Path]:
    """Give a local folder that holds a snapshot's Parquet parts and nothing else, for ``Job.channels``.

    :raises DatasetError: when the folder of the snapshot does not hold what its manifest says.
    """
    with open_storage(snapshot.uri).local() as stored, tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
        channel = Path(folder)
        for part in _manifest(snapshot).parts:
            file = stored / part.name
            found = file.stat().st_size if file.is_file() else None
            if found != part.size_bytes:
                state = "is missing" if found is None else f"has {found}"
                msg = (
                    f"{snapshot.uri}/{part.name} must have {part.size_bytes} bytes, but {state}. "
                    f"Remove the folder, and take the snapshot again."
                )
                raise DatasetError(msg)
            (channel / part.name).symlink_to(file.absolute())
        yield channel


def _manifest(snapshot: Snapshot) -> SnapshotManifest:
    manifest = SnapshotManifest.from_dict((open_storage(snapshot.uri) / "manifest.json").read_json())
    if manifest.digest != snapshot.digest:
        msg = (
            f"{snapshot.uri} holds the digest {manifest.digest}, but {snapshot.digest} was asked for. "
            f"A snapshot never changes: take it again, and give this task the result."
        )
        raise DatasetError(msg)
    return manifest
