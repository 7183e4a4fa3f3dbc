"""A process that appends to an audit trail: ``python -m tests.integration.ledger_writer '<JSON of its arguments>'``.

Arguments: ``root`` (a local folder, or a bucket's folder with ``endpoint``), ``name``, ``count``, and ``stop``
(``before`` or ``after`` the write that counts): then it says so and waits to be killed.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from fsspec import filesystem

from airflow_mlops.domain.audit.entry import EventKind
from airflow_mlops.engines.fsspec import Storage
from airflow_mlops.engines.ledger import Ledger
from tests.unit.domain.audit.trail import event


def open_root(root: str, endpoint: str | None) -> Storage:
    """Open the folder without Airflow, which would take seconds to start."""
    if endpoint is None:
        return Storage(filesystem=filesystem("file"), path=root, uri=root)
    s3 = filesystem("s3", key="tests", secret="tests-secret", endpoint_url=endpoint)  # noqa: S106 - of the test's server
    return Storage(filesystem=s3, path=root, uri=f"s3://{root}")


def stop_at(stop: str, owner: Any, name: str) -> None:
    """Stop this process before or after it calls a function."""
    call: Callable[..., Any] = getattr(owner, name)

    def stopping(*args: Any, **kwargs: Any) -> Any:
        if stop == "after":
            call(*args, **kwargs)
        print(stop, flush=True)  # noqa: T201 - what the test waits for
        time.sleep(600)

    setattr(owner, name, stopping)


def main(root: str, name: str, count: int, endpoint: str | None = None, stop: str | None = None) -> None:
    """Append ``count`` events of a Dag run of this writer's name."""
    storage = open_root(root, endpoint)
    ledger = Ledger(root=storage, patience_seconds=240)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    if stop:
        stop_at(stop, *((os, "link") if endpoint is None else (storage.filesystem, "pipe_file")))
    for number in range(count):
        ledger.append(event(EventKind.GATE, str(number), run=f"{name}-{number}"))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
