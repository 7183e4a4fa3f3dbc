"""How a policy finds its gates, those of this package and those of a team's own."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_mlops.domain.gates import GATES, FirstModel, Gate, GateMode, GateVerdict, MetricGate
from airflow_mlops.domain.promotion import PromotionPolicy
from airflow_mlops.exceptions import InvalidInputError, PolicyError

from .judged import comparison, evidence

OWN = """
from dataclasses import dataclass
from airflow_mlops.domain.gates import Gate, GateVerdict, MetricGate

@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPerVersionGate(Gate):
    rows: int = 10

    @property
    def name(self):
        return f"{self.rows} rows a version"

    def judge(self, evaluation, first_model):
        if evaluation.rows < self.rows * int(evaluation.candidate.version):
            return self.refusal("There are too few rows.")
        return self.passing("There are enough rows.")

@dataclass(frozen=True, slots=True, kw_only=True)
class StricterGate(MetricGate):
    pass

class HalfGate(Gate):
    @property
    def name(self):
        return "half"

@dataclass(frozen=True, slots=True, kw_only=True)
class TalkativeGate(RowsPerVersionGate):
    def judge(self, evaluation, first_model):
        return True

NUMBER = 7
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a module beside the Dags, and return its name, which no other test uses."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    (tmp_path / f"broken_{name}.py").write_text("1 / 0")
    (tmp_path / f"needs_{name}.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def policy(kind: str, **fields: object) -> PromotionPolicy:
    return PromotionPolicy.from_dict({"gates": [{"kind": kind, **fields}]})


def test_gate_of_ones_own_is_found_by_its_path_and_judges(own: str) -> None:
    read = policy(f"{own}.RowsPerVersionGate", rows=60)
    decision = read.judge(evidence(comparison(0.7, 0.6)))
    assert [(verdict.gate, verdict.reason) for verdict in decision.verdicts] == [
        ("60 rows a version", "There are too few rows.")
    ]
    assert not decision.passed
    assert policy(f"{own}.RowsPerVersionGate").judge(evidence(comparison(0.7, 0.6))).passed


def test_digest_of_a_policy_covers_the_path_and_the_fields_of_a_gate_of_ones_own(own: str) -> None:
    policies = [
        policy(f"{own}.RowsPerVersionGate"),
        policy(f"{own}.RowsPerVersionGate", rows=11),
        policy(f"{own}.RowsPerVersionGate", mode="dry_run"),
        policy(f"{own}.TalkativeGate"),
    ]
    assert len({read.content_digest() for read in policies}) == len(policies)
    assert policies[0].to_dict()["gates"][0] == {
        "kind": f"{own}.RowsPerVersionGate",
        "mode": "enforce",
        "rows": 10,
    }
    assert PromotionPolicy.from_dict(policies[1].to_dict()) == policies[1]


def test_subclass_of_a_gate_of_this_package_has_a_kind_of_its_own(own: str) -> None:
    read = policy(f"{own}.StricterGate", metric="auc", at_least=0.8)
    assert isinstance(read.gates[0], MetricGate)
    assert read.gates[0].kind == f"{own}.StricterGate"
    assert GATES["metric"] is MetricGate


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no_such_team.gates.Gate", r"gates\[0\] has the kind .*, but there is no module 'no_such_team'"),
        ("{own}.Missing", r"the module 'own_.*' has no 'Missing'"),
        ("{own}.NUMBER", "that is no subclass of airflow_mlops.domain.gates.Gate: 7"),
        ("pathlib.Path", "that is no subclass"),
        ("{own}.HalfGate", "the class lacks judge"),
        ("airflow_mlops.domain.gates.Gate", "the class lacks judge and name"),
        ("broken_{own}.Gate", "cannot be imported: ZeroDivisionError"),
        ("needs_{own}.Gate", "cannot be imported: No module named 'no_such_library'. Install what it needs"),
        ("metrics", r"the kind 'metrics', but must have one of 'cost', .*'metric', .* or the dotted path"),
        ("", "the kind ''"),
        (".Gate", "the kind '.Gate'"),
    ],
)
def test_gate_that_cannot_be_found_is_an_error_with_its_reason(own: str, kind: str, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        policy(kind.format(own=own))


def test_gate_without_a_kind_is_an_error_that_lists_them() -> None:
    with pytest.raises(PolicyError, match=r"gates\[0\] has the kind None, but must have one of 'cost'"):
        PromotionPolicy.from_dict({"gates": [{"metric": "auc"}]})


def test_unknown_key_of_a_gate_of_ones_own_is_an_error(own: str) -> None:
    with pytest.raises(InvalidInputError, match=r"gates\[0\] \(own_.*\) has the unknown key 'row'"):
        policy(f"{own}.RowsPerVersionGate", row=1)


def test_gate_that_returns_no_verdict_is_an_error_that_names_it(own: str) -> None:
    with pytest.raises(PolicyError, match=r"TalkativeGate must return a GateVerdict .* but returned True"):
        policy(f"{own}.TalkativeGate").judge(evidence(comparison(0.7, 0.6)))


def test_policy_as_a_mapping_may_not_name_another_kind_than_the_class_that_reads_it() -> None:
    with pytest.raises(PolicyError, match="has the kind 'rows', but must be a MetricGate"):
        MetricGate.from_dict({"kind": "rows", "at_least": 3})


def test_gate_of_ones_own_may_not_take_a_short_kind() -> None:
    with pytest.raises(PolicyError, match=r"is found by its path in a policy\. Remove its kind 'metric'"):

        @dataclass(frozen=True, slots=True, kw_only=True)
        class Sneaky(MetricGate):
            kind = "metric"

    assert GATES["metric"] is MetricGate


def test_verdict_cannot_escape_the_mode_of_its_gate() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class EvasiveGate(Gate):
        @property
        def name(self) -> str:
            return "evasive"

        def judge(self, evaluation: object, first_model: FirstModel) -> GateVerdict:
            return GateVerdict(gate="evasive", passed=False, reason="No.", mode=GateMode.DRY_RUN)

    decision = PromotionPolicy(gates=(EvasiveGate(),)).judge(evidence(comparison(0.7, 0.6)))
    assert not decision.passed
    assert sys.modules[__name__].__name__ in EvasiveGate.kind
