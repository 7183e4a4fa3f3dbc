"""The decision on a real artifact store: told once, whatever happens in between."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from airflow.sdk import BaseNotifier

from airflow_mlops.domain.audit.entry import AuditEvent, Chain, EventKind, Happening, Origin
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.retraining import RetrainDecision, RetrainPolicy, RetrainVerdict
from airflow_mlops.domain.training_request import RetrainingEvent
from airflow_mlops.domain.validation import ValidationReport
from airflow_mlops.domain.work_key import WorkKey
from airflow_mlops.exceptions import InvalidInputError
from airflow_mlops.hooks.audit import audit_trail
from airflow_mlops.hooks.monitoring import monitoring_records
from airflow_mlops.links.report import report_url
from airflow_mlops.operators.retraining import RETRAININGS, RetrainDecisionOperator, quality_check
from airflow_mlops.operators.windows import record_check

NOTHING_CAME = "{{ ti.xcom_pull(task_ids='validate') }}"
START = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


class Airflow:
    """Keeps the asset events of tasks that succeed, as Airflow does, and none of those that fail."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.links: dict[str, str] = {}

    def run(self, run_id: str, *, dag_id: str = "watch", fails: bool = False, **arguments: Any) -> RetrainDecision:
        added: list[Any] = []

        def add(asset: Any, extra: dict[str, Any]) -> None:
            added.append(SimpleNamespace(asset=asset, extra=extra, timestamp=datetime.now(UTC)))

        ti = SimpleNamespace(dag_id=dag_id, run_id=run_id, task_id="decide", map_index=-1)
        ti.xcom_push = lambda key, value: self.links.update({key: value})
        context: Any = {
            "dag": None,
            "ti": ti,
            "outlet_events": {RETRAININGS: SimpleNamespace(add=add)},
        }
        operator = RetrainDecisionOperator(
            task_id="decide", **{"model_name": "late", "mlflow_conn_id": None, **arguments}
        )
        if operator.validation == NOTHING_CAME:
            operator.validation = None  # as Airflow renders what a task that failed did not return
        decision = RetrainDecision.from_dict(operator.execute(context))
        if not fails:
            self.events.extend(added)
        return decision

    @property
    def retrainings(self) -> list[RetrainingEvent]:
        return [RetrainingEvent.from_dict(event.extra) for event in self.events]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()

    def told_since(moment: datetime) -> list[Any]:
        return [event for event in airflow.events if event.timestamp >= moment]

    monkeypatch.setattr("airflow_mlops.operators.retraining.told_since", told_since)
    return airflow


def window(number: int) -> Window:
    return Window(start=START + timedelta(days=number), end=START + timedelta(days=number + 1))


def check(number: int, verdict: str = "violated", kind: str = "data_drift", version: str = "1") -> dict[str, Any]:
    found = WindowCheck(
        kind=CheckKind(kind),
        window=window(number),
        verdict=CheckVerdict(verdict),
        model_name="late",
        model_version=version,
        rows=100,
        reasons=("temp has drifted.",),
        figures={"drift.temp": 0.3},
        report_uri=f"file:///{kind}-{number}.html",
    )
    record_check(found)
    return found.to_dict()


def test_second_violation_starts_a_retraining_that_carries_its_reasons(airflow: Airflow) -> None:
    assert airflow.run("1", checks=[check(1)]).verdict is RetrainVerdict.NO_REASON
    decision = airflow.run("2", checks=[check(2), None])
    assert decision.summary == (
        "Retrain late: data drift of version 1 of late. Data drift in 2 of the last 2 windows, the last time in the "
        "window from 2013-04-03: temp has drifted."
    )
    (event,) = airflow.retrainings
    assert (event.model_name, event.model_version, event.window, event.attempt) == ("late", "1", window(2), 1)
    assert event.reasons == decision.reasons
    assert event.reports == {"data_drift": "file:///data_drift-2.html"}
    assert airflow.events[0].asset.uri == "mlops://retraining/late"


def test_five_violated_windows_in_a_row_start_one_retraining(airflow: Airflow) -> None:
    decisions = [airflow.run(str(number), checks=[check(number)]) for number in range(5)]
    assert [str(decision.verdict) for decision in decisions] == ["no_reason", "retrain", "held", "held", "held"]
    assert len(airflow.retrainings) == 1
    entries = audit_trail().read(Chain.of_model("late")).entries
    assert [entry.event_kind for entry in entries] == [EventKind.RETRAINING]
    assert entries[0].happening.summary == decisions[1].summary


def test_retry_after_a_crash_tells_what_was_decided(airflow: Airflow) -> None:
    airflow.run("1", checks=[check(1)])
    lost = airflow.run("2", checks=[check(2)], fails=True)
    assert lost.is_retraining
    assert airflow.retrainings == []
    assert airflow.run("2", checks=[check(2)]) == lost
    assert [event.decision for event in airflow.retrainings] == [lost.key]
    airflow.run("2", checks=[check(2)])  # cleared
    airflow.run("1", checks=[check(1)])
    assert len(airflow.retrainings) == 1
    assert len(audit_trail().read(Chain.of_model("late")).entries) == 1


def test_retraining_whose_task_failed_for_good_is_told_by_a_later_run(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.run("1", checks=[check(1)])
    lost = airflow.run("2", checks=[check(2)], fails=True)
    airflow.run("3", checks=[check(3)])
    assert airflow.retrainings == []  # Its own retry may be on its way.
    later = datetime.now(UTC) + timedelta(hours=2)
    monkeypatch.setattr("airflow_mlops.operators.retraining.utcnow", lambda: later)
    airflow.run("4", checks=[check(4)], fails=True)
    airflow.run("5", checks=[check(5)])
    assert airflow.retrainings == []  # The one that took it on may be on its way.
    airflow.run("4", checks=[check(4)])
    assert [event.decision for event in airflow.retrainings] == [lost.key]


def test_workers_at_once_tell_once(airflow: Airflow) -> None:
    checks = [check(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(airflow.run, str(number), checks=[checks[number]]) for number in range(8)]
        for run in runs:
            run.result()
    keys = [event.decision for event in airflow.retrainings]
    assert len(keys) == 1


@pytest.mark.parametrize("seed", range(6))
def test_windows_in_any_order_lead_to_the_same_retrainings_where_earlier_ones_are_waited_for(
    seed: int, airflow: Airflow
) -> None:
    policy = RetrainPolicy(cool_down_days=3, max_per_week=3, patience_hours=1, watched_since=window(0).start)
    verdicts = ["violated", "violated", "passed", "violated", "violated", "violated", "passed", "violated"]
    order = [number for number in range(8) for _ in range(2)]  # each one twice: a repeat
    random.Random(seed).shuffle(order)  # noqa: S311 - no secret
    for number in order:
        airflow.run(str(number), checks=[check(number, verdicts[number])], policy=policy)
    assert [event.window for event in airflow.retrainings] == [window(1), window(4)]
    assert [event.attempt for event in airflow.retrainings] == [1, 2]


class Mailbox(BaseNotifier):
    """Keeps the messages that it sends, or fails."""

    template_fields = ("text",)

    def __init__(self, text: str = "{{ monitoring.subject }}") -> None:
        super().__init__()
        self.text = text
        self.sent: list[str] = []
        self.is_down = False

    def notify(self, context: Any) -> None:
        if self.is_down:
            msg = "no mail today"
            raise OSError(msg)
        self.sent.append(self.text)


def test_incident_is_told_at_its_beginning_at_a_retraining_and_at_its_end_and_never_twice(airflow: Airflow) -> None:
    box = Mailbox()
    for number, letter in enumerate(["violated", "violated", "violated", "passed", "passed", "passed"]):
        for _ in range(2):  # a retry
            airflow.run(str(number), checks=[check(number, letter)], notifiers=[box])
    assert box.sent == [
        "late version 1: data drift",
        "late version 1: data drift again; a retraining starts",
        "late version 1 has recovered",
    ]


def test_message_groups_what_a_window_brought_with_links(
    airflow: Airflow, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow:8080/")
    box = Mailbox("{{ monitoring.subject }}\n{{ monitoring.body }}")
    airflow.run("scheduled__1+1", checks=[check(1), check(1, kind="bias")], notifiers=box)
    (message,) = box.sent
    assert message == (
        "late version 1: data drift and bias\n"
        "Window: 2013-04-02T00:00:00+00:00 to before 2013-04-03T00:00:00+00:00.\n\n"
        "Data drift (new): temp has drifted.\n\n"
        "Bias (new): temp has drifted.\n\n"
        "late is not trained again: there is data drift and bias in this window, but not yet often enough.\n\n"
        "Report on data drift: file:///data_drift-1.html\n"
        "Report on bias: file:///bias-1.html\n"
        "History of the model: http://airflow:8080/mlops/reports/?dag_id=watch&run_id=scheduled__1_1&task_id=decide"
        "&map_index=-1&name=history.html\n"
        "Task: http://airflow:8080/dags/watch/runs/scheduled__1%2B1/tasks/decide"
    )


@pytest.mark.parametrize("dag", ["watch", "überwacht"])
def test_message_links_reports_where_airflow_shows_them(
    dag: str, airflow: Airflow, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://mlops.example/airflow")
    key = WorkKey(dag_id=dag, run_id="scheduled__1+1", task_id="drift", map_index=2)
    report = store / "reports" / key.path / "drift.html"
    found = replace(WindowCheck.from_dict(check(1)), report_uri=str(report))
    record_check(found)
    box = Mailbox("{{ monitoring.links | tojson }}")
    airflow.run(key.run_id, dag_id=dag, checks=[found.to_dict()], notifiers=box)
    (message,) = map(json.loads, box.sent)

    def opened(url: str) -> Path:
        where = urlsplit(url)
        assert (where.scheme, where.netloc, where.path) == ("https", "mlops.example", "/airflow/mlops/reports/")
        asked = dict(parse_qsl(where.query))
        assert (asked["dag_id"], asked["map_index"]) == (dag, "-1")
        folder = WorkKey(dag_id=dag, run_id=asked["run_id"], task_id=asked["task_id"]).path
        return store / "reports" / folder / asked["name"]

    assert opened(message["Report on data drift"]) == report
    history = opened(message["History of the model"])
    assert message["Report on data drift"].replace("&", "&amp;") in history.read_text()
    assert opened(f"https://mlops.example{airflow.links['mlops_history_url']}") == history


def test_every_window_with_a_finding_is_told_where_that_is_asked_for(airflow: Airflow) -> None:
    box = Mailbox()
    for number in range(4):
        airflow.run(str(number), checks=[check(number)], notifiers=box, alert_every_window=True)
    assert box.sent[2:] == ["late version 1: still data drift"] * 2


def test_notifier_that_fails_loses_neither_the_retraining_nor_its_message(airflow: Airflow) -> None:
    broken, box = Mailbox(), Mailbox()
    broken.is_down = True
    for number in (1, 2):
        airflow.run(str(number), checks=[check(number)], notifiers=[broken, box])
    assert len(airflow.retrainings) == 1
    assert len(box.sent) == 2
    broken.is_down = False
    airflow.run("2", checks=[check(2)], notifiers=[broken, box])
    assert broken.sent == ["late version 1: data drift again; a retraining starts"]
    assert len(box.sent) == 2


def report(*, success: bool) -> dict[str, Any]:
    return ValidationReport(
        suite_name="flights",
        suite_digest="d",
        dataset_name="flights",
        dataset_digest="e" * 64,
        rows=100,
        success=success,
        expectation_count=3,
        failure_count=0 if success else 1,
        outcomes=(),
        report_uri="file:///validation.html",
    ).to_dict()


def test_validation_that_broke_leaves_open_whether_drift_counts(airflow: Airflow) -> None:
    for number in range(3):
        ready = monitoring_records("late")  # as PredictionWindowOperator does: there are rows
        ready.record(quality_check(ValidationReport.from_dict(report(success=True)), "late", window(number)))
        decision = airflow.run(str(number), checks=[check(number)], validation=NOTHING_CAME)
    assert decision.summary == "late is not trained again: the data of this window has not been validated."
    assert airflow.retrainings == []
    for number in (1, 2):  # the task is cleared, and its data is good
        decision = airflow.run(str(number), checks=[check(number)], validation=report(success=True))
    assert decision.is_retraining


def test_window_without_an_answer_stays_bad_though_its_validation_was_skipped(airflow: Airflow) -> None:
    monitoring_records("late").record(
        quality_check(ValidationReport.from_dict(report(success=False)), "late", window(0))
    )
    arguments: dict[str, Any] = {"window_start": window(0).start.isoformat(), "window_end": window(0).end.isoformat()}
    decision = airflow.run("0", validation=NOTHING_CAME, **arguments)
    assert decision.open_kinds == (CheckKind.QUALITY,)


def test_failed_validation_alerts_and_never_retrains(airflow: Airflow, store: Path) -> None:
    box = Mailbox()
    for number in range(4):
        decision = airflow.run(str(number), checks=[check(number)], validation=report(success=False), notifiers=box)
    assert airflow.retrainings == []
    assert box.sent == ["late version 1: bad data"]
    assert decision.findings["quality"][0].startswith("1 of 3 expectations of the suite 'flights' failed on flights")
    assert (store / f"monitoring/late/windows/{window(3).key}/quality.json").exists()


def test_window_without_any_result_says_which_it_is_by_its_parameters(airflow: Airflow) -> None:
    bounds: dict[str, Any] = {"window_start": window(1).start.isoformat(), "window_end": window(1).end.isoformat()}
    decision = airflow.run("1", checks=[None], **bounds)
    assert (decision.window, decision.verdict) == (window(1), RetrainVerdict.NO_REASON)
    with pytest.raises(InvalidInputError, match="they name none"):
        airflow.run("2", checks=[None, None])


def test_checks_of_another_window_or_model_are_refused(airflow: Airflow) -> None:
    with pytest.raises(InvalidInputError, match="must be of one window"):
        airflow.run("1", checks=[check(1), check(2)])
    with pytest.raises(InvalidInputError, match="A check is of late, but this task decides about other"):
        airflow.run("1", checks=[check(1)], model_name="other")


def test_page_of_the_history_is_written_and_linked(airflow: Airflow, store: Path) -> None:
    for number in range(3):
        airflow.run(str(number), checks=[check(number)])
    page = (store / "monitoring/late/history.html").read_text()
    assert "Retrain late: data drift of version 1" in page
    linked = WorkKey(dag_id="watch", run_id="2", task_id="decide")
    assert airflow.links["mlops_history_url"] == report_url(linked, "history.html")
    assert (store / "reports/watch/2/decide/history.html").read_text() == page


def test_all_figures_of_a_check_stay_in_its_record_and_the_outcome_is_small(airflow: Airflow, store: Path) -> None:
    many = WindowCheck.from_dict(check(1))
    many = replace(many, figures={f"drift.c{number}": 1.0 for number in range(5000)})
    record_check(many)
    airflow.run("1", checks=[many.bounded().to_dict()])
    records = monitoring_records("late")
    assert len(records.checks(window(1))[CheckKind.DATA_DRIFT].figures) == 5000
    (kept,) = records.newest_outcomes()
    assert len(kept.checks[0].figures) == 200


def serve(version: str, instead_of: str | None) -> None:
    happening = Happening(
        chain=Chain.of_model("late"),
        event_kind=EventKind.DEPLOYMENT,
        summary=f"Version {version} serves.",
        version=version,
        facts={"previous_version": instead_of},
    )
    origin = Origin(dag_id="promote", run_id=f"{instead_of} to {version}", task_id="promote")
    audit_trail().append(AuditEvent(happening=happening, at=datetime.now(UTC), started_by="alice", origin=origin))


def test_window_judged_on_a_version_that_was_just_replaced_starts_nothing(airflow: Airflow) -> None:
    serve("1", None)
    airflow.run("1", checks=[check(1)])
    serve("2", "1")
    decision = airflow.run("2", checks=[check(2)])
    assert decision.verdict is RetrainVerdict.HELD
    assert decision.summary.endswith("Version 1, which was judged, serves no more.")
    serve("1", "2")  # a rollback
    assert airflow.run("3", checks=[check(3)]).is_retraining


def test_history_of_a_model_that_mlflow_does_not_know_is_shown_by_airflow(
    airflow: Airflow, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", '{"conn_type": "mlflow"}')  # without a host
    airflow.run("1", checks=[check(1)], mlflow_conn_id="mlflow_default")
    linked = WorkKey(dag_id="watch", run_id="1", task_id="decide")
    assert airflow.links["mlops_history_url"] == report_url(linked, "history.html")
    assert (store / "reports/watch/1/decide/history.html").exists()


def test_message_that_could_not_be_sent_is_sent_by_the_next_run(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Mailbox()
    box.is_down = True
    airflow.run("1", checks=[check(1)], notifiers=box)
    box.is_down = False
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr("airflow_mlops.operators.retraining.utcnow", lambda: tomorrow)
    airflow.run("2", checks=[check(2, "passed")], notifiers=box)
    assert box.sent == ["late version 1: data drift"]
    airflow.run("2", checks=[check(2, "passed")], notifiers=box)
    assert len(box.sent) == 1
