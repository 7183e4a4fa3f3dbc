"""What a job's process does before it becomes the job: limit itself, and tie its life to the worker's.

It runs as a script of its own, because code between fork and exec is not safe in a process with threads such as a
worker: ``python -I -S process_launcher.py PARENT MEMORY_BYTES FILE_BYTES PROGRAM ARGUMENT…``.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Set the limits, and execute the program in this process."""
    parent, memory, file_size = map(int, arguments[:3])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It has died before it could have been noticed.
        sys.exit(128 + signal.SIGKILL)
    # Data and not address space: threads and libraries reserve far more addresses than they ever use.
    for limit, value in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_FSIZE, file_size), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowest, lowest))
    os.execv(arguments[3], arguments[3:])  # noqa: S606 - the program that the Dag's author named


if __name__ == "__main__":
    main(sys.argv[1:])
