"""Hyperparameters arrive as strings. A trainer declares what it takes as a dataclass, and reads a checked value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

# SageMaker and its tuner add these to what the user wrote.
SERVICE_PREFIXES = ("sagemaker_", "_tuning_")

Settings = TypeVar("Settings")


class HyperparameterError(ValueError):
    """A hyperparameter is unknown, missing or malformed. The message begins with its name."""


def parse(kind: type[Settings], given: object) -> Settings:
    """Read `given`, a JSON object of strings, as the dataclass `kind`.

    Fields may be `str`, `int`, `float`, `bool`, a `Literal` of strings, `tuple[str, ...]` (comma separated), or one of
    these `| None`. A field without default is required. `kind.__post_init__` checks ranges, with `require`.

    Raises:
        HyperparameterError: the first thing that does not fit.
    """
    if not isinstance(given, Mapping):
        message = f"Hyperparameters must be a JSON object of strings, not {type(given).__name__}"
        raise HyperparameterError(message)
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # Settings is a dataclass.
    texts = {name: text for name, text in given.items() if not name.startswith(SERVICE_PREFIXES)}
    for name in texts:
        if name not in fields:
            raise _error(name, f"unknown, expected one of {', '.join(fields)}")
    for name, field in fields.items():
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_required and not texts.get(name):
            raise _error(name, "required, but not given")
    return kind(**{name: _value(name, text, hints[name]) for name, text in texts.items()})


def require(name: str, *, holds: bool, expected: str, found: object) -> None:
    """Refuse a value that is out of its range."""
    if not holds:
        raise _error(name, f"expected {expected}, found {found!r}")


def _value(name: str, text: object, hint: Any) -> Any:
    if not isinstance(text, str):
        raise _error(name, f"expected a string, as every hyperparameter is, found {text!r}")
    text = text.strip()
    if get_origin(hint) in (Union, UnionType):
        if not text:
            return None
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    if get_origin(hint) is Literal:
        options = get_args(hint)
        require(name, holds=text in options, expected=f"one of {', '.join(options)}", found=text)
        return text
    if get_origin(hint) is tuple:
        parts = tuple(part.strip() for part in text.split(","))
        require(name, holds=all(parts), expected="names separated by commas", found=text)
        require(name, holds=len(set(parts)) == len(parts), expected="every name once", found=text)
        return parts
    return _scalar(name, text, hint)


def _scalar(name: str, text: str, kind: type) -> str | int | float | bool:
    if kind is bool:
        require(name, holds=text.lower() in {"true", "false"}, expected="true or false", found=text)
        return text.lower() == "true"
    if kind is str:
        return text
    try:
        number = int(text) if kind is int else float(text)
    except ValueError as error:
        raise _error(name, f"expected {'an integer' if kind is int else 'a number'}, found {text!r}") from error
    require(name, holds=math.isfinite(number), expected="a finite number", found=text)
    return number


def _error(name: str, problem: str) -> HyperparameterError:
    return HyperparameterError(f"Hyperparameter {name!r}: {problem}")
