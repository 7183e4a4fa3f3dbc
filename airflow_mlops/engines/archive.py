"""Tar streams, as Docker takes and gives them: written and read in pieces, so that no file is ever held whole."""

import functools
import io
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_mlops.domain.collection import OutputBudget
from airflow_mlops.domain.job import HYPERPARAMETERS, SECRETS, Job
from airflow_mlops.exceptions import InvalidInputError, JobOutputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 64 * 1024


def pack(job: Job, *, owner: int) -> Iterator[bytes]:
    """Yield a tar stream of the job's tree that belongs to user ``owner``."""
    for folder in job.input_folders():
        yield _header(f"{folder}/", 0, owner, is_folder=True)
    settings = job.hyperparameters_json()
    yield _header(HYPERPARAMETERS, len(settings), owner)
    yield from _padded([settings], len(settings))
    for name, path in job.input_files().items():
        size = path.stat().st_size
        yield _header(name, size, owner)
        with path.open("rb") as file:
            yield from _padded(iter(functools.partial(file.read, CHUNK_BYTES), b""), size)
    if job.secrets:
        yield from _secrets(job.secrets, owner)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def pack_wiped(names: Iterable[str], *, owner: int) -> bytes:
    """Return a tar archive that puts empty files in the place of a job's secrets."""
    return b"".join(_secrets(dict.fromkeys(names, ""), owner)) + b"\0" * (2 * tarfile.BLOCKSIZE)


def pack_file(name: str, content: bytes, *, owner: int) -> bytes:
    """Return a tar archive of one file."""
    parts = [_header(name, len(content), owner), *_padded([content], len(content)), b"\0" * (2 * tarfile.BLOCKSIZE)]
    return b"".join(parts)


def read_member(archive: bytes) -> bytes:
    """Return the content of the only file of a tar archive; nothing when there is none, or it is cut off."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            file = next((member for member in opened if member.isfile()), None)
            content = opened.extractfile(file) if file is not None else None
            return content.read() if content is not None else b""
    except tarfile.TarError:  # The file has grown while it was read.
        return b""


def unpack(chunks: Iterator[bytes], output: Path, budget: OutputBudget) -> None:
    """Write the files of a tar stream below ``output``. What it holds is not to be trusted.

    :raises JobOutputError: when it holds anything but plain files and folders below its own.
    :raises JobOutOfDiskError: when it holds too much.
    """
    output.mkdir(parents=True, exist_ok=True)
    with _opened(chunks) as archive:
        for member in archive:
            _extract(archive, member, member.name, output, budget)


def unpack_parts(
    chunks: Iterator[bytes], parts: Collection[str], output: Path, budget: OutputBudget, *, most_else: int
) -> bool:
    """Write some folders of a folder's tar stream below ``output``, see :func:`unpack`, and pass over what else it has.

    :param parts: names in that folder, whose own name every member of the stream begins with.
    :param most_else: bytes of other files; after so many nothing is read any more.
    :return: whether all was read.
    """
    output.mkdir(parents=True, exist_ok=True)
    passed = 0
    with _opened(chunks) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            if name.partition("/")[0] in parts:
                _extract(archive, member, name, output, budget)
            else:
                passed += member.size
            if passed > most_else:
                return False
    return True


def _opened(chunks: Iterator[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BufferedReader(_Chunks(chunks)), mode="r|")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, output: Path, budget: OutputBudget) -> None:
    if not (member.isfile() or member.isdir()):
        msg = f"The job left {name}, which is a link or a device. Leave plain files and folders only."
        raise JobOutputError(msg)
    if PurePosixPath(name).is_absolute():
        msg = f"The job left {name}, which is outside of its folder."
        raise JobOutputError(msg)
    budget.take(member.size if member.isfile() else 0)
    try:
        archive.extract(member.replace(name=name), output, filter="data")
    except tarfile.FilterError as error:
        msg = f"The job left {name}, which is outside of its folder."
        raise JobOutputError(msg) from error


def _secrets(secrets: Mapping[str, str], owner: int) -> Iterator[bytes]:
    yield _header(f"{SECRETS}/", 0, owner, mode=0o700, is_folder=True)
    for name, value in secrets.items():
        content = value.encode()
        yield _header(f"{SECRETS}/{name}", len(content), owner, mode=0o400)
        yield from _padded([content], len(content))


def _header(name: str, size: int, owner: int, *, mode: int | None = None, is_folder: bool = False) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.uid, member.gid = size, owner, owner
    member.type, member.mode = (tarfile.DIRTYPE, 0o755) if is_folder else (tarfile.REGTYPE, 0o644)
    member.mode = member.mode if mode is None else mode
    return member.tobuf(tarfile.PAX_FORMAT)


def _padded(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    sent = 0
    for chunk in chunks:
        sent += len(chunk)
        yield chunk
    if sent != size:
        msg = f"A file had {size} bytes, and {sent} when it was copied to the job. Do not write into a snapshot."
        raise InvalidInputError(msg)
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


class _Chunks(io.RawIOBase):
    """A stream of bytes over chunks of them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(view), len(self._rest))
        view[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
