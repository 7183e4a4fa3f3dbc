"""A process that promotes a version as soon as all who take part are ready: ``python -m tests.integration.promoter``.

Its standard input is JSON: the arguments of ``PromoteModelOperator``, and the run's name. It says ``ready``, waits for
a line, and says what became of it.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.exceptions import MlopsError
from airflow_mlops.operators.promotion import PromoteModelOperator


def main() -> None:
    given = json.loads(sys.stdin.readline())
    policy = PromotionPolicy.from_dict(given["policy"])
    operator = PromoteModelOperator(task_id="promote", **{**given["arguments"], "policy": policy})
    ti = SimpleNamespace(
        dag_id="race", run_id=given["run_id"], task_id="promote", map_index=-1, xcom_push=lambda **_: None, id="ti"
    )
    events = {outlet: SimpleNamespace(extra=None) for outlet in operator.outlets}
    context: Any = {"ti": ti, "task": operator, "outlet_events": events}
    say("ready")
    sys.stdin.readline()
    try:
        promotion = operator.execute(context)
    except MlopsError as error:
        say(f"{type(error).__name__}: {error}")
    else:
        say(f"promoted {promotion['version']}")


def say(text: str) -> None:
    sys.stdout.write(f"PROMOTER {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
