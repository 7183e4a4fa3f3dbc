"""What people are told of a watched model: one message for all that one window brought."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_mlops.domain.monitoring import CheckKind, Window
from airflow_mlops.domain.retraining import KIND_NAMES, AlertKind, RetrainDecision
from airflow_mlops.domain.serialization import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringAlert(Document):
    """A message, as templates of notifiers find it under ``monitoring``."""

    kind: AlertKind
    subject: str
    """One line."""
    body: str
    """Paragraphs of plain text, with the addresses at the end."""
    model_name: str
    model_version: str
    window: Window
    kinds: tuple[CheckKind, ...]
    """Findings that are not over."""
    new_kinds: tuple[CheckKind, ...]
    summary: str
    """The decision, as a sentence."""
    is_retraining: bool
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses by what lies there."""

    @classmethod
    def of(cls, decision: RetrainDecision, links: Mapping[str, str]) -> "MonitoringAlert":
        """Return the message about a decision.

        :param links: more addresses than those of the reports; empty ones are left out.
        """
        assert decision.alert is not None  # noqa: S101 - the caller asks only where there is something to tell
        reports = {f"Report on {KIND_NAMES[CheckKind(kind)]}": uri for kind, uri in decision.reports.items()}
        links = {name: uri for name, uri in (reports | dict(links)).items() if uri}
        paragraphs = [
            f"Window: {decision.window}.",
            *(_finding(decision, kind) for kind in decision.open_kinds),
            decision.summary,
            "\n".join(f"{name}: {uri}" for name, uri in links.items()),
        ]
        return cls(
            kind=decision.alert,
            subject=_subject(decision),
            body="\n\n".join(paragraph for paragraph in paragraphs if paragraph),
            model_name=decision.model_name,
            model_version=decision.model_version,
            window=decision.window,
            kinds=decision.open_kinds,
            new_kinds=decision.new_kinds,
            summary=decision.summary,
            is_retraining=decision.is_retraining,
            links=links,
        )


def _subject(decision: RetrainDecision) -> str:
    of = f"{decision.model_name} version {decision.model_version}" if decision.model_version else decision.model_name
    open_kinds = " and ".join(KIND_NAMES[kind] for kind in decision.open_kinds)
    new_kinds = " and ".join(KIND_NAMES[kind] for kind in decision.new_kinds)
    subject = {
        AlertKind.VIOLATION: f"{of}: {new_kinds}",
        AlertKind.NEW_KIND: f"{of}: now also {new_kinds}",
        AlertKind.RETRAINING: f"{of}: {open_kinds or 'findings'} again",
        AlertKind.RECOVERY: f"{of} has recovered",
        AlertKind.ONGOING: f"{of}: still {open_kinds}",
    }[decision.alert or AlertKind.ONGOING]
    return f"{subject}; a retraining starts" if decision.is_retraining else subject


def _finding(decision: RetrainDecision, kind: CheckKind) -> str:
    new = " (new)" if kind in decision.new_kinds else ""
    found = " ".join(decision.findings.get(kind.value, ())) or "no details were given."
    return f"{KIND_NAMES[kind].capitalize()}{new}: {found}"
