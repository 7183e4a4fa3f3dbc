"""The environment of this process, from which alone MLflow's client reads how to log in."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping


class SharedEnvironment:
    """Environment variables for the time of a call. Calls that want the same go on side by side, others take turns.

    :param defaults: variables to set where nobody has, whatever a call wants.
    """

    def __init__(self, defaults: Mapping[str, str]) -> None:
        self._defaults = defaults
        self._changed = threading.Condition()
        self._held: Mapping[str, str] = {}
        self._before: Mapping[str, str | None] = {}
        self._holders = 0
        self._waiting = 0

    @property
    def is_wanted(self) -> bool:
        """Whether a call waits for its turn."""
        return self._waiting > 0

    @contextlib.contextmanager
    def hold(self, variables: Mapping[str, str]) -> Iterator[None]:
        """Set the variables for as long as the block lasts."""
        with self._changed:
            self._enter(variables)
        try:
            yield
        finally:
            with self._changed:
                self._leave()

    def _enter(self, variables: Mapping[str, str]) -> None:
        # Nobody joins in while another waits, who would else never have a turn.
        if self._holders and (self.is_wanted or self._held != variables):
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._holders)
            finally:
                self._waiting -= 1
        if not self._holders:
            defaults = {name: value for name, value in self._defaults.items() if name not in os.environ}
            self._held = variables
            self._before = {name: os.environ.get(name) for name in (*defaults, *variables)}
            os.environ.update({**defaults, **variables})
        self._holders += 1

    def _leave(self) -> None:
        self._holders -= 1
        if self._holders:
            return
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._changed.notify_all()
