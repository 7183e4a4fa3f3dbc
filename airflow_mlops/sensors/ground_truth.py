"""Wait until labels have come for what a model answered, before its answers are judged."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue, conf
from airflow.sdk.timezone import utcnow

from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.prediction_log import may_hold
from airflow_mlops.exceptions import NoRowsError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.operators.base import permanent_errors_fail
from airflow_mlops.operators.dataset import find_source_files
from airflow_mlops.triggers.files import NewFilesTrigger, listing

if TYPE_CHECKING:
    from airflow_mlops.engines.duckdb import LabelShare, LocalSource

_LEAST_WAIT = timedelta(seconds=1)


class GroundTruthSensor(BaseSensorOperator):
    """Wait until a share of the answers of a window have labels, or ``timeout`` has passed.

    A window without answers is waited for, too. With ``soft_fail=True`` the task is skipped after the timeout, so that
    what follows with the trigger rule ``none_failed`` goes on with the labels there are.

    :param model_name: the registered model (templated).
    :param log: where its prediction log lies: a folder or a glob (templated).
    :param labels: where its labels lie: a folder or a glob; without any, none are waited for (templated).
    :param window_start: ISO 8601 (templated).
    :param window_end: ISO 8601 (templated).
    :param share: from which share of labelled answers on to go on, such as 0.9.
    :param deferrable: free the worker. A triggerer waits until files come, at ``poke_interval``, and a worker looks
        into them then. Default is ``[operators] default_deferrable``.

    Returns ``{"answers": …, "labelled": …}``.

    :raises DatasetError: when the log or the labels lack the columns of their contract.
    """

    template_fields: Sequence[str] = ("model_name", "source", "labels", "window_start", "window_end")
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        model_name: Any,
        log: Any,
        labels: Any,
        window_start: Any = "{{ data_interval_start }}",
        window_end: Any = "{{ data_interval_end }}",
        share: float = 0.9,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        permanent_errors_fail(kwargs)
        super().__init__(**kwargs)
        self.model_name = model_name
        self.source = log
        self.labels = labels
        self.window_start = window_start
        self.window_end = window_end
        self.share = share
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look once, and leave the waiting to a triggerer, or look until the labels are there."""
        if not self.labels or self.labels == "None":
            self.log.info("%s has no labels, so none are waited for.", self.model_name)
            return None
        if not self.deferrable:
            return super().execute(context)
        return self._look_or_defer(utcnow() + timedelta(seconds=self.timeout))

    def execute_complete(self, context: Context, event: Any, deadline: str) -> Any:  # noqa: ARG002 - Airflow's
        """Look again: there are other files than before."""
        return self._look_or_defer(datetime.fromisoformat(deadline))

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's
        """Look once."""
        found = self.look()
        return PokeReturnValue(is_done=self._suffices(found), xcom_value=_counts(found))

    def look(self) -> LabelShare:
        """Count answers and labels."""
        from airflow_mlops.engines.duckdb import LabelShare, LocalSource, count_labelled

        window = Window.parse(self.window_start, self.window_end)
        with contextlib.ExitStack() as copies:

            def local(address: str, *, by_day: bool) -> list[LocalSource]:
                root = address.split("*", maxsplit=1)[0]
                try:
                    files = find_source_files(address)
                except NoRowsError:
                    return []
                wanted = [
                    file
                    for file in files
                    if not by_day or may_hold(file.uri.removeprefix("file://").removeprefix(root), window)
                ]
                return [LocalSource(uri=file.uri, path=copies.enter_context(file.local())) for file in wanted]

            log = local(str(self.source), by_day=True)
            found = LabelShare(answers=0, labelled=0)
            if log:
                labels = local(str(self.labels), by_day=False)
                found = count_labelled(log, labels, window=window, model_name=self.model_name, limits=duckdb_limits())
        self.log.info(
            "%d of %d answers from %s have labels; %.0f %% are waited for.",
            found.labelled,
            found.answers,
            window,
            100 * self.share,
        )
        return found

    def _suffices(self, found: LabelShare) -> bool:
        return found.answers > 0 and found.share >= self.share

    def _look_or_defer(self, deadline: datetime) -> dict[str, int]:
        addresses = [str(self.source), str(self.labels)]
        seen = listing(addresses)  # Before the look: what comes meanwhile is looked at again.
        found = self.look()
        if not self._suffices(found):
            self._wait(addresses, seen, deadline)
        return _counts(found)

    def _wait(self, addresses: Sequence[str], seen: str, deadline: datetime) -> NoReturn:
        self.defer(
            trigger=NewFilesTrigger(addresses=addresses, seen=seen, poll_interval=self.poke_interval),
            method_name="execute_complete",
            kwargs={"deadline": deadline.isoformat()},
            timeout=max(deadline - utcnow(), _LEAST_WAIT),
        )


def _counts(found: LabelShare) -> dict[str, int]:
    return {"answers": found.answers, "labelled": found.labelled}
