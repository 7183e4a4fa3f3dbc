"""Delta Lake (delta-rs): the rows of one version of a table, in Arrow batches. Needs the extra ``delta``."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlops.exceptions import DatasetError, InvalidInputError, StorageUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_BATCH_ROWS = 65_536
_AWAY = ("error sending request", "timed out", "connection", "generic s3 error")
"""How delta-rs words a storage that it cannot reach: it has no error of its own for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaVersion:
    """An open version of a table."""

    version: int
    digest: str
    """SHA-256 hex digest of its list of files with their sizes: Delta never changes a file."""
    size_bytes: int
    batches: "Iterator[pa.RecordBatch]"
    """The rows, which can be read once."""


@contextlib.contextmanager
def open_delta(uri: str, *, version: int | None, options: Mapping[str, str]) -> Iterator[DeltaVersion]:
    """Open a version of the table at ``uri``, the newest by default.

    :param options: storage options of delta-rs, such as ``AWS_ACCESS_KEY_ID``.
    :raises DatasetError: when there is no such table or version, or it needs features that delta-rs cannot read.
    :raises InvalidInputError: when the package ``deltalake`` is not installed.
    :raises StorageUnavailableError: when the storage does not answer.
    """
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        msg = "Delta tables need the package deltalake: pip install 'airflow-mlops[delta]'."
        raise InvalidInputError(msg) from error
    with _errors(uri, version):
        table = DeltaTable(uri, version=version, storage_options=dict(options))
        files = table.get_add_actions(flatten=True)
        listed = sorted(zip(files["path"].to_pylist(), files["size_bytes"].to_pylist(), strict=True))
        yield DeltaVersion(
            version=table.version(),
            digest=hashlib.sha256(repr(listed).encode()).hexdigest(),
            size_bytes=sum(size for _, size in listed),
            batches=_batches(table),
        )


def _batches(table: "DeltaTable") -> "Iterator[pa.RecordBatch]":
    dataset = table.to_pyarrow_dataset()
    # One file at a time, and few batches ahead: memory stays bounded.
    for batch in dataset.to_batches(batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=1):
        if batch.num_rows:
            yield batch


@contextlib.contextmanager
def _errors(uri: str, version: int | None) -> Iterator[None]:
    from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError

    name = uri if version is None else f"version {version} of {uri}"
    try:
        yield
    except TableNotFoundError as error:
        msg = f"There is no Delta table at {uri}: {error}"
        raise DatasetError(msg) from error
    except DeltaProtocolError as error:
        msg = f"{name} cannot be read: {error}. Rewrite the table without that feature, or export the version."
        raise DatasetError(msg) from error
    except DeltaError as error:
        if any(word in str(error).lower() for word in _AWAY):
            msg = f"The storage of {uri} does not answer as it should: {error}"
            raise StorageUnavailableError(msg) from error
        msg = f"{name} cannot be read: {error}. Check that the table has this version, and that it was not vacuumed."
        raise DatasetError(msg) from error
    except FileNotFoundError as error:
        msg = f"A file of {name} is gone: {error}. It was vacuumed; take the snapshot before that."
        raise DatasetError(msg) from error
    except OSError as error:
        msg = f"The storage of {uri} does not answer as it should: {error}"
        raise StorageUnavailableError(msg) from error
