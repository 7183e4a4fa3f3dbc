"""How often each method says drift: where there is none (false alarms), and where there is one of a known size.

    make bench-drift-power                                          # about a minute
    REPEATS=200 SIZES=100,1000,10000,100000 make bench-drift-power  # three minutes: the table of docs/drift-power.md

Reference and window are drawn with as many rows each, unless a line says otherwise. Each repeat is a column of two
Parquet files, which the package's engine profiles and compares, at its default thresholds: p ≤ 0.05, distance ≥ 0.1.
Anderson-Darling, which profiles do not offer, is SciPy's. The larger the sizes, the fewer the repeats. The last line is
JSON.
"""

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from airflow_mlops.domain.drift import Correction, DriftMethod, DriftSpec
from airflow_mlops.domain.profile import DatasetProfile
from airflow_mlops.engines.numpy.drift import measure
from airflow_mlops.engines.profiles import profile_parquet

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]
"""Returns so many values of one side."""

CATEGORIES = 20
LEVEL = 0.05
"""The level of the tests."""


@dataclass(frozen=True)
class Change:
    """What becomes of a column."""

    name: str
    reference: Draw
    current: Draw
    is_number: bool = True
    reference_rows: int | None = None
    """``None`` is as many as the window has."""


def normal(mean: float = 0, spread: float = 1) -> Draw:
    return lambda random, rows: random.normal(mean, spread, rows)


def skewed(random: np.random.Generator, rows: int) -> Values:
    """A gamma distribution with the mean 0 and the standard deviation 1, and the skewness 1."""
    return (random.gamma(4, 1, rows) - 4) / 2


def categories(rare: float) -> Draw:
    """Twenty categories, of which one has the share ``rare`` and the others fall off as 1/k."""
    others = 1 / np.arange(1, CATEGORIES)
    shares = np.append(others / others.sum() * (1 - rare), rare)
    return lambda random, rows: random.choice(CATEGORIES, rows, p=shares).astype(float)


NONE = Change("no change", normal(), normal())
NO_CATEGORY = Change("no change", categories(0.01), categories(0.01), is_number=False)
CHANGES = (
    NONE,
    Change("no change, reference of 20,000 rows", normal(), normal(), reference_rows=20_000),
    Change("mean + 0.05 sd", normal(), normal(0.05)),
    Change("mean + 0.2 sd", normal(), normal(0.2)),
    Change("mean + 0.5 sd", normal(), normal(0.5)),
    Change("spread 1 to 1.2", normal(), normal(0, 1.2)),
    Change("skewness 0 to 1", normal(), skewed),
    NO_CATEGORY,
    Change(
        "no change, reference of 20,000 rows",
        categories(0.01),
        categories(0.01),
        is_number=False,
        reference_rows=20_000,
    ),
    Change("one category 1 to 2 %", categories(0.01), categories(0.02), is_number=False),
    Change("one category 1 to 10 %", categories(0.01), categories(0.1), is_number=False),
)
NUMBER_SPECS = {
    "ks": DriftSpec(numbers=DriftMethod.KS),
    "ks, effect ≥ 0.1": DriftSpec(numbers=DriftMethod.KS, min_effect=0.1),
    "wasserstein": DriftSpec(numbers=DriftMethod.WASSERSTEIN),
    "jensenshannon": DriftSpec(numbers=DriftMethod.JENSEN_SHANNON),
    "psi": DriftSpec(numbers=DriftMethod.PSI),
    "automatic": DriftSpec(),
}
CATEGORY_SPECS = {
    "chisquare": DriftSpec(categories=DriftMethod.CHI_SQUARE),
    "homogeneity": DriftSpec(categories=DriftMethod.HOMOGENEITY),
    "homogeneity, effect ≥ 0.05": DriftSpec(categories=DriftMethod.HOMOGENEITY, min_effect=0.05),
    "jensenshannon": DriftSpec(categories=DriftMethod.JENSEN_SHANNON),
    "psi": DriftSpec(categories=DriftMethod.PSI),
    "automatic": DriftSpec(),
}


def called(change: Change, rows: int, repeats: int, seed: int = 0) -> dict[str, float]:
    """Return, for each method, the share of the repeats in which it says drift."""
    sides = [
        draw_side(change.reference, change.reference_rows or rows, repeats, [seed, 0]),
        draw_side(change.current, rows, repeats, [seed, 1]),
    ]
    specs = NUMBER_SPECS if change.is_number else CATEGORY_SPECS
    profiles = profile(sides, is_number=change.is_number)
    found = {name: float(np.mean(verdicts(profiles, spec))) for name, spec in specs.items()}
    if change.is_number:
        found["anderson (SciPy)"] = float(np.mean([anderson(*pair) for pair in zip(*sides, strict=True)]))
    return found


def draw_side(draw: Draw, rows: int, repeats: int, seed: list[int]) -> list[Values]:
    random = np.random.default_rng(seed)
    return [draw(random, rows) for _ in range(repeats)]


def profile(sides: list[list[Values]], *, is_number: bool) -> tuple[DatasetProfile, DatasetProfile]:
    """Profile the columns of both sides, as the operators do."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.parquet" for number in range(2)]
        for file, columns in zip(files, sides, strict=True):
            data = [values if is_number else values.astype(int).astype(str) for values in columns]
            names = [f"c{number}" for number in range(len(columns))]
            pq.write_table(pa.table(dict(zip(names, data, strict=True))), file, compression="lz4")
        reference = profile_parquet(files[:1])
        return reference, profile_parquet(files[1:], grids=reference.grids)


def verdicts(profiles: tuple[DatasetProfile, DatasetProfile], spec: DriftSpec) -> list[bool]:
    """Return what the package's engine says of each column."""
    return [item.drifted for item in measure(*profiles, spec, [column.name for column in profiles[0].columns])]


def anderson(reference: Values, current: Values) -> bool:
    from scipy.stats import anderson_ksamp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # p-values are capped, and an argument will change its default
        return bool(anderson_ksamp([reference, current]).pvalue <= LEVEL)


@dataclass(frozen=True)
class Discoveries:
    """Of many windows with many columns."""

    false_share: float
    """Mean share of false alarms among the columns that are called drifted (the false discovery rate)."""
    any_false: float
    """Share of the windows with a false alarm."""
    found: float
    """Share of the drifted columns that are called so."""


def discoveries(
    correction: Correction, *, columns: int, drifted: int, rows: int, windows: int, shift: float = 0.2
) -> Discoveries:
    """Test many columns at once, of which the first ``drifted`` have moved by ``shift`` standard deviations."""
    false, anything, hits = [], [], []
    spec = DriftSpec(numbers=DriftMethod.KS, correction=correction)
    for window in range(windows):
        reference = draw_side(normal(), rows, columns, [window, 0])
        moved = draw_side(normal(shift), rows, drifted, [window, 1])
        current = moved + draw_side(normal(), rows, columns - drifted, [window, 2])
        says = np.array(verdicts(profile([reference, current], is_number=True), spec))
        wrong = int(says[drifted:].sum())
        false.append(wrong / max(int(says.sum()), 1))
        anything.append(wrong > 0)
        hits.append(float(says[:drifted].mean()) if drifted else 0.0)
    return Discoveries(
        false_share=float(np.mean(false)), any_false=float(np.mean(anything)), found=float(np.mean(hits))
    )


def table(results: Mapping[int, Mapping[str, float]], change: str) -> str:
    sizes = list(results)
    lines = [f"{change:<36}" + "".join(f"{size:>10,}" for size in sizes)]
    lines += [
        f"  {method:<34}" + "".join(f"{results[size][method]:>10.0%}" for size in sizes) for method in results[sizes[0]]
    ]
    return "\n".join(lines)


def repeats_of(rows: int, repeats: int) -> int:
    """Fewer where there are many rows, where chance has less of a say."""
    return max(repeats * 1_000 // max(rows, 1_000), 20)


def main() -> None:
    repeats = int(os.environ.get("REPEATS", "100"))
    sizes = [int(size) for size in os.environ.get("SIZES", "100,1000,10000").split(",")]
    started = time.monotonic()
    report: dict[str, dict[str, dict[int, float]]] = {}
    print("Share of columns that are called drifted, by the rows of each side\n")
    for change in CHANGES:
        results = {rows: called(change, rows, repeats_of(rows, repeats)) for rows in sizes}
        kind = "numbers" if change.is_number else "categories"
        print(table(results, change.name) + "\n", flush=True)
        report[f"{kind}: {change.name}"] = {
            method: {rows: round(results[rows][method], 3) for rows in sizes} for method in results[sizes[0]]
        }
    print("100 columns of 1,000 rows, Kolmogorov-Smirnov       false share   any false   found")
    corrected: dict[str, dict[str, float]] = {}
    for drifted in (0, 10):
        for correction in Correction:
            found = discoveries(correction, columns=100, drifted=drifted, rows=1_000, windows=max(repeats // 5, 20))
            print(
                f"  {drifted:>2} drifted, {correction.value:<20} {found.false_share:>24.0%} {found.any_false:>11.0%} "
                f"{found.found if drifted else float('nan'):>7.0%}"
            )
            corrected[f"{drifted} drifted, {correction.value}"] = vars(found)
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"called": report, "many_columns": corrected, "repeats": repeats, "seconds": seconds}))


if __name__ == "__main__":
    main()
