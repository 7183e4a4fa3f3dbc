"""The records of a watched model: one folder below ``monitoring/`` of the artifact store.

``windows/<window>/<kind>.json`` holds all that a check found, ``outcomes/<window>.json`` what has to be read of many
windows at once, ``decisions/<number>.json`` what was decided, one after the other. A decision is written once and never
changed. ``claims/`` keeps two tasks from doing the same thing.
"""

import bisect
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_mlops.domain.monitoring import CheckKind, Window, WindowCheck, check_path, monitoring_path
from airflow_mlops.domain.retraining import MOST_WINDOWS, RetrainDecision, WindowOutcome
from airflow_mlops.engines.fsspec import Storage

_DECISION = re.compile(r"\d{8}\.json")
_OUTCOME_FIGURES = 200
"""Figures of a check that an outcome keeps: of a drift check, those of the columns that drifted most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringRecords:
    """The records of one model.

    :param store: the artifact store.
    """

    store: Storage
    model_name: str

    @property
    def folder(self) -> Storage:
        """Where all of them lie."""
        return self.store / monitoring_path(self.model_name)

    # Checks and outcomes ----------------------------------------------------------------------------------------------

    def record(self, check: WindowCheck) -> None:
        """Write a check down. The same check of the same window replaces what was written before."""
        (self.store / check_path(check)).write_json(check.to_dict())

    def checks(self, window: Window) -> dict[CheckKind, WindowCheck]:
        """Return all that was found in a window."""
        folder = self.folder / f"windows/{window.key}"
        names = [name for name in folder.names() if name.endswith(".json") and not name.startswith(".")]
        found = (WindowCheck.from_dict(json.loads(data)) for data in folder.read_many(names).values())
        return {check.kind: check for check in found}

    def checked_since(self, moment: datetime, most: int = MOST_WINDOWS) -> list[WindowOutcome]:
        """Return what was found up to now in the newest windows that end after a time, oldest first."""
        newest = (Window.of_key(name) for name in (self.folder / "windows").names()[-most:])
        return [
            WindowOutcome(
                model_name=self.model_name, window=window, checks=tuple(self.checks(window).values()), closed_at=moment
            )
            for window in newest
            if window.end > moment
        ]

    def close(self, window: Window, checks: Iterable[WindowCheck], now: datetime) -> WindowOutcome:
        """Write down what all checks of a window found, those given and those recorded, and return it.

        A window that is closed again, with late labels, keeps the time at which it was first known.
        """
        found = {check.kind: check for check in checks} | self.checks(window)
        place = self.folder / f"outcomes/{window.key}.json"
        closed_at = WindowOutcome.from_dict(place.read_json()).closed_at if place.exists() else now
        outcome = WindowOutcome(
            model_name=self.model_name,
            window=window,
            checks=tuple(found[kind].bounded(figures=_OUTCOME_FIGURES) for kind in CheckKind if kind in found),
            closed_at=closed_at,
        )
        place.write_json(outcome.to_dict())
        return outcome

    def outcome_keys(self) -> list[str]:
        """Return the keys of all windows that are known, oldest first."""
        names = (self.folder / "outcomes").names()
        return [name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")]

    def outcomes(self, keys: Sequence[str]) -> list[WindowOutcome]:
        """Return the outcomes of windows by their keys."""
        contents = (self.folder / "outcomes").read_many([f"{key}.json" for key in keys])
        return [WindowOutcome.from_dict(json.loads(data)) for data in contents.values()]

    def outcomes_after(self, window: Window | None, seen: dict[str, WindowOutcome]) -> list[WindowOutcome]:
        """Return the first outcome after a window, and as many before it as a decision looks back on, oldest first.

        Without a window, the first outcome of all.

        :param seen: outcomes that were read before, which are not read again; those that are read now are added.
        """
        keys = self.outcome_keys()
        until = bisect.bisect_right(keys, window.key) if window else 0
        wanted = keys[max(0, until - MOST_WINDOWS) : until + 1]
        missing = [key for key in wanted if key not in seen]
        seen.update(zip(missing, self.outcomes(missing), strict=True))
        return [seen[key] for key in wanted]

    def newest_outcomes(self, most: int = MOST_WINDOWS) -> list[WindowOutcome]:
        """Return the outcomes of the newest windows, oldest first, whatever the number of windows."""
        return self.outcomes(self.outcome_keys()[-most:])

    # Decisions --------------------------------------------------------------------------------------------------------

    def decision_names(self) -> list[str]:
        """Return the file names of all decisions, oldest first."""
        return [name for name in (self.folder / "decisions").names() if _DECISION.fullmatch(name)]

    def newest_decisions(self, most: int = 1) -> list[RetrainDecision]:
        """Return the newest decisions, oldest first."""
        contents = (self.folder / "decisions").read_many(self.decision_names()[-most:])
        return [RetrainDecision.from_dict(json.loads(data)) for data in contents.values()]

    def create(self, decision: RetrainDecision) -> bool:
        """Write a decision down as the next one, and return whether it was written.

        Of several workers that decide at once one wins, and the others have to look again at what is known then.
        """
        place = self.folder / f"decisions/{decision.key}.json"
        if place.create_json(decision.to_dict()):
            return True
        # After a lost answer it may be this worker's own. Those of others name another task or time.
        return RetrainDecision.from_dict(place.read_json()) == decision

    def claim(self, name: str, by: str) -> bool:
        """Take on a piece of work that only one task may do, and return whether it is this task's."""
        place = self._claim(name)
        if place.create_json({"by": by}):
            return True
        return bool(place.read_json().get("by") == by)

    def claim_once(self, name: str) -> bool:
        """Take on a piece of work that must not be done twice, and return whether it is still to be done."""
        return self._claim(name).create_json({})

    def unclaim(self, name: str) -> None:
        """Give back a piece of work that could not be done."""
        self._claim(name).remove()

    def _claim(self, name: str) -> Storage:
        return self.folder / f"claims/{name}.json"
