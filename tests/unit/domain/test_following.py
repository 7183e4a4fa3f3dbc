"""When a Dag that follows a model goes on."""

import json
from typing import Any

import pytest

from airflow_mlops.domain.following import AliasCondition, VersionCondition, Watch
from airflow_mlops.domain.registry import ModelVersion
from airflow_mlops.exceptions import InvalidInputError


def version(number: int, **tags: str) -> ModelVersion:
    return ModelVersion(model_name="churn", version=str(number), run_id="r", source="s", tags=tags)


@pytest.mark.parametrize(
    ("wanted", "met_by"),
    [
        ({}, {1, 2, 10}),
        ({"version": "2"}, {2}),
        ({"other_than": "2"}, {1, 10}),  # a rollback, too
        ({"newer_than": "2"}, {10}),  # by number, not by text
    ],
)
def test_alias_is_followed_to_what_is_asked_for(wanted: dict[str, str], met_by: set[int]) -> None:
    condition = AliasCondition(model_name="churn", **wanted)
    assert {number for number in (1, 2, 10) if condition.is_met_by(version(number))} == met_by
    assert not condition.is_met_by(None)


@pytest.mark.parametrize(
    ("wanted", "met_by"),
    [
        ({}, {1, 2, 10}),
        ({"version": "2"}, {2}),
        ({"newer_than": "2"}, {10}),
        ({"tags": {"stage": "ok"}}, {2, 10}),
        ({"tags": {"stage": "ok"}, "newer_than": "2"}, {10}),
        ({"tags": {"stage": "ok", "region": "eu"}}, set()),
    ],
)
def test_version_must_be_the_one_and_carry_every_tag(wanted: dict[str, Any], met_by: set[int]) -> None:
    condition = VersionCondition(model_name="churn", **wanted)
    versions = [version(1), version(2, stage="ok"), version(10, stage="ok")]
    assert {int(found.version) for found in versions if condition.is_met_by(found)} == met_by
    assert not condition.is_met_by(None)


@pytest.mark.parametrize(
    ("cls", "wanted", "reason"),
    [
        (AliasCondition, {"version": "1", "other_than": "2"}, "version and other_than are given"),
        (AliasCondition, {"newer_than": "v2"}, r"newer_than is 'v2', but versions of a model are numbers"),
        (VersionCondition, {"version": "1", "newer_than": "2"}, "version and newer_than are given"),
        (VersionCondition, {"version": "latest"}, r"version is 'latest', but versions of a model are numbers"),
    ],
)
def test_condition_that_cannot_be_met_is_refused(cls: type[Any], wanted: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        cls(model_name="churn", **wanted)


def test_what_is_asked_does_not_depend_on_what_is_wanted_of_an_alias() -> None:
    first, second = AliasCondition(model_name="churn"), AliasCondition(model_name="churn", newer_than="2")
    assert first.question == second.question
    assert first.question != AliasCondition(model_name="churn", alias="challenger").question


@pytest.mark.parametrize(
    "condition", [AliasCondition(model_name="c", newer_than="1"), VersionCondition(model_name="c")]
)
def test_watch_is_the_same_after_it_was_stored(condition: AliasCondition | VersionCondition) -> None:
    watch = Watch(condition=condition, must_exist=False)
    assert Watch.from_dict(json.loads(json.dumps(watch.to_dict()))) == watch
