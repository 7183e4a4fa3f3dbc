"""A task that has lost its supervisor ends, too: Airflow starts a retry, and two tries would take each other's work."""

import os
import signal
import threading
import time

_SECONDS = 1.0


def end_with_supervisor() -> None:
    """End this process as SIGKILL does, soon after the process has gone that supervises its task.

    Airflow runs each task in a child of the worker's process. When only the worker's is killed, the child goes on, but
    has no one to tell how it ended: what it then takes for a failure would stop the job that a retry goes on with.
    Does nothing where a task has no supervisor, as in ``dag.test()``.
    """
    from airflow.sdk.execution_time import comms, task_runner

    if not isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), comms.CommsDecoder):
        return
    supervisor = os.getppid()

    def watch() -> None:
        while os.getppid() == supervisor:
            time.sleep(_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
