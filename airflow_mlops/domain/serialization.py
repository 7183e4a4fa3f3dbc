"""Frozen dataclasses to plain JSON values and back, so that a value can cross XCom, a file or a tag.

The reader is strict: an unknown key, a missing key or a value of the wrong type is an error that names its place,
because these documents are evidence and policies, and a misspelt key in one of them must not pass silently.
Where a field may hold one of several classes, each has a ``kind`` that tells them apart.
"""

import abc
import dataclasses
import enum
import hashlib
import inspect
import json
import math
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from airflow_mlops.exceptions import InvalidInputError


class Document:
    """Mixin of a frozen dataclass that is stored or sent as JSON."""

    __slots__ = ()

    schema_version: ClassVar[int] = 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with ``schema_version`` first. Floats that are not finite become ``None``."""
        return {"schema_version": self.schema_version, **_fields_to_json(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        :raises InvalidInputError: naming the place of the first key that is unknown, missing or of the wrong type.
        """
        name = cls.__name__
        if not hasattr(data, "get"):  # XCom and YAML give anything, whatever the annotation says.
            msg = f"{name} must be a mapping, but {type(data).__name__} was given: {data!r:.200}"
            raise InvalidInputError(msg)
        value: Self = _from_json(cls, data, name)
        return value

    def content_digest(self) -> str:
        """Return the SHA-256 hex digest of the canonical JSON of this document."""
        return digest_of(self.to_dict())


class KindedDocument(Document):
    """Base of documents that are told apart by ``kind``, and to which others may add their own."""

    __slots__ = ()

    kind: ClassVar[str]

    @classmethod
    @abc.abstractmethod
    def class_of_kind(cls, kind: object, place: str) -> type[Self]:
        """Return the class of a kind.

        :raises InvalidInputError: naming the place, when there is none.
        """


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no white space, the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """Return the SHA-256 hex digest of a plain JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _fields_to_json(value: Any) -> dict[str, Any]:
    kind = {"kind": value.kind} if hasattr(type(value), "kind") else {}
    return kind | {field.name: _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _fields_to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_to_json(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dataclass_from_json(cls: type, data: Any, place: str) -> Any:
    _expect(Mapping, "a mapping", data, place)
    if issubclass(cls, Document):
        data = _without_version(cls, data, place)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    if unknown := [key for key in data if key not in fields]:
        msg = f"{place} has the unknown key {unknown[0]!r}. Known keys: {', '.join(fields)}."
        raise InvalidInputError(msg)
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            arguments[name] = _from_json(hints[name], data[name], f"{place}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            msg = f"{place} lacks the key {name!r}. Given: {', '.join(map(str, data)) or 'nothing'}."
            raise InvalidInputError(msg)
    return cls(**arguments)


def _without_version(cls: type[Document], data: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Check the version, which a document has that was written by itself and then put into another."""
    version = data.get("schema_version", cls.schema_version)
    if version != cls.schema_version:
        msg = (
            f"{place} has schema_version {version!r}, but this release of airflow-mlops reads {cls.schema_version}. "
            f"Use the release that wrote it, or write it anew."
        )
        raise InvalidInputError(msg)
    return {key: item for key, item in data.items() if key != "schema_version"}


def _from_json(hint: Any, data: Any, place: str) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if hint is Any:
        value = data
    elif origin in {typing.Union, types.UnionType}:
        value = _union_from_json(arguments, data, place)
    elif origin is tuple:
        items = _expect((list, tuple), "a list", data, place)
        value = tuple(_from_json(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(items))
    elif origin is not None and issubclass(origin, Mapping):
        pairs = _expect(Mapping, "a mapping", data, place).items()
        value = {key: _from_json(arguments[1], item, f"{place}.{key}") for key, item in pairs}
    elif isinstance(hint, type) and issubclass(hint, KindedDocument):
        value = _kinded_from_json(hint, data, place)
    elif dataclasses.is_dataclass(hint):
        value = _dataclass_from_json(typing.cast("type", hint), data, place)  # is_dataclass also allows an instance
    else:
        value = _scalar_from_json(hint, data, place)
    return value


def _expect(kind: Any, name: str, data: Any, place: str) -> Any:
    if not isinstance(data, kind):
        msg = f"{place} must be {name}, but is {data!r:.200}"
        raise InvalidInputError(msg)
    return data


def _union_from_json(arguments: tuple[Any, ...], data: Any, place: str) -> Any:
    if data is None and type(None) in arguments:
        return None
    if kinds := {option.kind: option for option in arguments if hasattr(option, "kind")}:
        kind = _expect(Mapping, "a mapping", data, place).get("kind")
        if kind not in kinds:
            msg = f"{place} has the kind {kind!r}, but must have one of {', '.join(map(repr, kinds))}."
            raise InvalidInputError(msg)
        rest = {key: item for key, item in data.items() if key != "kind"}
        return _dataclass_from_json(kinds[kind], rest, f"{place} ({kind})")
    error: InvalidInputError | None = None
    for option in arguments:
        if option is type(None):
            continue
        try:
            return _from_json(option, data, place)
        except InvalidInputError as problem:
            error = error or problem
    assert error is not None  # noqa: S101 - a union has at least one member that is not None
    raise error


def _kinded_from_json(base: type[KindedDocument], data: Any, place: str) -> Any:
    """Read a document of the kind that it names; without one, of ``base`` itself if that can be made."""
    own = None if inspect.isabstract(base) else base.kind
    kind = _expect(Mapping, "a mapping", data, place).get("kind", own)
    found = base.class_of_kind(kind, place)
    return _dataclass_from_json(found, {key: item for key, item in data.items() if key != "kind"}, f"{place} ({kind})")


def _scalar_from_json(hint: Any, data: Any, place: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(data)
        except ValueError:
            msg = f"{place} is {data!r}, but must be one of {', '.join(repr(item.value) for item in hint)}."
            raise InvalidInputError(msg) from None
    if hint is datetime and isinstance(data, str):
        try:
            return datetime.fromisoformat(data)
        except ValueError:
            msg = f"{place} must be an ISO 8601 time such as 2013-01-31T06:00:00+00:00, but is {data!r:.200}."
            raise InvalidInputError(msg) from None
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(data, bool) and hint is not bool:
        msg = f"{place} must be of type {hint.__name__}, but is {data!r}."
        raise InvalidInputError(msg)
    if not isinstance(data, hint):
        msg = f"{place} must be of type {hint.__name__}, but is {data!r:.200}."
        raise InvalidInputError(msg)
    return data
