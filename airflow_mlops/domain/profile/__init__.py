"""How the values of a data set's columns are distributed, in a few kilobytes a column, whatever the number of rows.

Profiles merge: those of the parts of a data set, in any order, become that of the whole. So windows are profiled by
many tasks, and the profile of a reference is made once. Two profiles can be compared when they are on the same grid,
which the reference's profile carries: profile the current data with it.
"""

from airflow_mlops.domain.profile.column import ColumnProfile, ProfileKind, finite_moments
from airflow_mlops.domain.profile.dataset import DatasetProfile, merge_profiles
from airflow_mlops.domain.profile.distribution import (
    EXACT_CATEGORIES,
    EXACT_VALUES,
    FOLDS,
    LONGEST_TEXT,
    SKETCH,
    Categories,
    Distribution,
    Folded,
    Histogram,
    Values,
    binned,
    category,
    distribution_of,
    keeps_values,
    numbers_of,
)
from airflow_mlops.domain.profile.grid import CORE, FEW_NUMBERS, TAIL_BINS, TAIL_FIRST, TAIL_STEPS, Grid

__all__ = [
    "CORE",
    "EXACT_CATEGORIES",
    "EXACT_VALUES",
    "FEW_NUMBERS",
    "FOLDS",
    "LONGEST_TEXT",
    "SKETCH",
    "TAIL_BINS",
    "TAIL_FIRST",
    "TAIL_STEPS",
    "Categories",
    "ColumnProfile",
    "DatasetProfile",
    "Distribution",
    "Folded",
    "Grid",
    "Histogram",
    "ProfileKind",
    "Values",
    "binned",
    "category",
    "distribution_of",
    "finite_moments",
    "keeps_values",
    "merge_profiles",
    "numbers_of",
]
