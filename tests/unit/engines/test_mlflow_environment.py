"""Calls that need the process's environment, side by side or in turn."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_mlops.engines.mlflow.environment import SharedEnvironment

NAME, DEFAULT = "AIRFLOW_MLOPS_TEST", "AIRFLOW_MLOPS_TEST_DEFAULT"
PATIENCE = 20


def test_calls_that_want_the_same_go_on_side_by_side() -> None:
    shared, both = SharedEnvironment({}), threading.Barrier(2)

    def call() -> str | None:
        with shared.hold({NAME: "a"}):
            both.wait(PATIENCE)
            return os.environ.get(NAME)

    with ThreadPoolExecutor() as pool:
        assert [one.result() for one in [pool.submit(call) for _ in range(2)]] == ["a", "a"]
    assert NAME not in os.environ


def test_a_call_that_wants_another_waits_and_nobody_joins_in_before_it() -> None:
    shared, turns = SharedEnvironment({}), list[str]()

    def call(value: str) -> None:
        with shared.hold({NAME: value}):
            turns.append(os.environ[NAME])

    with ThreadPoolExecutor() as pool:
        with shared.hold({NAME: "a"}):
            other = pool.submit(call, "b")
            while not shared.is_wanted:
                pass
            late = pool.submit(call, "a")
            assert turns == []
        other.result(PATIENCE)
        late.result(PATIENCE)
    assert sorted(turns) == ["a", "b"]
    assert NAME not in os.environ


def test_a_default_gives_way_to_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedEnvironment({DEFAULT: "default"})
    with shared.hold({}):
        assert os.environ[DEFAULT] == "default"
    monkeypatch.setenv(DEFAULT, "own")
    with shared.hold({NAME: "a"}):
        assert os.environ[DEFAULT] == "own"
    assert os.environ[DEFAULT] == "own"
