"""The digest of a table: the same rows and columns have the same digest, in whatever order and files they lie.

Each row is written as a JSON list of its values as text, the columns sorted by name, and hashed with SHA-256. The
hashes of all rows are sorted (DuckDB spills what does not fit in memory) and hashed once more, behind a header with the
schema and the number of rows. A sum or XOR of the row hashes would need no sort, but could be forged: Wagner, "A
Generalized Birthday Problem" (2002), https://people.eecs.berkeley.edu/~daw/papers/genbday.html.

What counts as the same value: every NaN; an instant, whatever zone it was written in. What does not: NULL and the empty
text; 0.0 and -0.0; 1 and 1.0, since the types differ; a row once and a row twice.
"""
# ruff: noqa: S608 - SQL has no parameters for names, types and table functions; connection.py quotes them

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.serialization import canonical_json
from airflow_mlops.engines.duckdb.connection import identifier, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ALGORITHM = "airflow-mlops/dataset/1"
"""Goes into every digest: change it whenever the same data would get another digest."""
_ROWS_PER_BATCH = 65_536
_HASH_BYTES = 32


def table_digest(connection: "DuckDBPyConnection", relation: str, rows: int) -> str:
    """Return the SHA-256 hex digest of a relation of ``rows`` rows."""
    table = connection.sql(f"FROM {relation}")
    types: Mapping[str, Any] = dict(sorted(zip(table.columns, table.types, strict=True)))
    header = {"algorithm": _ALGORITHM, "columns": [[name, str(kind)] for name, kind in types.items()], "rows": rows}
    digest = hashlib.sha256(canonical_json(header).encode() + b"\n")
    values = ", ".join(_as_text(identifier(name), kind) for name, kind in types.items())
    query = f"SELECT unhex(sha256(to_json([{values}])::VARCHAR)) AS hash FROM {relation} ORDER BY hash"
    for batch in connection.sql(query).to_arrow_reader(_ROWS_PER_BATCH):
        hashes = batch.column(0)
        start = hashes.offset * _HASH_BYTES
        digest.update(memoryview(hashes.buffers()[2])[start : start + len(hashes) * _HASH_BYTES])
    return digest.hexdigest()


def _as_text(value: str, kind: Any, depth: int = 0) -> str:
    """Return the SQL of a value as VARCHAR, or NULL: unambiguous within its type, which the header tells.

    Nested values become JSON lists of texts by the same rule.
    """
    if kind.id == "blob":
        return f"hex({value})"
    if kind.id == "struct":
        fields = ", ".join(_as_text(f"({value})[{literal(name)}]", child, depth) for name, child in kind.children)
        return _unless_null(value, f"[{fields}]")
    if kind.id == "list":
        item = f"item{depth}"
        text = _as_text(item, kind.children[0][1], depth + 1)
        return _unless_null(value, f"list_transform({value}, lambda {item}: {text})")
    if kind.id == "map":
        item = f"item{depth}"
        entry = ", ".join(_as_text(f"{item}.{name}", child, depth + 1) for name, child in kind.children)
        return _unless_null(value, f"list_transform(map_entries({value}), lambda {item}: to_json([{entry}])::VARCHAR)")
    return f"CAST({value} AS VARCHAR)"


def _unless_null(value: str, texts: str) -> str:
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE to_json({texts})::VARCHAR END"
