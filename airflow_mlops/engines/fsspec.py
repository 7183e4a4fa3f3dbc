"""Folders on any file system that fsspec knows: a local disk, S3, or an object store behind an Airflow connection."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from airflow_mlops.exceptions import InvalidInputError, MlopsError, StorageUnavailableError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """One folder (or file) and what is below it.

    :param filesystem: the file system, already authenticated.
    :param path: the path on that file system.
    :param uri: the address that an Airflow task opens again, such as ``s3://conn_id@bucket/prefix``.
    """

    filesystem: "AbstractFileSystem"
    path: str
    uri: str

    @property
    def is_local(self) -> bool:
        """Whether the files lie on this machine, so that no copy is needed to read them."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.filesystem, LocalFileSystem)

    def __truediv__(self, relative: str) -> Self:
        """Return the storage of a path below this one.

        :raises InvalidInputError: when ``relative`` would leave this folder.
        """
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            msg = f"{relative!r} leaves the folder {self.uri}. Give a path below it."
            raise InvalidInputError(msg)
        return type(self)(
            filesystem=self.filesystem,
            path=f"{self.path.rstrip('/')}/{parts}",
            uri=f"{self.uri.rstrip('/')}/{parts}",
        )

    def exists(self) -> bool:
        """Whether a file or a folder is here. Always asks the store, never a cached listing."""
        with self._errors():
            self.filesystem.invalidate_cache()
            return bool(self.filesystem.exists(self.path))

    def is_folder(self) -> bool:
        """Whether a folder is here. Always asks the store, never a cached listing."""
        with self._errors():
            self.filesystem.invalidate_cache()
            return bool(self.filesystem.isdir(self.path))

    def files(self) -> dict[str, Self]:
        """Return every file below this folder by its relative path, sorted. Always asks the store."""
        with self._errors():
            self.filesystem.invalidate_cache()
            return self._children(self.filesystem.find(self.path))

    def glob(self, pattern: str) -> dict[str, Self]:
        """Return the files below this folder that match ``pattern`` by their relative path, sorted.

        ``*`` and ``?`` stay within one folder, ``**`` as a whole folder name crosses folders.

        :raises InvalidInputError: when it is no pattern.
        """
        with self._errors():
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.glob(f"{self.path.rstrip('/')}/{pattern}", detail=True)
            except ValueError as error:
                msg = f"{self.uri.rstrip('/')}/{pattern} is no pattern: {error}"
                raise InvalidInputError(msg) from error
            return self._children(path for path, info in found.items() if info["type"] == "file")

    def versions(self, pattern: str = "") -> dict[str, str]:
        """Return of every file below this folder, or of those that match, a text that changes when its content does.

        It is the object store's entity tag, and else the size and the time of the last change. Nothing here is no file.
        """
        with self._errors():
            if self.is_local:
                return _local_versions(Path(self.path), pattern)
            self.filesystem.invalidate_cache()
            base = self.path.rstrip("/")
            try:
                if pattern:
                    found = self.filesystem.glob(f"{base}/{pattern}", detail=True)
                else:
                    found = self.filesystem.find(base, detail=True)
            except FileNotFoundError:
                return {}
            return {
                path.removeprefix(f"{base}/"): _version(info) for path, info in found.items() if info["type"] == "file"
            }

    def _children(self, paths: Iterable[str]) -> dict[str, Self]:
        base = self.path.rstrip("/") + "/"
        return {path.removeprefix(base): self / path.removeprefix(base) for path in sorted(paths)}

    def read_text(self) -> str:
        """Return the UTF-8 text of the file here."""
        with self._errors(), self.filesystem.open(self.path, "rb") as file:
            return str(file.read(), "utf-8")

    def read_json(self) -> Any:
        """Return the JSON value of the file here."""
        with self._errors(), self.filesystem.open(self.path, "rb") as file:
            content = file.read()
        try:
            return json.loads(content)
        except ValueError as error:
            msg = f"{self.uri} is not JSON: {error}"
            raise InvalidInputError(msg) from error

    def write_json(self, value: object) -> None:
        """Write a JSON value here, readable, whole or not at all."""
        self.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, text: str) -> None:
        """Write UTF-8 text here, whole or not at all: a reader sees the old file or the new one."""
        data = text.encode()
        with self._errors():
            if not self.is_local:
                self.filesystem.pipe_file(self.path, data)  # An object store puts whole objects.
                return
            with _written_aside(data, Path(self.path)) as temporary:
                temporary.replace(self.path)

    def create_json(self, value: object) -> bool:
        """Write a JSON value here unless something is here, and return whether it was written."""
        return self.create_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def create_text(self, text: str) -> bool:
        """Write UTF-8 text here unless something is here, whole or not at all, and return whether it was written.

        Of several writers at once one wins: on a local disk by a hard link, else where the object store knows
        conditional writes (S3, GCS). After a lost answer of the store it may be this writer's own text that is here.

        :raises InvalidInputError: when the disk knows no hard links.
        """
        data = text.encode()
        if self.is_local:
            with self._errors():
                return _link(data, Path(self.path))
        try:
            self.filesystem.pipe_file(self.path, data, mode="create")
        except OSError:  # Stores spell "it exists" in several ways, so look.
            if self.exists():
                return False
            with self._errors():
                raise
        return True

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of files below this folder; an object store is asked for all of them at once."""
        with self._errors():
            paths = [(self / name).path for name in names]
            found = self.filesystem.cat_ranges(paths, None, None, on_error="raise")
        return dict(zip(names, found, strict=True))

    def names(self) -> list[str]:
        """Return the names of what lies directly in this folder, sorted; none when there is no folder."""
        with self._errors():
            self.filesystem.invalidate_cache()
            try:
                # On a disk fsspec asks for each file's size and times, which takes long in a large folder.
                if self.is_local:
                    return sorted(file.name for file in Path(self.path).iterdir())
                found = self.filesystem.ls(self.path, detail=False)
            except FileNotFoundError:
                return []
        return sorted(PurePosixPath(path).name for path in found if path.rstrip("/") != self.path.rstrip("/"))

    def remove(self) -> None:
        """Remove the file here, if there is one."""
        with contextlib.suppress(InvalidInputError), self._errors():
            self.filesystem.rm_file(self.path)

    def upload(self, folder: Path) -> None:
        """Copy every file below the local ``folder`` to here, replacing files of the same name."""
        with self._errors():
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                target = self / file.relative_to(folder).as_posix()
                if self.is_local:
                    Path(target.path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target.path)
                else:
                    self.filesystem.put_file(str(file), target.path)

    def download(self, target: Path) -> None:
        """Copy the file here to the local path ``target``."""
        with self._errors():
            self.filesystem.get_file(self.path, str(target))

    @contextlib.contextmanager
    def local(self) -> Iterator[Path]:
        """Give a local path of what is here: the thing itself if it is local, else a copy that goes at the end.

        :raises InvalidInputError: when nothing is here.
        """
        if not self.exists():
            msg = f"Nothing is at {self.uri}. Check the path, and the connection that it names."
            raise InvalidInputError(msg)
        if self.is_local:
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory(prefix="airflow-mlops-") as folder:
            copy = Path(folder) / PurePosixPath(self.path).name
            with self._errors():
                self.filesystem.get(self.path, str(copy), recursive=bool(self.filesystem.isdir(self.path)))
            yield copy

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Name this place in errors of the file system. A missing file is the author's, a lost connection is not."""
        try:
            yield
        except FileNotFoundError as error:
            msg = f"Nothing is at {self.uri}: {error}"
            raise InvalidInputError(msg) from error
        except PermissionError as error:
            msg = f"No permission for {self.uri}: {error}. Check the login of the connection that it names."
            raise InvalidInputError(msg) from error
        except MlopsError:
            raise
        except Exception as error:
            if self.is_local and not isinstance(error, OSError):
                raise
            # Clients of object stores have errors of their own for a server that they cannot reach.
            msg = f"The storage of {self.uri} does not answer as it should: {error}"
            raise StorageUnavailableError(msg) from error


def _local_versions(folder: Path, pattern: str) -> dict[str, str]:
    """Do without fsspec's description of each file, whose making takes ten times as long as the asking."""
    from fsspec.utils import glob_translate

    matches = re.compile(glob_translate(pattern)).match if pattern else None
    deepest = None if not pattern or "**" in pattern else pattern.count("/")
    found = {}
    for root, folders, names in os.walk(folder):
        below = Path(root).relative_to(folder).parts
        if deepest is not None and len(below) >= deepest:
            folders.clear()
        prefix = "".join(f"{part}/" for part in below)
        for name in names:
            if matches is None or matches(prefix + name):
                with contextlib.suppress(FileNotFoundError):  # It has just gone.
                    status = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118 - a Path for each takes longer
                    found[prefix + name] = f"{status.st_size}-{status.st_mtime_ns}"
    return found


def _version(info: Mapping[str, Any]) -> str:
    tag = info.get("ETag") or info.get("etag")
    return str(tag).strip('"') if tag else f"{info['size']}-{info.get('mtime', info.get('LastModified'))}"


@contextlib.contextmanager
def _written_aside(data: bytes, target: Path) -> Iterator[Path]:
    """Give a readable file beside the target, whole and on the disk. What still has its name afterwards is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _link(data: bytes, target: Path) -> bool:
    """Write a file aside, and give it its name by a hard link, which fails when the name is taken."""
    with _written_aside(data, target) as temporary:
        try:
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK}:
                raise
            msg = f"{target} cannot be made by a hard link, which its disk must know: {error}. Use another, or S3."
            raise InvalidInputError(msg) from error
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # The name, too, must outlive a power cut.
    finally:
        os.close(folder)
    return True


def file_digest(path: Path) -> str:
    """Return the SHA-256 hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """Return a SHA-256 hex digest of a folder: every file's relative path and bytes, and nothing else.

    Two folders have the same digest when they hold the same files, whatever their times, owners and order.
    """
    digests: Mapping[str, str] = {
        path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()
    }
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
