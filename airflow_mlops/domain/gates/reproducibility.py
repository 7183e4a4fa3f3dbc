"""A gate on provenance: whether somebody could train this model again."""

import enum
from dataclasses import dataclass
from typing import ClassVar

from airflow_mlops.domain.evaluation import Evaluation
from airflow_mlops.domain.facts import TrainingFacts
from airflow_mlops.domain.gates.base import FirstModel, Gate, GateVerdict
from airflow_mlops.exceptions import PolicyError


class Origin(enum.StrEnum):
    """A fact by which a training can be repeated."""

    DATA = "data"
    """The digest of the training snapshot."""
    SUITE = "suite"
    """The digest of the expectation suite that the data met."""
    IMAGE = "image"
    """The image that trained, by its digest or id: a tag can be moved."""
    CODE = "code"
    """The version of the code, such as a commit."""
    SEED = "seed"
    """A seed of the random numbers, among the hyperparameters."""


_MISSING = {
    Origin.DATA: "the digest of its training data is not recorded",
    Origin.SUITE: "no suite is recorded that its training data met (give RegisterModelOperator its validation)",
    Origin.IMAGE: "the image that trained it is not recorded by digest",
    Origin.CODE: "the version of its code is not recorded (give the training a code_version, or label the image)",
    Origin.SEED: "no seed is among its hyperparameters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducibilityGate(Gate):
    """What must be recorded of where the candidate came from."""

    kind: ClassVar[str] = "reproducibility"

    require: tuple[Origin, ...] = (Origin.DATA, Origin.SUITE, Origin.IMAGE, Origin.CODE)

    def __post_init__(self) -> None:
        """Refuse a gate that asks for nothing."""
        if not self.require:
            msg = f"The reproducibility gate requires nothing. Name some of {', '.join(Origin)}."
            raise PolicyError(msg)

    @property
    def name(self) -> str:
        """How the gate reads in a table."""
        return f"provenance: {', '.join(self.require)}"

    def judge(self, evaluation: Evaluation, first_model: FirstModel) -> GateVerdict:  # noqa: ARG002 - every gate's form
        """Look for each fact."""
        if evaluation.facts is None:
            return self.refusal("The evaluation says nothing of the training. Evaluate with this release.")
        recorded = _recorded(evaluation.facts.training)
        missing = [_MISSING[origin] for origin in self.require if not recorded[origin]]
        if missing:
            return self.refusal(f"The training could not be repeated: {'; '.join(missing)}.")
        return self.passing(f"All is recorded by which the training can be repeated: {', '.join(self.require)}.")


def _recorded(training: TrainingFacts) -> dict[Origin, bool]:
    return {
        Origin.DATA: bool(training.dataset_digest),
        Origin.SUITE: bool(training.suite_digest),
        Origin.IMAGE: "sha256:" in (training.image_digest or ""),
        Origin.CODE: bool(training.code_version),
        Origin.SEED: bool(training.seed),
    }
