"""Rows of numbers as short texts, so that a document can hold thousands of them and is still read in no time."""

import base64
import sys
import zlib
from array import array
from collections.abc import Iterable

from airflow_mlops.exceptions import InvalidInputError

_INTEGERS, _FLOATS = "q", "d"


def pack_integers(values: Iterable[int]) -> str:
    """Return whole numbers, each of 64 bits, as Base64 of compressed little-endian bytes."""
    return _pack(array(_INTEGERS, values))


def pack_floats(values: Iterable[float]) -> str:
    """Return floats as Base64 of compressed little-endian bytes, with every bit."""
    return _pack(array(_FLOATS, values))


def unpack_integers(text: str) -> "array[int]":
    """Return what :func:`pack_integers` was given.

    :raises InvalidInputError: when the text is nothing that it wrote.
    """
    values: array[int] = array(_INTEGERS)
    _unpack(values, text)
    return values


def unpack_floats(text: str) -> "array[float]":
    """Return what :func:`pack_floats` was given.

    :raises InvalidInputError: when the text is nothing that it wrote.
    """
    values: array[float] = array(_FLOATS)
    _unpack(values, text)
    return values


def _pack(values: "array[int] | array[float]") -> str:
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(zlib.compress(values.tobytes(), 1)).decode("ascii")


def _unpack(values: "array[int] | array[float]", text: str) -> None:
    try:
        values.frombytes(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error) as error:
        msg = f"A text of {len(text)} characters holds no packed numbers: {error}. Make the profile anew."
        raise InvalidInputError(msg) from error
    if sys.byteorder == "big":
        values.byteswap()
