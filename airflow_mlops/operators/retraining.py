"""Decide whether a watched model is to be trained again, and tell others of it once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias, Context
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.timezone import utcnow

from airflow_mlops.assets import retraining_asset
from airflow_mlops.domain.audit.entry import Chain
from airflow_mlops.domain.audit.history import serving_history
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.monitoring_html import HISTORY_WINDOWS, render_history
from airflow_mlops.domain.registry import CHAMPION
from airflow_mlops.domain.retraining import RetrainDecision, RetrainPolicy, RetrainVerdict, WindowOutcome
from airflow_mlops.domain.retraining_events import retraining_decided
from airflow_mlops.domain.retraining_rules import next_decision
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.exceptions import InvalidInputError, MlopsError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.mlflow import MlflowHook
from airflow_mlops.hooks.monitoring import monitoring_records
from airflow_mlops.links.mlflow import HistoryLink
from airflow_mlops.links.report import report_url
from airflow_mlops.operators.audit import append_event
from airflow_mlops.operators.base import MlopsOperator, report_folder, work_key_of
from airflow_mlops.operators.monitoring_alerts import (
    ALERT_FORGOTTEN,
    FORGOTTEN,
    OWN_TIME,
    Notifiers,
    has_alert,
    send_alert,
    shown_at,
    task_url,
)

if TYPE_CHECKING:
    from airflow.sdk.execution_time.comms import AssetEventResult

    from airflow_mlops.engines.monitoring import MonitoringRecords

RETRAININGS = AssetAlias("mlops-retrainings")
"""Through it comes the event of a model's retraining: only when there is one, and for models of any name."""

_RECENT = 20
"""Decisions that a task looks back on, for one that was made and not told."""


class RetrainDecisionOperator(MlopsOperator):
    """Close a window: put together what was found in it, decide whether to train again, and tell others once.

    The decision is a function of the outcomes of the windows and of the decisions before, which lie in the artifact
    store. So a retry, a restart, a backfill or two workers at once come to the same decision, and tell it once: by an
    event of ``retraining_asset(model_name)``, which carries the reasons, and by an entry of the audit trail.

    Give it the trigger rule ``all_done``, so that it also runs when a check was skipped or has failed, and let a task
    with ``none_failed`` come after it and the checks, so that the Dag run fails with any of them.

    :param model_name: the model that is watched (templated).
    :param checks: what the check operators of this window returned; missing ones are left out (templated).
    :param validation: what ``DataValidationOperator`` returned of this window's data (templated). With
        ``on_failure="warn"`` it also returns it when the data is bad. Where that task returned nothing, since it has
        failed, nothing that was found in the window counts until it has.
    :param window_start: start of the window, in ISO 8601; needed where no check may be there to tell it (templated).
    :param window_end: first moment after the window (templated).
    :param policy: :class:`~airflow_mlops.domain.retraining.RetrainPolicy`, or the same as a mapping (templated).

    :param notifiers: told of the first finding, of each new kind of finding, of a retraining, and when all is well
        again: one message for all that a window brought. Their templates find ``monitoring`` in the context, a
        :class:`~airflow_mlops.domain.monitoring_alert.MonitoringAlert` as a dict.
    :param alert_every_window: tell of each window with a finding.
    :param mlflow_conn_id: the MLflow connection. The history is kept in the champion's run, too, so that a browser can
        open it; ``None`` for models that MLflow does not know.

    Returns the :class:`~airflow_mlops.domain.retraining.RetrainDecision` as a dict.

    :raises InvalidInputError: when a check is of another model or window.
    :raises StorageUnavailableError: when the artifact store does not answer; a retry decides.
    """

    template_fields: Sequence[str] = ("model_name", "checks", "validation", "window_start", "window_end", "policy")
    operator_extra_links = (HistoryLink(),)
    ui_color = "#d0e0e3"

    def __init__(
        self,
        *,
        model_name: str,
        checks: Any = (),
        validation: Any = None,
        window_start: str | None = None,
        window_end: str | None = None,
        policy: RetrainPolicy | Mapping[str, Any] | None = None,
        notifiers: Notifiers = (),
        alert_every_window: bool = False,
        mlflow_conn_id: str | None = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.checks = checks
        self.validation = validation
        self.is_validated = validation is not None
        self.window_start = window_start
        self.window_end = window_end
        self.policy = policy
        self.notifiers = notifiers
        self.alert_every_window = alert_every_window
        self.mlflow_conn_id = mlflow_conn_id
        self.outlets = [*self.outlets, RETRAININGS]

    def execute(self, context: Context) -> dict[str, Any]:
        """Close the window, decide what can be decided, and tell what was decided and not told."""
        records = monitoring_records(self.model_name)
        window = self.measure(records)
        decision = self.record(records, window, context)
        self.tell(records, context)
        self.log.info("%s", decision.summary)
        return decision.to_dict()

    def measure(self, records: MonitoringRecords) -> Window:
        """Write down what all checks of the window found, and return the window."""
        checks = list(self._read_checks())
        window = self._window(checks)
        if (quality := self._quality(records, window)) is not None:
            records.record(quality)
            checks.append(quality)
        records.close(window, checks, utcnow())
        return window

    def record(self, records: MonitoringRecords, window: Window, context: Context) -> RetrainDecision:
        """Decide the windows whose turn it is, in the order of time, and return the newest decision.

        A window that comes late, or a verdict that comes late, makes the newest window be decided again.
        """
        policy = self._policy()
        superseded = _superseded(self.model_name)
        by = str(work_key_of(context))
        seen: dict[str, WindowOutcome] = {}
        while True:
            newest = next(iter(records.newest_decisions()), None)
            known = records.outcomes_after(newest.window if newest else None, seen)
            decided = next_decision(policy, known, newest, now=utcnow(), superseded=superseded)
            if decided is None:
                return newest if newest and window.key <= newest.window.key else _waiting(self.model_name, window)
            decided = replace(decided, decided_at=utcnow(), decided_by=by)
            if records.create(decided):
                self.log.info("%s: %s", decided.window, decided.summary)
            else:
                seen.clear()  # Another worker was faster, and may know more.

    def tell(self, records: MonitoringRecords, context: Context) -> None:
        """Tell what was decided and not yet told: retrainings to other Dags, and what people asked to be told."""
        recent = records.newest_decisions(_RECENT)
        self.tell_retrainings(records, recent, context)
        links = {"History of the model": self.show(records, context), "Task": task_url(context)}
        for decision in recent if self.notifiers else ():
            is_due = has_alert(decision, every_window=self.alert_every_window)
            if is_due and self._age(decision, context) < ALERT_FORGOTTEN:
                send_alert(records, decision, self.notifiers, context, links)

    def tell_retrainings(self, records: MonitoringRecords, recent: Sequence[RetrainDecision], context: Context) -> None:
        """Emit the events of retrainings that have none, and record them in the audit trail.

        Airflow keeps an event only when the task succeeds. So what was told is read from Airflow's own events; a
        retry, or a later run when this one has failed for good, tells what is missing there.
        """
        due = [item for item in recent if item.is_retraining and self._age(item, context) < FORGOTTEN]
        if not due:
            return
        told = _told(self.model_name, min(item.decided_at for item in due if item.decided_at))
        for decision in due:
            if decision.key in told or not self._takes_on(records, decision, context):
                continue
            append_event(context, retraining_decided(decision))
            asset = retraining_asset(self.model_name)
            context["outlet_events"][RETRAININGS].add(asset, extra=decision.event().to_dict())
            self.log.warning("%s", decision.summary)

    def show(self, records: MonitoringRecords, context: Context) -> str:
        """Write the page of the model's history, link it in the UI, and return its address."""
        entries = audit_trail().newest(Chain.of_model(self.model_name))
        outcomes = [_with_pages(outcome, context) for outcome in records.newest_outcomes(HISTORY_WINDOWS)]
        html = render_history(self.model_name, outcomes, records.newest_decisions(), entries, utcnow())
        (records.folder / "history.html").write_text(html)
        if address := self._shown_in_mlflow(html):
            HistoryLink.persist(context, address)
            return address
        page = report_folder(context) / "history.html"
        page.write_text(html)
        HistoryLink.persist(context, report_url(work_key_of(context), "history.html"))
        return shown_at(page.uri, context)

    def _shown_in_mlflow(self, html: str) -> str:
        """Keep the page in the champion's MLflow run, where a browser can open it; return "" where that is not so."""
        if self.mlflow_conn_id is None:
            return ""
        try:
            mlflow = MlflowHook(self.mlflow_conn_id).engine()
            champion = mlflow.version_by_alias(self.model_name, CHAMPION)
            return mlflow.log_page(champion.run_id, "monitoring/history.html", html) if champion else ""
        except (MlopsError, AirflowNotFoundException) as error:
            self.log.warning("MLflow does not show the history: %s", error)
            return ""

    def _age(self, decision: RetrainDecision, context: Context) -> timedelta:
        """Return how old a decision is; of another task's, that has time of its own to tell, as good as for ever."""
        age = utcnow() - (decision.decided_at or utcnow())
        is_own = decision.decided_by == str(work_key_of(context))
        return age if is_own or age >= OWN_TIME else timedelta.max

    def _takes_on(self, records: MonitoringRecords, decision: RetrainDecision, context: Context) -> bool:
        """Whether this task is the one to tell: it has decided, or is the first to find that another one failed to."""
        own = str(work_key_of(context))
        return decision.decided_by == own or records.claim(
            f"{decision.key}.tell.{int(self._age(decision, context) / OWN_TIME)}", own
        )

    def _policy(self) -> RetrainPolicy:
        if isinstance(self.policy, RetrainPolicy):
            return self.policy
        return RetrainPolicy.from_dict(self.policy or {})

    def _read_checks(self) -> Iterator[WindowCheck]:
        given = [self.checks] if isinstance(self.checks, Mapping) else list(self.checks or ())
        for item in given:
            if item is None:
                continue
            check = WindowCheck.from_dict(item)
            if check.model_name != self.model_name:
                msg = f"A check is of {check.model_name}, but this task decides about {self.model_name}."
                raise InvalidInputError(msg)
            yield check

    def _quality(self, records: MonitoringRecords, window: Window) -> WindowCheck | None:
        """Return what is known of the data beyond what is recorded: a validation that broke leaves it unproven."""
        if self.validation is not None:
            return quality_check(ValidationReport.from_dict(self.validation), self.model_name, window)
        recorded = records.checks(window).get(CheckKind.QUALITY)
        is_known_bad = recorded is not None and recorded.verdict is CheckVerdict.VIOLATED
        if not self.is_validated or is_known_bad:
            return None
        return WindowCheck(
            kind=CheckKind.QUALITY,
            window=window,
            verdict=CheckVerdict.UNDECIDED,
            model_name=self.model_name,
            model_version="",
            rows=recorded.rows if recorded else 0,
            reasons=("The task that validates the data of this window returned nothing.",),
        )

    def _window(self, checks: Sequence[WindowCheck]) -> Window:
        windows = {check.window for check in checks}
        if self.window_start and self.window_end:
            windows.add(Window.parse(self.window_start, self.window_end))
        if len(windows) == 1:
            return windows.pop()
        found = "; ".join(sorted(map(str, windows))) or "none"
        msg = (
            f"The checks and the parameters window_start and window_end must be of one window, but they name {found}. "
            f"Give both parameters where all checks may be skipped."
        )
        raise InvalidInputError(msg)


def quality_check(report: ValidationReport, model_name: str, window: Window) -> WindowCheck:
    """Return what a validation says of a window."""
    return WindowCheck(
        kind=CheckKind.QUALITY,
        window=window,
        verdict=CheckVerdict.PASSED if report.success else CheckVerdict.VIOLATED,
        model_name=model_name,
        model_version="",
        rows=report.rows,
        reasons=() if report.success else (report.summary(),),
        figures={"failed_expectations": float(report.failure_count)},
        report_uri=report.report_uri,
    )


def _with_pages(outcome: WindowOutcome, context: Context) -> WindowOutcome:
    """Return the outcome with its reports where people can open them."""
    checks = (
        replace(check, report_uri=check.report_uri and shown_at(check.report_uri, context)) for check in outcome.checks
    )
    return replace(outcome, checks=tuple(checks))


def _waiting(model_name: str, window: Window) -> RetrainDecision:
    return RetrainDecision(
        model_name=model_name,
        sequence=0,
        window=window,
        revision=0,
        verdict=RetrainVerdict.WAITING,
        model_version="",
        summary=(
            f"Nothing is decided about the window from {window}: an earlier one is missing. The run that brings it "
            f"decides, or the next one after the policy's patience_hours."
        ),
    )


def _superseded(model_name: str) -> set[str]:
    """Return the versions that served once and do so no more, as far as the audit trail knows."""
    serving = serving_history(audit_trail().newest(Chain.of_model(model_name)))
    return {item.version for item in serving[:-1]} - {item.version for item in serving[-1:]}


def _told(model_name: str, since: datetime) -> set[str]:
    """Return the decisions that events of Airflow tell of."""
    uri = retraining_asset(model_name).uri
    events = told_since(since - OWN_TIME)
    return {str((event.extra or {}).get("decision")) for event in events if event.asset.uri == uri}


def told_since(moment: datetime) -> Sequence[AssetEventResult]:
    """Return the events of retrainings of all models after a time, as Airflow has them."""
    from airflow.sdk.execution_time.context import InletEventsAccessor

    # The one in the context knows the task's inlets, but those of a mapped task only where its Dag names them.
    return InletEventsAccessor(alias_name=RETRAININGS.name).after(moment.isoformat())
