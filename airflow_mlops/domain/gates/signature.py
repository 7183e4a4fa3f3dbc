"""A gate on what the candidate takes and gives: who calls the champion must be able to call the candidate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.facts import Signature, SignatureColumn
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict

_WIDER: Final[Mapping[str, frozenset[str]]] = {
    "integer": frozenset({"long", "double"}),
    "float": frozenset({"double"}),
}
"""Which types also take the values of a type: the safe conversions that MLflow makes before it predicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureGate(Gate):
    """Whether the candidate can take the champion's place without a change of those who call it.

    Every input that it requires must be one that the champion requires; each type must be the champion's or one that
    takes its values; the outputs must be the same. A column that only the champion reads may go, since MLflow drops
    what a model does not read, and an optional one may come.
    """

    kind: ClassVar[str] = "signature"

    exact: bool = False
    """Whether any difference refuses."""

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        return "signature is the champion's" if self.exact else "signature fits the champion's"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:
        """Compare the two signatures."""
        if evaluation.champion is None:
            return self.without_champion(first_model)
        facts = evaluation.facts
        if facts is None:
            return self.refusal("The evaluation says nothing of signatures. Evaluate with this release.")
        ours, theirs = facts.signature, facts.champion_signature
        if ours is None or theirs is None:
            who = "candidate" if ours is None else "champion"
            return self.refusal(f"The {who} has no signature, so nobody can say whether callers can change over.")
        problems = [*_input_problems(ours, theirs), *_output_problems(ours, theirs)]
        changes = list(_harmless(ours, theirs))
        if problems or (self.exact and changes):
            return self.refusal(f"Callers of the champion would fail: {'; '.join([*problems, *changes])}.")
        if changes:
            return self.passing(f"Callers of the champion can call the candidate as they do; {'; '.join(changes)}.")
        return self.passing(f"It takes the champion's {len(ours.inputs)} inputs, and gives the same outputs.")


def _input_problems(ours: Signature, theirs: Signature) -> Iterator[str]:
    if not all(column.name for column in (*ours.inputs, *theirs.inputs)):  # Callers go by the position.
        if ours.inputs != theirs.inputs:
            yield f"it takes {_listed(ours.inputs)}, but they send {_listed(theirs.inputs)}"
        return
    known = {column.name: column for column in theirs.inputs}
    for column in ours.inputs:
        before = known.get(column.name)
        if before is None:
            if column.required:
                yield f"it requires {column.name}, which they do not send"
        elif column.type != before.type and not _is_wider(column, before):
            yield f"{column.name} must be {column.type}, but they send {before.type}"
        elif column.required and not before.required:
            yield f"it requires {column.name}, which they may leave out"


def _output_problems(ours: Signature, theirs: Signature) -> Iterator[str]:
    if ours.outputs != theirs.outputs:
        yield f"it gives {_listed(ours.outputs)}, but they expect {_listed(theirs.outputs)}"


def _harmless(ours: Signature, theirs: Signature) -> Iterator[str]:
    known, kept = {column.name: column for column in theirs.inputs}, {column.name for column in ours.inputs}
    if gone := [name for name in known if name not in kept]:
        yield f"it no longer reads {', '.join(gone)}"
    for column in ours.inputs:
        before = known.get(column.name)
        if before is None:
            if not column.required:
                yield f"it can also read {column.name}"
        elif _is_wider(column, before):
            yield f"{column.name} may be {column.type} as well as {before.type}"
        elif before.required and not column.required:
            yield f"{column.name} may be left out now"


def _is_wider(column: SignatureColumn, before: SignatureColumn) -> bool:
    return column.type in _WIDER.get(before.type, frozenset())


def _listed(columns: tuple[SignatureColumn, ...]) -> str:
    return (
        ", ".join(f"{column.name} ({column.type})" if column.name else column.type for column in columns) or "nothing"
    )
