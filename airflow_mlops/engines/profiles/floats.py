"""Columns of numbers as arrays of floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]


def floats(values: pa.Array) -> Array:
    """Return the values that are not null as floats; without a copy where nothing is missing and they are floats."""
    import numpy as np
    import pyarrow as pa

    plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    plain = plain.drop_null() if plain.null_count else plain
    if pa.types.is_decimal(plain.type) or pa.types.is_float16(plain.type):
        plain = plain.cast(pa.float64())
    numbers: Array = np.from_dlpack(plain)  # to_numpy() imports pandas, which takes longer than to count a million rows
    return numbers if numbers.dtype == np.float64 else numbers.astype(np.float64)


def finite_of(numbers: Array) -> Array:
    """Return the numbers that are neither NaN nor infinite; without a copy where that is all of them."""
    import numpy as np

    kept = np.isfinite(numbers)
    return numbers if kept.all() else numbers[kept]
