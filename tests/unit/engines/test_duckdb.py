import datetime as dt
import gzip
import math
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.domain.dataset import CsvDialect, TimeWindow
from airflow_mlops.engines.duckdb import DuckDbLimits, LocalSource, MeasuredData, take_snapshot
from airflow_mlops.exceptions import DatasetError, InvalidInputError

Row = tuple[int | None, float | None, str | None, bool | None]

NAMES = ("amount", "score", "label", "flag")
ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def snapshot(
    files: Sequence[Path],
    folder: Path,
    *,
    dialect: CsvDialect | None = None,
    window: TimeWindow | None = None,
    limits: DuckDbLimits | None = None,
) -> MeasuredData:
    folder.mkdir(exist_ok=True)
    return take_snapshot(
        [LocalSource(uri=str(file), path=file) for file in files],
        folder,
        dialect=dialect or CsvDialect(),
        window=window,
        limits=limits or DuckDbLimits(threads=1),
    )


def write_parquet(file: Path, rows: Sequence[Row], order: Sequence[int] = (0, 1, 2, 3)) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.int64(), pa.float64(), pa.string(), pa.bool_()]
    columns = {NAMES[i]: pa.array([row[i] for row in rows], types[i]) for i in order}
    pq.write_table(pa.table(columns), file)
    return file


def write_table(file: Path, columns: Mapping[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), file)
    return file


def digest_of_rows(rows: Sequence[Row], order: Sequence[int] = (0, 1, 2, 3), parts: int = 1) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pieces = [rows[i::parts] for i in range(parts)]
        files = [write_parquet(folder / f"{random.random()}.parquet", piece, order) for piece in pieces if piece]  # noqa: S311
        return snapshot(files, folder / "out").digest


@given(rows=ROWS, data=st.data())
@settings(max_examples=25, deadline=None)
def test_order_of_rows_and_columns_and_number_of_parts_do_not_change_the_digest(
    rows: list[Row], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    order = data.draw(st.permutations(range(4)))
    parts = data.draw(st.integers(1, 3))
    assert digest_of_rows(shuffled, order, parts) == digest_of_rows(rows)


@given(rows=ROWS, data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_change_of_any_one_cell_changes_the_digest(rows: list[Row], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, 3))
    strategies: list[st.SearchStrategy[Any]] = [
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(),
        st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
        st.none() | st.booleans(),
    ]
    old = rows[index][column]
    new = data.draw(strategies[column].filter(lambda value: not is_same(value, old)))
    changed: list[Row] = [*rows]
    cells = list(rows[index])
    cells[column] = new
    changed[index] = (cells[0], cells[1], cells[2], cells[3])  # type: ignore[assignment] # each of its column's type
    assert digest_of_rows(changed) != digest_of_rows(rows)


def is_same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return type(a) is type(b) and a == b


def test_a_row_twice_is_not_a_row_once() -> None:
    row: Row = (1, 1.0, "a", True)
    other: Row = (2, 1.0, "a", True)
    assert len({digest_of_rows(rows) for rows in ([row], [row, row], [row, row, other], [row, other, other])}) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([["a,b", "c"]], [["a", "b,c"]]),
        ([["a", None]], [["a", ""]]),
        ([["NULL", "x"]], [[None, "x"]]),
        ([['a","b', "c"]], [["a", 'b","c']]),
        ([["a\0", "b"]], [["a", "\0b"]]),
    ],
)
def test_separators_and_nulls_cannot_be_confused(
    one: list[list[str | None]], other: list[list[str | None]], tmp_path: Path
) -> None:
    import pyarrow as pa

    digests = set()
    for number, rows in enumerate((one, other)):
        columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate("xy")}
        file = write_table(tmp_path / f"{number}.parquet", columns)
        digests.add(snapshot([file], tmp_path / f"out{number}").digest)
    assert len(digests) == 2


def test_the_same_values_under_swapped_names_are_other_data(tmp_path: Path) -> None:
    one = write_table(tmp_path / "1.parquet", {"a": [1], "b": [2]})
    other = write_table(tmp_path / "2.parquet", {"b": [1], "a": [2]})
    assert snapshot([one], tmp_path / "o1").digest != snapshot([other], tmp_path / "o2").digest


def test_csv_and_parquet_of_the_same_data_have_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,x,t,d\n1,0.1,é,2020-01-02\n2,,z,2020-01-03\n")
    with gzip.open(tmp_path / "a.csv.gz", "wt", encoding="utf-8") as file:
        file.write("d,t,x,n\n2020-01-03,z,,2\n2020-01-02,é,0.1,1\n")
    columns = {"n": [1, 2], "x": [0.1, None], "t": ["é", "z"], "d": [dt.date(2020, 1, 2), dt.date(2020, 1, 3)]}
    files = [tmp_path / "a.csv", tmp_path / "a.csv.gz", write_table(tmp_path / "a.parquet", columns)]
    assert len({snapshot([file], tmp_path / f"out-{file.name}").digest for file in files}) == 1


def test_the_digest_is_pinned_so_that_a_new_release_finds_old_snapshots(tmp_path: Path) -> None:
    rows: list[Row] = [(1, 0.1, "a", True), (None, float("nan"), "", False), (-5, -0.0, None, None)]
    found = snapshot([write_parquet(tmp_path / "a.parquet", rows)], tmp_path / "out").digest
    assert found == "3c5d6c71d410552abef7097b6b49013ec0cc868e571662556154a7c8aa6dc1c3"


def test_every_type_that_parquet_keeps_is_hashed_by_value(tmp_path: Path) -> None:
    import pyarrow as pa

    utc = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)
    base: dict[str, Any] = {
        "blob": pa.array([b"\x00\xff"]),
        "decimal": pa.array([Decimal("1.10")], pa.decimal128(10, 2)),
        "zone": pa.array([utc], pa.timestamp("us", "UTC")),
        "nanoseconds": pa.array([1], pa.timestamp("ns")),
        "list": pa.array([["a,b", None]], pa.list_(pa.string())),
        "struct": pa.array([{"x": 1, "y": ["a"]}]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "time": pa.array([dt.time(1, 2)]),
        "small": pa.array([1], pa.int8()),
    }
    changes: dict[str, Any] = {
        "blob": pa.array([b"\\x00\xff"]),
        "decimal": pa.array([Decimal("1.11")], pa.decimal128(10, 2)),
        "zone": pa.array([utc + dt.timedelta(microseconds=1)], pa.timestamp("us", "UTC")),
        "nanoseconds": pa.array([2], pa.timestamp("ns")),
        "list": pa.array([["a", "b", None]], pa.list_(pa.string())),
        "struct": pa.array([{"x": 1, "y": ["a", None]}]),
        "map": pa.array([[("k", 2)]], pa.map_(pa.string(), pa.int64())),
        "time": pa.array([dt.time(1, 3)]),
        "small": pa.array([1], pa.int16()),
    }
    tables = [base, *({**base, name: value} for name, value in changes.items())]
    files = [write_table(tmp_path / f"{i}.parquet", table) for i, table in enumerate(tables)]
    digests = [snapshot([file], tmp_path / f"out{i}").digest for i, file in enumerate(files)]
    assert len(set(digests)) == len(digests)


def test_an_instant_has_one_digest_in_every_zone(tmp_path: Path) -> None:
    import pyarrow as pa

    digests = set()
    for number, zone in enumerate(("UTC", "Europe/Paris")):
        file = write_table(tmp_path / f"{number}.parquet", {"t": pa.array([0, 10**6], pa.timestamp("us", zone))})
        digests.add(snapshot([file], tmp_path / f"out{number}").digest)
    assert len(digests) == 1


def test_rows_keep_the_order_of_the_sources(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    files = [write_table(tmp_path / f"{i}.parquet", {"n": list(range(i * 1000, i * 1000 + 1000))}) for i in range(3)]
    found = snapshot(files, tmp_path / "out", limits=DuckDbLimits(threads=2))
    assert list(found.parts) == ["part-00000.parquet"]
    assert pq.read_table(tmp_path / "out" / "part-00000.parquet")["n"].to_pylist() == list(range(3000))


def test_statistics_count_nulls_and_leave_out_what_is_not_finite(tmp_path: Path) -> None:
    rows: list[Row] = [
        (1, 1.0, "a", True),
        (2, 3.0, "b", False),
        (3, float("nan"), None, None),
        (None, float("inf"), "", True),
        (None, 1e308, "c" * 500, True),
    ]
    found = snapshot([write_parquet(tmp_path / "a.parquet", rows)], tmp_path / "out")
    amount, score, label, flag = found.columns
    assert (amount.nulls, amount.distinct, amount.minimum, amount.maximum, amount.mean) == (2, 3, 1, 3, 2.0)
    assert (score.minimum, score.maximum, score.mean) == (1.0, 1e308, 2.0)
    assert score.standard_deviation == pytest.approx(math.sqrt(2))
    assert (label.nulls, label.minimum, label.maximum) == (1, "", "c" * 200)
    assert flag.mean == 0.75


def test_each_of_many_columns_has_its_own_statistics(tmp_path: Path) -> None:
    numbers = {f"c{number}": [number, number + 1, None] for number in range(100)}
    found = snapshot([write_table(tmp_path / "wide.parquet", numbers)], tmp_path / "out").columns
    assert [(column.name, column.minimum, column.maximum) for column in found] == [
        (f"c{number}", number, number + 1) for number in range(100)
    ]
    assert {(column.nulls, column.histogram[0], column.histogram[-1]) for column in found} == {(1, 1, 1)}


@pytest.mark.parametrize("kind", ["timestamp[us]", "timestamp[us, tz=UTC]", "timestamp[ns]", "date32[day]"])
def test_the_window_takes_its_start_and_leaves_its_end(kind: str, tmp_path: Path) -> None:
    import pyarrow as pa

    days = pa.array([dt.datetime(2020, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3, 4)], pa.timestamp("us", "UTC"))
    types = {
        "timestamp[us]": pa.timestamp("us"),
        "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"),
        "timestamp[ns]": pa.timestamp("ns"),
        "date32[day]": pa.date32(),
    }
    file = write_table(tmp_path / "a.parquet", {"t": days.cast(types[kind])})
    window = TimeWindow.parse("t", "2020-01-02T01:00:00+01:00", "2020-01-04")
    found = snapshot([file], tmp_path / "out", window=window)
    assert found.rows == 2
    assert found.window is not None
    assert found.window.first == dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
    assert found.window.last == dt.datetime(2020, 1, 3, tzinfo=dt.UTC)


def test_csv_types_are_those_of_all_files_together(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("n,x,t\n1,,\n2,3,\n")
    (tmp_path / "2.csv").write_text("n,x,t\n,0.5,2020-01-01T10:00:00\n,,\n")
    (tmp_path / "all.csv").write_text("n,x,t\n1,,\n2,3,\n,0.5,2020-01-01T10:00:00\n,,\n")
    split = snapshot([tmp_path / "1.csv", tmp_path / "2.csv"], tmp_path / "out")
    whole = snapshot([tmp_path / "all.csv"], tmp_path / "out2")
    assert [column.type for column in split.columns] == ["BIGINT", "DOUBLE", "TIMESTAMP"]
    assert split.digest == whole.digest


def test_a_type_that_only_the_last_line_tells_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n" + "1\n" * 50_000 + "1.5\n")
    assert snapshot([tmp_path / "a.csv"], tmp_path / "out").columns[0].type == "DOUBLE"


def test_a_column_of_nulls_is_text_in_csv_and_in_parquet(tmp_path: Path) -> None:
    import pyarrow as pa

    (tmp_path / "a.csv").write_text("n,x\n1,\n")
    file = write_table(tmp_path / "a.parquet", {"n": [1], "x": pa.array([None], pa.null())})
    assert snapshot([tmp_path / "a.csv"], tmp_path / "o1").digest == snapshot([file], tmp_path / "o2").digest


@pytest.mark.parametrize("value", ["03/04/2020", "03/04/2020 10:00:00 PM", "99999999999999999999"])
def test_what_would_have_to_be_guessed_stays_text(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"n,v\n1,{value}\n")
    assert snapshot([tmp_path / "a.csv"], tmp_path / "out").columns[1].type == "VARCHAR"


def test_column_types_keep_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip\n00123\n")
    dialect = CsvDialect(column_types={"zip": "VARCHAR"})
    assert snapshot([tmp_path / "a.csv"], tmp_path / "out", dialect=dialect).columns[0].minimum == "00123"


def test_null_values_come_on_top_of_the_empty_field(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n1;x\nNA;NA\n;y\n")
    dialect = CsvDialect(delimiter=";", null_values=("NA",))
    found = snapshot([tmp_path / "a.csv"], tmp_path / "out", dialect=dialect)
    assert [(column.type, column.nulls) for column in found.columns] == [("BIGINT", 2), ("VARCHAR", 1)]


def test_odd_names_of_columns_and_files_are_no_sql(tmp_path: Path) -> None:
    file = tmp_path / "it's [1]*?.csv"
    file.write_text('"it\'s","a ""b"" c", sp ,"x\ny"\n1,2,3,4\n')
    found = snapshot([file], tmp_path / "o'ut")
    assert [column.name for column in found.columns] == ["it's", 'a "b" c', " sp ", "x\ny"]


def csv(text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "bad.csv").write_bytes(text.encode("latin-1"))
        return folder / "bad.csv"

    return write


def damaged_page(folder: Path) -> Path:
    file = write_table(folder / "bad.parquet", {"n": list(range(100_000))})
    content = bytearray(file.read_bytes())
    content[1000:20_000] = bytes(byte ^ 0x5A for byte in content[1000:20_000])
    file.write_bytes(content)
    return file


def duplicate_columns(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), folder / "bad.parquet")
    return folder / "bad.parquet"


def plain_bytes(folder: Path) -> Path:
    (folder / "bad.parquet").write_bytes(b"PAR1 no parquet")
    return folder / "bad.parquet"


def broken_gzip(folder: Path) -> Path:
    content = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    (folder / "bad.csv.gz").write_bytes(content[: len(content) // 2])
    return folder / "bad.csv.gz"


def interval(folder: Path) -> Path:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT INTERVAL 1 DAY AS a) TO '{folder / 'bad.parquet'}' (FORMAT parquet)")
    return folder / "bad.parquet"


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (csv(""), "not even a header line"),
        (csv("a,b\n"), "No row is left"),
        (csv("a,b\n1,2\n1,2,3\n"), "Line: 3"),
        (csv("a,b,c\n1,2\n"), "Expected Number of Columns: 3"),
        (csv("a,a\n1,2\n"), "'a' and 'a'"),
        (csv("a,A\n1,2\n"), "'a' and 'A'"),
        (csv(",b\n0,2\n"), "Column 1 of .* has no name"),
        (csv("a,b\n\xe9,2\n"), "UTF-8"),
        (broken_gzip, "GZIP"),
        (plain_bytes, "No magic bytes"),
        (damaged_page, "decompression"),
        (duplicate_columns, "'a' and 'a'"),
        (interval, "a snapshot cannot hold"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(write: Callable[[Path], Path], reason: str, tmp_path: Path) -> None:
    file = write(tmp_path)
    with pytest.raises(DatasetError, match=reason) as error:
        snapshot([file], tmp_path / "out")
    assert str(file) in str(error.value)


def test_columns_that_differ_name_both_files_and_the_columns(tmp_path: Path) -> None:
    one = write_table(tmp_path / "1.parquet", {"a": [1], "b": [1]})
    (tmp_path / "2.csv").write_text("a,c\n1,2\n")
    with pytest.raises(DatasetError, match=r"1\.parquet and .*2\.csv differ: the second lacks 'b' and adds 'c'"):
        snapshot([one, tmp_path / "2.csv"], tmp_path / "out")


def test_types_that_differ_name_both_files_and_the_column(tmp_path: Path) -> None:
    one = write_table(tmp_path / "1.parquet", {"a": [1]})
    other = write_table(tmp_path / "2.parquet", {"a": [1.0]})
    with pytest.raises(DatasetError, match=r"'a' is BIGINT in .*1\.parquet, but DOUBLE in .*2\.parquet"):
        snapshot([one, other], tmp_path / "out")


def test_a_number_that_is_a_text_elsewhere_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("tail\n1545\n")
    (tmp_path / "2.csv").write_text("tail\nN14228\n")
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    with pytest.raises(DatasetError, match=r"BIGINT in .*column_types=\{'tail': \"VARCHAR\"\}"):
        snapshot(files, tmp_path / "out")
    assert snapshot(files, tmp_path / "out2", dialect=CsvDialect(column_types={"tail": "VARCHAR"})).rows == 2


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (TimeWindow.parse("t", "2021-01-01", None), "No row is left in the window t from 2021-01-01"),
        (TimeWindow.parse("x", None, None), "no time column 'x'. It has: t, n"),
        (TimeWindow.parse("n", None, None), "is BIGINT, not a date or a timestamp"),
    ],
)
def test_a_window_that_cannot_be_taken_says_why(window: TimeWindow, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,n\n2020-01-01,1\n")
    with pytest.raises(DatasetError, match=reason):
        snapshot([tmp_path / "a.csv"], tmp_path / "out", window=window)


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ({"b": "VARCHAR"}, "column_types names 'b', but .*a.csv has the columns 'a'"),
        ({"a": "NOPE"}, "type 'NOPE', which DuckDB does not know"),
        ({"a": "HUGEINT"}, "HUGEINT, which a snapshot cannot hold"),
        ({"a": "DATE"}, "a.csv cannot be read: Conversion Error"),
    ],
)
def test_column_types_that_cannot_be_used_say_why(types: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DatasetError, match=reason):
        snapshot([tmp_path / "a.csv"], tmp_path / "out", dialect=CsvDialect(column_types=types))


def test_limits_that_duckdb_refuses_are_named(tmp_path: Path) -> None:
    file = write_table(tmp_path / "a.parquet", {"a": [1]})
    with pytest.raises(InvalidInputError, match=r"DuckDB refuses its limits.*lots"):
        snapshot([file], tmp_path / "out", limits=DuckDbLimits(memory="lots"))


def test_too_little_memory_says_so_and_leaves_nothing_to_spill(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "".join(f"{i}\n" for i in range(200_000)))
    (tmp_path / "spill").mkdir()
    limits = DuckDbLimits(memory="3MB", spill_folder=tmp_path / "spill")
    with pytest.raises(InvalidInputError, match="memory limit of 3MB"):
        snapshot([tmp_path / "a.csv"], tmp_path / "out", limits=limits)
    assert not list((tmp_path / "spill").iterdir())
