"""Documents survive the way through JSON, and a misspelt one says where."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops.domain.serialization import Document, canonical_json, digest_of
from airflow_mlops.exceptions import InvalidInputError


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round(Document):
    kind: ClassVar[str] = "round"
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Square(Document):
    kind: ClassVar[str] = "square"
    side: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing(Document):
    name: str
    at: datetime
    shapes: tuple[Round | Square, ...] = ()
    colour: Colour = Colour.RED
    sizes: Mapping[str, int] = field(default_factory=dict)
    comment: str | None = None


TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(
    name=st.text(),
    radii=st.lists(st.floats(allow_nan=False, allow_infinity=False)),
    sizes=st.dictionaries(st.text(), st.integers()),
    comment=st.none() | st.text(),
    at=st.datetimes(timezones=st.just(UTC)),
)
def test_document_comes_back_from_json_as_it_was(
    name: str, radii: list[float], sizes: dict[str, int], comment: str | None, at: datetime
) -> None:
    shapes = tuple(Round(radius=radius) if i % 2 else Square(side=radius) for i, radius in enumerate(radii))
    drawing = Drawing(name=name, at=at, shapes=shapes, sizes=sizes, comment=comment)
    assert Drawing.from_dict(json.loads(json.dumps(drawing.to_dict()))) == drawing


def test_digest_is_of_the_content_and_not_of_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert canonical_json({"b": "ü", "a": None}) == '{"a":null,"b":"ü"}'


def test_number_that_is_not_finite_becomes_null() -> None:
    assert Round(radius=float("nan")).to_dict()["radius"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, "Drawing has the unknown key 'nmae'"),
        ({"name": 3}, "Drawing.name must be of type str, but is 3"),
        ({"name": True}, "Drawing.name must be of type str"),
        ({"colour": "blue"}, "Drawing.colour is 'blue', but must be one of 'red'"),
        ({"shapes": {}}, "Drawing.shapes must be a list"),
        ({"shapes": [{"kind": "oval"}]}, r"Drawing.shapes\[0\] has the kind 'oval', but must have one of 'round'"),
        ({"shapes": [{"kind": "round", "side": 1}]}, r"Drawing.shapes\[0\] \(round\) has the unknown key 'side'"),
        ({"shapes": [{"kind": "round"}]}, r"Drawing.shapes\[0\] \(round\) lacks the key 'radius'"),
        ({"sizes": []}, "Drawing.sizes must be a mapping"),
        ({"schema_version": 7}, "Drawing has schema_version 7"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Drawing.from_dict({**Drawing(name="x", at=TIME).to_dict(), **change})


@pytest.mark.parametrize("value", [None, "text", 3])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="Drawing must be a mapping"):
        Drawing.from_dict(value)  # type: ignore[arg-type] # XCom gives anything


def test_missing_key_is_named_with_what_was_given() -> None:
    with pytest.raises(InvalidInputError, match=r"Drawing lacks the key 'at'\. Given: name"):
        Drawing.from_dict({"name": "x"})


def test_document_that_was_written_by_itself_may_be_put_into_another() -> None:
    shapes = [{"kind": "round", **{k: v for k, v in Round(radius=1.0).to_dict().items() if k != "kind"}}]
    assert "schema_version" in shapes[0]
    read = Drawing.from_dict({"name": "a", "at": TIME.isoformat(), "shapes": shapes})
    assert read.shapes == (Round(radius=1.0),)
    with pytest.raises(InvalidInputError, match=r"shapes\[0\] \(round\) has schema_version 9, but .* reads 1"):
        Drawing.from_dict({"name": "a", "at": TIME.isoformat(), "shapes": [{**shapes[0], "schema_version": 9}]})


def test_time_that_is_none_is_an_error_that_says_what_a_time_is() -> None:
    with pytest.raises(InvalidInputError, match=r"Drawing\.at must be an ISO 8601 time .* but is 'soon'"):
        Drawing.from_dict({"name": "a", "at": "soon"})
