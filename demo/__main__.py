"""``python -m demo``: a model is trained and approved; then it is watched, decays, and is followed by a better one.

Environment:
    DEMO_APPROVE=yes        the demo answers the approvals itself, through Airflow's REST API
    DEMO_EXIT=yes           end when both acts are done; status 0 only if a model was promoted
    DEMO_MONTHS=4-12        which months of production to watch; 0 leaves the second act out
    DEMO_BACKEND=process    train as a child process although a Docker engine answers (or docker)
    DEMO_FOLDER             where everything is kept (default: .demo in the project)
    DEMO_STARTED            when the command was typed, in seconds since 1970; ``make`` sets it
"""

import contextlib
import os
import re
import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from demo.loop import DemoError, Round, pause, play
from demo.processes import INTERRUPTS, ChildError, no_process_left, sole_user_of
from demo.reviewers import reviewer_of_this_terminal
from demo.stack import PROJECT, TRAINER_IMAGE, USER, Backend, Stack
from demo.timetable import Timetable
from demo.watching import watch_production

FIRST_MODEL = Round(
    title="ACT ONE: train on January and February 2013, judge on March. There is no champion yet.",
    train_start="2013-01-01",
    train_end="2013-03-01",
    holdout_end="2013-04-01",
)
WATCHED_MONTHS = range(4, 13)
BACKENDS: dict[str, Backend | None] = {"docker": "docker", "process": "process", "": None}


def main() -> int:
    """Run the demo and return its exit status."""
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a program's stdout is a text file
    folder = Path(os.environ.get("DEMO_FOLDER", PROJECT / ".demo")).resolve()
    timetable = Timetable(began=float(os.environ.get("DEMO_STARTED") or time.time()))
    print(f"Starting Airflow and MLflow in {folder}/run, which is made anew each time.")
    try:
        months = _months()
        with (
            no_process_left(),
            sole_user_of(folder),
            Stack(folder, backend=_backend(), first_month=months[0] if months else WATCHED_MONTHS[0]) as stack,
        ):
            return _tell(stack, timetable, months)
    except (ChildError, DemoError, EOFError) as error:
        print(f"\nTHE DEMO FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; no process is left behind.")
        return 130


def _tell(stack: Stack, timetable: Timetable, months: range) -> int:
    """Play both acts, then wait for Ctrl-C."""
    reviewer = reviewer_of_this_terminal(wait=partial(pause, stack))
    timetable.add_start(stack.seconds)
    print(f"\n  Airflow: {stack.airflow.url}   login {USER}, password {stack.password}\n  MLflow:  {stack.mlflow_uri}")
    where = f"containers of {TRAINER_IMAGE}" if stack.backend == "docker" else "child processes, without Docker"
    print(f"  Jobs:    {where}")
    first = play(stack, FIRST_MODEL, reviewer, timetable, run_id=f"first-model-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    timetable.add_round(first)
    trainings = watch_production(stack, reviewer, timetable, months) if first.is_promoted else []
    print(timetable)
    is_promoted = any(watch.is_promoted for watch in (first, *trainings))
    if os.environ.get("DEMO_EXIT") == "yes":
        return 0 if is_promoted else 1
    print("\nAirflow and MLflow keep running for you to look around. Ctrl-C ends them.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            pause(stack, 1)
    return 0 if is_promoted else 1


def _months() -> range:
    wanted = os.environ.get("DEMO_MONTHS", "4-12")
    if wanted == "0":
        return range(0)
    match = re.fullmatch(r"(\d+)-(\d+)", wanted)
    months = range(int(match[1]), int(match[2]) + 1) if match else range(0)
    if not months or months[0] not in WATCHED_MONTHS or months[-1] not in WATCHED_MONTHS:
        msg = f"DEMO_MONTHS={wanted} are no months from 4 to 12, such as 4-12 or 7-7, nor 0 for none."
        raise DemoError(msg)
    return months


def _backend() -> Backend | None:
    wanted = os.environ.get("DEMO_BACKEND", "")
    if wanted not in BACKENDS:
        msg = f"DEMO_BACKEND={wanted} is neither docker nor process."
        raise DemoError(msg)
    return BACKENDS[wanted]


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Treat TERM and a closed terminal like Ctrl-C, so that every ``with`` block ends what it started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
