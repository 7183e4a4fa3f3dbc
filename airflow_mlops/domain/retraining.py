"""When a watched model is to be trained again: the policy, what is known of each window, and the decision."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.monitoring import CheckKind, CheckVerdict, Window, WindowCheck
from airflow_mlops.domain.serialization import Document
from airflow_mlops.domain.training_request import RetrainingEvent
from airflow_mlops.exceptions import PolicyError

MOST_WINDOWS: Final = 100
"""Windows that a decision looks back on at most."""
MOST_RETRAININGS: Final = 20
"""Retrainings that a decision remembers."""
WEEK: Final = timedelta(days=7)
RETRAINING_KINDS: Final = (CheckKind.DATA_DRIFT, CheckKind.DECAY, CheckKind.BIAS)
"""Findings that training on newer data can cure. Bad data is none of them."""
KIND_NAMES: Final[Mapping[CheckKind, str]] = {
    CheckKind.QUALITY: "bad data",
    CheckKind.DATA_DRIFT: "data drift",
    CheckKind.DECAY: "decay",
    CheckKind.BIAS: "bias",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule(Document):
    """How often one kind of finding must be made before it is a reason to train."""

    violations: int = 2
    """So many …"""
    windows: int = 5
    """… of so many windows that were decided, the newest one of them included and violated."""
    retrains: bool = True
    """Whether it is a reason at all. If not, it is alerted about, and nothing else."""

    def __post_init__(self) -> None:
        if not 1 <= self.violations <= self.windows <= MOST_WINDOWS:
            msg = (
                f"A rule of {self.violations} violations in {self.windows} windows cannot be kept: it takes at least 1 "
                f"violation, no more than there are windows, and at most {MOST_WINDOWS} windows."
            )
            raise PolicyError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPolicy(Document):
    """When to train again, and when not to. All times are those of the windows, not of the clock on the wall.

    So the same windows lead to the same decisions, also when they are caught up or filled in a year later.
    """

    data_drift: KindRule = field(default_factory=KindRule)
    decay: KindRule = field(default_factory=KindRule)
    bias: KindRule = field(default_factory=KindRule)
    cool_down_days: float = 7.0
    """Time from the window of a retraining to the next one that may start another."""
    back_off: float = 2.0
    """By what the cool-down grows with each retraining that led to no new champion: it was refused, or is under way."""
    longest_cool_down_days: float = 90.0
    """Where that growth ends."""
    max_per_week: int = 1
    """Retrainings within seven days."""
    min_new_rows: int = 1
    """Rows of good data since the last retraining; before the first, of all windows judged on this version."""
    recover_after: int = 2
    """Windows in a row that must pass until a finding is over. Violations before that count no longer."""
    patience_hours: float = 0.0
    """How long a decision waits for an earlier window that is missing; by the clock, from when the later one was known.
    0 decides at once by what is known. Above 0, windows that come within that time are decided in their order, so in
    whichever order they come. Windows that leave gaps on purpose, such as weekends, would be waited for in vain."""
    watched_since: datetime | None = None
    """Start of the first window there is, so that a decision that waits knows where to begin."""

    def __post_init__(self) -> None:
        least = {
            "cool_down_days": (self.cool_down_days, 0),
            "back_off": (self.back_off, 1),
            "longest_cool_down_days": (self.longest_cool_down_days, self.cool_down_days),
            "max_per_week": (self.max_per_week, 1),
            "min_new_rows": (self.min_new_rows, 0),
            "recover_after": (self.recover_after, 1),
            "patience_hours": (self.patience_hours, 0),
        }
        for name, (value, bound) in least.items():
            if not value >= bound:
                msg = f"{name} of the retrain policy is {value:g}, but must be at least {bound:g}."
                raise PolicyError(msg)
        if self.max_per_week > MOST_RETRAININGS:
            msg = f"max_per_week of the retrain policy is {self.max_per_week}, but must be at most {MOST_RETRAININGS}."
            raise PolicyError(msg)
        if self.watched_since is not None:
            object.__setattr__(self, "watched_since", utc(self.watched_since))

    def rule(self, kind: CheckKind) -> KindRule:
        """Return the rule of a kind that can be a reason to train."""
        rule: KindRule = getattr(self, kind.value)
        return rule

    def cool_down(self, attempts: int) -> timedelta:
        """Return how long to wait after so many retrainings in vain."""
        days = min(self.cool_down_days * self.back_off ** min(max(attempts - 1, 0), 64), self.longest_cool_down_days)
        return timedelta(days=days)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOutcome(Document):
    """What all checks of one window found, as small as many windows have to be to be read at once."""

    model_name: str
    window: Window
    checks: tuple[WindowCheck, ...]
    closed_at: datetime
    """When the window was first known, by the clock of the worker."""

    def check(self, kind: CheckKind) -> WindowCheck | None:
        """Return the check of a kind, if it was made."""
        return next((check for check in self.checks if check.kind is kind), None)

    @property
    def is_bad(self) -> bool:
        """Whether the data failed its validation, so that nothing else that was found in it counts."""
        quality = self.check(CheckKind.QUALITY)
        return quality is not None and quality.verdict is CheckVerdict.VIOLATED

    @property
    def is_unproven(self) -> bool:
        """Whether the data was to be validated and nobody knows what came of it, so that nothing else counts yet."""
        quality = self.check(CheckKind.QUALITY)
        return quality is not None and quality.verdict is CheckVerdict.UNDECIDED

    @property
    def version(self) -> str:
        """The version that was judged; the newest, where a promotion came in between two checks."""
        versions = {check.model_version for check in self.checks} - {""}
        return max(versions, key=lambda text: (int(text) if text.isdecimal() else -1, text), default="")

    @property
    def rows(self) -> int:
        """Rows of the window. Checks may look at a part, such as those with labels."""
        return max((check.rows for check in self.checks), default=0)

    def findings(self) -> Iterator[WindowCheck]:
        """Yield the checks that decide something: no undecided ones, and of bad data nothing but that it is bad."""
        counts = not (self.is_bad or self.is_unproven)
        for check in self.checks:
            if check.verdict is not CheckVerdict.UNDECIDED and (check.kind is CheckKind.QUALITY or counts):
                yield check


class RetrainVerdict(enum.StrEnum):
    """What was decided."""

    RETRAIN = "retrain"
    HELD = "held"
    """There is reason to train, but something speaks against it now."""
    NO_REASON = "no_reason"
    WAITING = "waiting"
    """An earlier window is missing; whichever run comes next decides. Nothing is written down."""


class AlertKind(enum.StrEnum):
    """Why people are told something."""

    VIOLATION = "violation"
    """The first finding after all was well."""
    NEW_KIND = "new_kind"
    """A finding of another kind, while one goes on."""
    RETRAINING = "retraining"
    """A retraining was started, on findings that were told before."""
    RECOVERY = "recovery"
    """All findings are over."""
    ONGOING = "ongoing"
    """A finding goes on, and nothing is new. Sent only where that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining(Document):
    """A retraining that was decided."""

    window: Window
    """The newest window that was known then, whose time counts."""
    version: str
    """The version that is to be replaced."""
    attempt: int
    """1 for the first one of this version."""
    findings: tuple[str, ...]
    """The violations that it rests on, by kind and window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainDecision(Document):
    """Whether to train again, by what was known when the window was decided."""

    model_name: str
    sequence: int
    """From 1, without gaps: the decisions of a model are one after the other, whoever makes them. 0 is none of them."""
    window: Window
    """The newest window that was known."""
    revision: int
    """0, and one more each time when a late window or verdict made it be decided again."""
    verdict: RetrainVerdict
    model_version: str
    """The version that was judged on the newest window."""
    summary: str
    """The decision as a sentence."""
    reasons: tuple[str, ...] = ()
    """Sentences: what speaks for it, then what speaks against."""
    kinds: tuple[CheckKind, ...] = ()
    """Kinds of findings that are reason to train."""
    open_kinds: tuple[CheckKind, ...] = ()
    """Kinds of findings that are not over."""
    new_kinds: tuple[CheckKind, ...] = ()
    """Those of them that the decision before did not know."""
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What was found last of each kind that is not over, in the check's own sentences."""
    alert: AlertKind | None = None
    """What people are told."""
    attempt: int = 0
    """Of a retraining: the how many-eth one of this version."""
    retrainings: tuple[Retraining, ...] = ()
    """The last ones, this one included; oldest first."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the window's reports by kind."""
    evidence: str = ""
    """Digest of what it rests on. The same evidence is not decided twice."""
    decided_at: datetime | None = None
    decided_by: str = ""
    """The task that decided, and so has to tell others."""

    @property
    def key(self) -> str:
        """What tells this decision from all others of the model, and names its file."""
        return f"{self.sequence:08d}"

    @property
    def is_retraining(self) -> bool:
        """Whether a retraining starts."""
        return self.verdict is RetrainVerdict.RETRAIN

    def event(self) -> RetrainingEvent:
        """Return what the asset event of a retraining carries."""
        return RetrainingEvent(
            model_name=self.model_name,
            model_version=self.model_version,
            window=self.window,
            reasons=self.reasons,
            decision=self.key,
            attempt=self.attempt,
            reports=self.reports,
        )
