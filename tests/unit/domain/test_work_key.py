"""A work key is the same for every try of one task, and for nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.work_key import WorkKey, safe_name


def key(**changes: object) -> WorkKey:
    return WorkKey(**{"dag_id": "d", "run_id": "r", "task_id": "t", **changes})  # type: ignore[arg-type] # a test's table


def test_every_part_of_the_identity_matters() -> None:
    keys = [key(), key(dag_id="x"), key(run_id="x"), key(task_id="x"), key(map_index=0), key(map_index=1)]
    assert len({str(one) for one in keys}) == len(keys)


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert str(key(dag_id="ab", run_id="c")) != str(key(dag_id="a", run_id="bc"))


def test_path_names_the_run_readably() -> None:
    one = key(run_id="manual__2026-01-02T03:04:05+00:00", map_index=3)
    assert one.path == "d/manual__2026-01-02T03_04_05_00_00/t-3"


@given(st.text())
def test_safe_name_never_leaves_its_folder(text: str) -> None:
    name = safe_name(text)
    assert name
    assert "/" not in name
    assert name.strip(".")


def test_dags_whose_names_are_no_ascii_do_not_share_a_folder() -> None:
    folders = {WorkKey(dag_id=dag_id, run_id="r", task_id="t").path for dag_id in ("ä", "ö", "_")}
    assert len(folders) == 3
    assert all(folder.isascii() for folder in folders)
