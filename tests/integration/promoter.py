"""A process that promotes a version: ``python -m tests.integration.promoter '<JSON of the operator's arguments>'``."""

import json
import sys
from types import SimpleNamespace
from typing import Any

from airflow_mlops.exceptions import MlopsError
from airflow_mlops.operators.promotion import PromoteModelOperator


def main(task_id: str, **arguments: Any) -> None:
    """Promote when a line is read, and print how it ended."""
    operator = PromoteModelOperator(task_id=task_id, **arguments)
    ti = SimpleNamespace(
        dag_id="loop", run_id=task_id, task_id=task_id, map_index=-1, try_number=1, xcom_push=lambda **_: None
    )
    context: Any = {
        "ti": ti,
        "task": operator,
        "dag": SimpleNamespace(folder="/"),
        "outlet_events": {outlet: SimpleNamespace(extra=None) for outlet in operator.outlets},
    }
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    sys.stdin.readline()
    try:
        operator.execute(context)
    except MlopsError as error:
        print(type(error).__name__, flush=True)  # noqa: T201
    else:
        print("promoted", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
