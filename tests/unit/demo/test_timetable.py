"""The demo says where the time went."""

import time

from demo.airflow import Run, Task
from demo.timetable import Timetable, Watch


def test_every_part_has_its_line() -> None:
    timetable = Timetable(began=time.time() - 100)
    timetable.add_start({"flights by month": 9.0, "Airflow": 34.0})
    watch = Watch(run_id="round-1", started=time.monotonic() - 60, seconds_of_review=10)
    reached = timetable.until_approval(watch)
    train = Task(task_id="train", state="success", seconds=41.5, try_number=1)
    skipped = Task(task_id="promote", state="skipped", seconds=None, try_number=0)
    watch.run = Run(run_id="round-1", state="success", tasks=(train, skipped))
    timetable.add_round(watch)

    assert reached.strip() == "Reached 60 s after the trigger, 100 s after the command."
    lines = [line.rsplit(maxsplit=1) for line in str(timetable).splitlines()[2:]]
    assert [(what.strip(), float(seconds)) for what, seconds in lines] == [
        ("from the command to the start of the servers", 100.0),
        ("servers, data and image, side by side", 34.0),
        ("flights by month", 9.0),
        ("Airflow", 34.0),
        ("round-1 without the review", 50.0),
        ("from the trigger to the approval", 60.0),
        ("train", 41.5),
    ]
