"""Snapshots in the artifact store: their sources found, published whole or not at all, read by their manifest.

A local store gets a snapshot by one rename of a folder. An object store gets the parts first, under names that no
other task uses, then the manifest by a conditional write: of two tasks that write the same snapshot at once one wins,
and what the other wrote is removed. Readers follow the manifest, so they never take a part that it does not name.
"""

import contextlib
import json
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_mlops.domain.dataset import MANIFEST, PartFile, SnapshotManifest, is_hidden, source_format
from airflow_mlops.engines.fsspec import Storage, file_digest
from airflow_mlops.exceptions import DatasetError, InvalidInputError, NoRowsError, StorageUnavailableError

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSnapshot:
    """A snapshot whose files lie on this machine."""

    folder: Path
    manifest: SnapshotManifest

    @property
    def parts(self) -> list[Path]:
        """The Parquet files, in order."""
        return [self.folder / part.name for part in self.manifest.parts]


def split_pattern(address: str) -> tuple[str, str]:
    """Split an address into its fixed folder and the glob pattern below it, which is empty when there is none."""
    magic = _MAGIC.search(address)
    if magic is None:
        return address, ""
    cut = address.rfind("/", 0, magic.start()) + 1
    return address[:cut] or ".", address[cut:]


def find_sources(place: Storage, pattern: str = "") -> list[Storage]:
    """Return the data files: the file at ``place``, those below the folder, or those that match ``pattern`` in it.

    They are sorted by path. In folders, names that begin with ``.`` or ``_`` are left out: so Spark and Hadoop mark
    files that are no data.

    :raises DatasetError: when nothing is there, or something that cannot be read as it is meant.
    """
    address = f"{place.uri.rstrip('/')}/{pattern}" if pattern else place.uri
    if not pattern and not place.is_folder():
        if not place.exists():
            msg = f"Nothing is at {address}. Check the path, and the connection that it names."
            raise NoRowsError(msg)
        _check_formats([place])
        return [place]
    found = place.glob(pattern) if pattern else place.files()
    files = {path: file for path, file in found.items() if not is_hidden(path)}
    if not files:
        ignored = f", but for {len(found)} hidden files" if found else ""
        msg = f"No file {'matches' if pattern else 'lies in'} {address}{ignored}. Expected .csv, .csv.gz or .parquet."
        raise NoRowsError(msg)
    _check_formats(files.values())
    _check_no_table(address, found)
    return list(files.values())


def _check_formats(files: Iterable[Storage]) -> None:
    for file in files:
        if source_format(file.uri) is None:
            msg = f"{file.uri} is neither .csv, .csv.gz nor .parquet. Name the files to read, or move it elsewhere."
            raise DatasetError(msg)


def _check_no_table(address: str, paths: Iterable[str]) -> None:
    """Refuse folders in which not every file counts, or in which folder names are data."""
    for path in paths:
        folders = path.split("/")[:-1]
        if "_delta_log" in folders:
            msg = f"{address} is a Delta table: its log says which files count. Export the version that you mean."
            raise DatasetError(msg)
        if column := next((folder for folder in folders if "=" in folder), None):
            msg = (
                f"{address} has folders such as {column!r}, whose names are data. "
                "Write that column into the files, or name one folder at a time."
            )
            raise DatasetError(msg)


@contextlib.contextmanager
def staging(root: Storage) -> Iterator[Path]:
    """Give an empty local folder, which goes at the end; on the store's own disk if that is local, for the rename."""
    parent = None
    if root.is_local:
        parent = Path(root.path)
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=parent, ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "snapshot"  # The temporary folder itself can be read by its owner only.
        folder.mkdir()
        yield folder


def seal_parts(folder: Path, rows: Mapping[str, int]) -> tuple[PartFile, ...]:
    """Give the parts in ``folder`` names that no other task uses, and describe them. ``rows`` is by the old names."""
    token = uuid.uuid4().hex[:8]
    return tuple(_seal(folder / name, f"{Path(name).stem}-{token}.parquet", count) for name, count in rows.items())


def _seal(part: Path, name: str, rows: int) -> PartFile:
    file = part.rename(part.with_name(name))
    return PartFile(name=name, digest=file_digest(file), rows=rows, size_bytes=file.stat().st_size)


def publish(folder: Path, manifest: SnapshotManifest, target: Storage) -> bool:
    """Make the parts in ``folder`` the snapshot at ``target``; return ``False`` when it was there already."""
    if (target / MANIFEST).exists():
        return False
    return _publish_local(folder, manifest, target) if target.is_local else _publish_remote(folder, manifest, target)


def _publish_local(folder: Path, manifest: SnapshotManifest, target: Storage) -> bool:
    (folder / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False) + "\n")
    try:
        folder.rename(target.path)
    except OSError as error:
        if not (target / MANIFEST).exists():
            msg = (
                f"The snapshot cannot be moved to {target.uri}: {error}. Remove what is there, if it has no {MANIFEST}."
            )
            raise DatasetError(msg) from error
        return False
    return True


def _publish_remote(folder: Path, manifest: SnapshotManifest, target: Storage) -> bool:
    try:
        target.upload(folder)
        created = (target / MANIFEST).create_json(manifest.to_dict())
    except BaseException:
        for part in manifest.parts:
            with contextlib.suppress(Exception):  # The first error tells more than that of tidying up.
                (target / part.name).remove()
        raise
    kept = {MANIFEST, *(part.name for part in read_manifest(target).parts)}
    for name, file in target.files().items():
        if name not in kept:
            file.remove()
    return created


def read_manifest(folder: Storage) -> SnapshotManifest:
    """Return the manifest of the snapshot in ``folder``.

    :raises DatasetError: when no whole snapshot is there.
    """
    file = folder / MANIFEST
    if not file.exists():
        msg = f"{folder.uri} holds no snapshot: it has no {MANIFEST}. Take the snapshot again."
        raise DatasetError(msg)
    try:
        return SnapshotManifest.from_dict(file.read_json())
    except InvalidInputError as error:
        msg = f"{file.uri} is no manifest of a snapshot: {error}"
        raise DatasetError(msg) from error


@contextlib.contextmanager
def open_snapshot(folder: Storage) -> Iterator[LocalSnapshot]:
    """Give the snapshot in ``folder`` on this machine: itself if it is local, else a copy that goes at the end.

    The copy holds the Parquet parts and nothing else.

    :raises DatasetError: when it is not whole, or a part is not what was written.
    :raises StorageUnavailableError: when a part that the manifest names is not there.
    """
    manifest = read_manifest(folder)
    with contextlib.ExitStack() as stack:
        if folder.is_local:
            local = Path(folder.path)
        else:
            local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-mlops-")))
            for part in manifest.parts:
                try:
                    (folder / part.name).download(local / part.name)
                except InvalidInputError as error:
                    if not isinstance(error.__cause__, FileNotFoundError):
                        raise
                    raise _gone(part, folder) from error
        for part in manifest.parts:
            _verify(local / part.name, part, folder)
        yield LocalSnapshot(folder=local, manifest=manifest)


def _verify(file: Path, part: PartFile, folder: Storage) -> None:
    if not file.exists():
        raise _gone(part, folder)
    found = file_digest(file)
    if found != part.digest:
        msg = (
            f"{part.name} of the snapshot {folder.uri} was changed after it was written: "
            f"expected SHA-256 {part.digest}, found {found}. Remove the snapshot and take it again."
        )
        raise DatasetError(msg)


def _gone(part: PartFile, folder: Storage) -> StorageUnavailableError:
    # The manifest was there a moment ago: so looks a share that has gone away.
    return StorageUnavailableError(
        f"{part.name} of the snapshot {folder.uri} is gone. If it does not come back, take the snapshot again."
    )
