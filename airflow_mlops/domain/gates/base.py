"""What every gate of a promotion policy is, and how one is found by its ``kind``.

A gate of this package has a short kind, such as ``metric``, under which :data:`GATES` holds it. A gate of a team's own
is a subclass whose kind is the dotted path of its class, such as ``my_team.gates.QuietHoursGate``: it is imported when
the policy is read, and so its path and its fields are in the policy's digest.
"""

import abc
import enum
import importlib
import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeGuard

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.serialization import Document, KindedDocument
from airflow_mlops.exceptions import PolicyError

_PACKAGE = __name__.partition(".")[0]


class FirstModel(enum.StrEnum):
    """What holds for a candidate when there is no champion to compare with."""

    BARS_ONLY = "bars_only"
    """The metric bars decide; gates that need a champion are waived, and say so."""
    REFUSE = "refuse"
    """Gates that need a champion refuse."""


class GateMode(enum.StrEnum):
    """What follows from a gate's verdict."""

    ENFORCE = "enforce"
    """A refusal refuses the candidate."""
    DRY_RUN = "dry_run"
    """The verdict is shown and recorded, and decides nothing: for a new gate whose bar is still sought."""
    OFF = "off"
    """The gate is not asked, and the reviewer sees that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict(Document):
    """What one gate says, in a sentence: the bar, what was seen, the verdict."""

    gate: str
    passed: bool
    reason: str
    mode: GateMode = GateMode.ENFORCE

    @property
    def refuses(self) -> bool:
        """Whether this verdict alone keeps the candidate from being promoted."""
        return self.mode is GateMode.ENFORCE and not self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(KindedDocument, abc.ABC):
    """A condition that the evidence must meet. A subclass is a frozen, keyword-only dataclass of plain values.

    The policy decides what follows from a verdict, by ``mode``: ``judge`` need not look at it.
    """

    is_bar: ClassVar[bool] = False
    """Whether a pass of this gate speaks for a first model, which has no champion to be better than."""

    mode: GateMode = GateMode.ENFORCE

    def __init_subclass__(cls) -> None:
        """Give the class its kind, and put it where policies find it."""
        super(Gate, cls).__init_subclass__()  # by name: a dataclass with slots is a second class
        path = f"{cls.__module__}.{cls.__qualname__}"
        if "kind" not in vars(cls):
            cls.kind = path
        elif not cls.kind.startswith(f"{cls.__module__}."):  # else it comes from the first class, see above
            if not cls.__module__.startswith(f"{_PACKAGE}."):
                msg = f"The gate {path} is found by its path in a policy. Remove its kind {cls.kind!r}."
                raise PolicyError(msg)
            GATES[cls.kind] = cls

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """How the gate reads in a table: what it asks for, in a few words."""

    @abc.abstractmethod
    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Return the verdict on this evidence, a refusal with its reason where the evidence lacks what is needed.

        The same evidence must always have the same verdict: a gate looks at nothing else, neither clock nor network.
        """

    def passing(self, reason: str) -> GateVerdict:
        """Return that the evidence meets the condition."""
        return GateVerdict(gate=self.name, passed=True, reason=reason)

    def refusal(self, reason: str) -> GateVerdict:
        """Return that the evidence does not meet the condition, or does not say."""
        return GateVerdict(gate=self.name, passed=False, reason=reason)

    def without_champion(self, first_model: FirstModel) -> GateVerdict:
        """Return the verdict of a gate that compares with the champion, where there is none."""
        if first_model is FirstModel.BARS_ONLY:
            return self.passing(
                "There is no champion yet, and the policy lets the metric bars alone decide on a first model."
            )
        return self.refusal("There is no champion to compare with, and the policy asks for one.")

    @classmethod
    def class_of_kind(cls, kind: object, place: str) -> type[Self]:
        """Return the gate of a kind of this package, or import the one at a dotted path.

        :raises PolicyError: when there is none, or what is there is no gate.
        """
        found = GATES.get(kind) if isinstance(kind, str) else None
        if found is None and isinstance(kind, str) and "." in kind:
            found = _import_gate(kind, place)
        if found is None:
            known = ", ".join(map(repr, sorted(GATES)))
            msg = (
                f"{place} has the kind {kind!r}, but must have one of {known}, or the dotted path of a gate "
                f"of your own, such as 'my_team.gates.QuietHoursGate'."
            )
            raise PolicyError(msg)
        if not _is_a(found, cls):
            msg = f"{place} has the kind {kind!r}, but must be a {cls.__name__}."
            raise PolicyError(msg)
        return found


GATES: dict[str, type[Gate]] = {}
"""The gates of this package by their kind."""


def _is_a(found: type[Gate], wanted: type[Any]) -> TypeGuard[type[Any]]:
    return issubclass(found, wanted)


def _import_gate(path: str, place: str) -> type[Gate]:
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            msg = (
                f"{place} has the kind {path!r}, but there is no module {error.name!r}. Put it beside the Dags or "
                f"install it on the workers."
            )
        else:
            msg = f"{place} has the kind {path!r}, whose module cannot be imported: {error}. Install what it needs."
        raise PolicyError(msg) from error
    except Exception as error:
        msg = f"{place} has the kind {path!r}, whose module cannot be imported: {type(error).__name__}: {error}"
        raise PolicyError(msg) from error
    found: object = getattr(module, name, None)
    if found is None:
        msg = f"{place} has the kind {path!r}, but the module {module_name!r} has no {name!r}. Is it misspelt?"
        raise PolicyError(msg)
    if not (isinstance(found, type) and issubclass(found, Gate)):
        msg = (
            f"{place} has the kind {path!r}, but that is no subclass of airflow_mlops.domain.gates.Gate: {found!r:.200}"
        )
        raise PolicyError(msg)
    if inspect.isabstract(found):
        lacks = " and ".join(sorted(found.__abstractmethods__))
        msg = f"{place} has the kind {path!r}, but the class lacks {lacks}. Every gate has a name and a judge method."
        raise PolicyError(msg)
    return found
