"""What all commands share: settings of providers, connections, and errors in a line."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import wraps

from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_mlops.domain.audit.story import printable
from airflow_mlops.exceptions import MlopsError

UNKNOWN = 2
"""The status of a command that could not answer."""

Command = Callable[[Namespace], None]


def command(run: Callable[[Namespace], int]) -> Command:
    """Make a function a command: with the settings of providers, connections of the database, and errors in a line."""

    @suppress_logs_and_warning
    @providers_configuration_loaded
    @wraps(run)
    def told(args: Namespace) -> None:
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"  # As Airflow's own commands do, to read connections.
        try:
            status = run(args)
        except MlopsError as error:
            sys.stderr.write(f"{printable(str(error))}\n")
            status = UNKNOWN
        if status:
            raise SystemExit(status)

    return told
