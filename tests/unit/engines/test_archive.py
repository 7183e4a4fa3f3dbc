"""Tar streams to and from a container, which may hold anything."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.collection import OutputBudget
from airflow_mlops.domain.job import Job, JobCommand, JobLimits
from airflow_mlops.engines.archive import pack, unpack, unpack_parts
from airflow_mlops.exceptions import InvalidInputError, JobOutOfDiskError, JobOutputError

BUDGET_MB = 1


def budget() -> OutputBudget:
    return OutputBudget(JobLimits(scratch_mb=BUDGET_MB))


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> Iterator[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    yield stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def job_with(files: dict[str, bytes], folder: Path) -> Job:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Job(work_key="k", command=JobCommand.TRAIN, hyperparameters={"a": "1"}, channels={"train": folder})


def test_a_packed_tree_is_a_tar_of_the_jobs_user(tmp_path: Path) -> None:
    files = {"part-0.parquet": b"", "part-1.parquet": b"x" * 512, "part-2.parquet": b"y" * 100_000}
    stream = io.BytesIO(b"".join(pack(job_with(files, tmp_path), owner=1000)))
    with tarfile.open(fileobj=stream) as archive:
        assert {info.uid for info in archive} == {1000}
        for name, content in files.items():
            packed = archive.extractfile(f"input/data/train/{name}")
            assert packed is not None
            assert packed.read() == content
        settings = archive.extractfile("input/config/hyperparameters.json")
        assert settings is not None
        assert settings.read() == b'{\n  "a": "1"\n}'


def test_a_large_file_is_packed_in_small_pieces(tmp_path: Path) -> None:
    job = job_with({"part-0.parquet": b"x" * 10**6}, tmp_path)
    assert max(map(len, pack(job, owner=1000))) <= 64 * 1024


def test_a_file_that_shrinks_while_it_is_copied_is_an_error(tmp_path: Path) -> None:
    stream = pack(job_with({"part-0.parquet": b"x" * 10**6}, tmp_path), owner=1000)
    for chunk in stream:
        if len(chunk) == 64 * 1024:
            break
    (tmp_path / "part-0.parquet").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="Do not write into a snapshot"):
        list(stream)


@given(st.binary(max_size=3000), st.integers(min_value=1, max_value=2000))
def test_unpacking_does_not_depend_on_how_the_stream_is_cut(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
) -> None:
    folder = tmp_path_factory.mktemp("output")
    data = b"".join(tar((member("model", tarfile.DIRTYPE), b""), (member("model/MLmodel"), content)))
    unpack(iter([data[start : start + size] for start in range(0, len(data), size)]), folder, budget())
    assert (folder / "model" / "MLmodel").read_bytes() == content


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (member("model/../../evil"), "outside of its folder"),
        (member("/etc/evil"), "outside of its folder"),
        (member("model/link", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        (member("model/link", tarfile.SYMTYPE, "MLmodel"), "a link or a device"),
        (member("model/link", tarfile.LNKTYPE, "../../etc/passwd"), "a link or a device"),
        (member("model/pipe", tarfile.FIFOTYPE), "a link or a device"),
        (member("model/disk", tarfile.BLKTYPE), "a link or a device"),
    ],
)
def test_what_is_no_plain_file_below_its_folder_is_refused(tmp_path: Path, info: tarfile.TarInfo, words: str) -> None:
    output = tmp_path / "output"
    with pytest.raises(JobOutputError, match=words):
        unpack(tar((info, b"")), output, budget())
    assert [path for path in tmp_path.rglob("*") if path != output] == []


def test_more_than_the_budget_is_not_written(tmp_path: Path) -> None:
    too_much = b"x" * (BUDGET_MB * 2**20 + 1)
    with pytest.raises(JobOutOfDiskError):
        unpack(tar((member("model/weights"), too_much)), tmp_path, budget())
    assert not (tmp_path / "model").exists()


def test_parts_of_a_folder_are_unpacked_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    link = member("ml/input/link", tarfile.SYMTYPE, "/etc/passwd")
    stream = tar((member("ml/input/rows"), b"x" * 10), (link, b""), (member("ml/model/MLmodel"), b"m"))
    assert unpack_parts(stream, ["model"], tmp_path / "output", budget(), most_else=10)
    assert [path.name for path in (tmp_path / "output").rglob("*") if path.is_file()] == ["MLmodel"]


def test_unpacking_parts_ends_where_too_much_else_comes_along(tmp_path: Path) -> None:
    stream = tar((member("ml/checkpoints/1"), b"x" * 11), (member("ml/model/MLmodel"), b"m"))
    assert not unpack_parts(stream, ["model"], tmp_path, budget(), most_else=10)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (member("ml/model/../../evil"), "outside of its folder"),
        (member("ml/model/link", tarfile.SYMTYPE, "MLmodel"), "a link or a device"),
    ],
)
def test_parts_are_not_to_be_trusted_either(tmp_path: Path, info: tarfile.TarInfo, words: str) -> None:
    output = tmp_path / "output"
    with pytest.raises(JobOutputError, match=words):
        unpack_parts(tar((info, b"")), ["model"], output, budget(), most_else=10)
    assert [path for path in tmp_path.rglob("*") if path != output] == []
