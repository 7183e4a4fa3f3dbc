"""The prediction log: what a serving process writes down of each answer, and how labels that come later find it.

The log is plain Parquet or a SQL table, so that any process can write it, in any language. The columns are a contract:
what watches a model reads them by these names. ``docs/prediction-log.md`` is the same for people.
"""

import enum
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from urllib.parse import quote

from airflow_mlops.domain.moment import utc
from airflow_mlops.domain.monitoring import Window
from airflow_mlops.domain.serialization import Document
from airflow_mlops.exceptions import DatasetError, InvalidInputError

PREDICTION_ID: Final = "prediction_id"
"""Text that names the answer and nothing else, in the log and in the labels."""
PREDICTED_AT: Final = "predicted_at"
"""When the model answered, in UTC."""
MODEL_NAME: Final = "model_name"
MODEL_VERSION: Final = "model_version"
"""Text: the version that answered. Each row is judged by it."""
PREDICTION: Final = "prediction"
"""What the model said: the label for classifiers, the number for regression."""
PROBABILITY: Final = "probability"
"""Of the positive class, for binary classifiers that give one."""
LABEL: Final = "label"
"""What came true, in the dataset of the labels."""
LABELLED_AT: Final = "labelled_at"
"""When that became known (optional). Of two labels of one answer the later one counts."""

LOG_COLUMNS: Final = (PREDICTION_ID, PREDICTED_AT, MODEL_NAME, MODEL_VERSION, PREDICTION)
"""The columns that every prediction log has."""
RESERVED_COLUMNS: Final = frozenset({*LOG_COLUMNS, PROBABILITY, LABEL, LABELLED_AT})
"""Names that no feature can have."""
LABEL_COLUMNS: Final = (PREDICTION_ID, LABEL)
"""The columns that every dataset of labels has."""

Value = float | int | str | bool | datetime
"""A value of a feature or of a prediction."""

_LARGEST_INTEGER = 2**63
_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


class ValueType(enum.StrEnum):
    """The type of a column of the log. Each is one type of Parquet and one of SQL."""

    NUMBER = "number"
    INTEGER = "integer"
    TEXT = "text"
    FLAG = "flag"
    TIME = "time"

    @classmethod
    def of(cls, given: "type | str | ValueType") -> Self:
        """Return the type that a Python class or a name means.

        :raises InvalidInputError: when it is none.
        """
        try:
            return cls(_NAMES[given] if isinstance(given, type) else given)
        except (KeyError, ValueError):
            known = ", ".join(kind.__name__ for kind in _NAMES)
            msg = f"{given!r} is no type of the prediction log. It has {known}."
            raise InvalidInputError(msg) from None

    def read(self, value: object) -> Value | None:
        """Return a value as the column holds it; ``None`` and NaN are a missing value.

        :raises InvalidInputError: when the value is of another type. Nothing is converted but whole to real numbers
            and, by ``item()``, what NumPy made of a Python value.
        """
        if value is None:
            return None
        if hasattr(value, "item"):
            value = value.item()
        if isinstance(value, float) and math.isnan(value):
            return None
        if self is ValueType.TIME and isinstance(value, datetime):
            return utc(value)
        if self is ValueType.NUMBER and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if self is ValueType.INTEGER and type(value) is int and -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
            return value
        if (self is ValueType.TEXT and isinstance(value, str)) or (self is ValueType.FLAG and isinstance(value, bool)):
            return value
        msg = f"is {value!r:.100}, but its column holds values of the type {self.value}."
        raise InvalidInputError(msg)


_NAMES: Final[Mapping[type, ValueType]] = {
    float: ValueType.NUMBER,
    int: ValueType.INTEGER,
    str: ValueType.TEXT,
    bool: ValueType.FLAG,
    datetime: ValueType.TIME,
}
_SQL_TYPES: Final = {
    ValueType.NUMBER: "double precision",
    ValueType.INTEGER: "bigint",
    ValueType.TEXT: "text",
    ValueType.FLAG: "boolean",
    ValueType.TIME: "timestamp with time zone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSchema(Document):
    """The columns of one prediction log: those of the contract, and a model's own."""

    features: Mapping[str, ValueType]
    prediction: ValueType = ValueType.NUMBER
    has_probability: bool = False

    def __post_init__(self) -> None:
        """Refuse names that the contract has, and names that differ in case only."""
        seen = {name.casefold() for name in RESERVED_COLUMNS}
        for name in self.features:
            if not name.strip() or name.casefold() in seen:
                msg = (
                    f"A feature cannot be called {name!r}: the prediction log has a column of that name. Rename it in "
                    f"the log; its own columns are {', '.join(sorted(RESERVED_COLUMNS))}."
                )
                raise InvalidInputError(msg)
            seen.add(name.casefold())

    @property
    def columns(self) -> dict[str, ValueType]:
        """All columns, in the order in which they are written."""
        fixed = {
            PREDICTION_ID: ValueType.TEXT,
            PREDICTED_AT: ValueType.TIME,
            MODEL_NAME: ValueType.TEXT,
            MODEL_VERSION: ValueType.TEXT,
        }
        probability = {PROBABILITY: ValueType.NUMBER} if self.has_probability else {}
        return {**fixed, **self.features, PREDICTION: self.prediction, **probability}

    def read_features(self, given: Mapping[str, object]) -> dict[str, Value | None]:
        """Return the values of the features, one for each column.

        :raises InvalidInputError: when one is unknown, missing or of another type. A value that is not known is
            ``None``; a feature that is not given is a mistake.
        """
        if given.keys() != self.features.keys():
            missing = sorted(self.features.keys() - given.keys())
            unknown = sorted(given.keys() - self.features.keys())
            msg = f"The features lack {missing or 'nothing'} and add {unknown or 'nothing'}."
            raise InvalidInputError(msg)
        return {name: _read(name, kind, given[name]) for name, kind in self.features.items()}

    def read_answer(self, prediction: object, probability: object = None) -> dict[str, Value | None]:
        """Return the values of what the model said.

        :raises InvalidInputError: when the answer is missing or of another type, or the probability is none.
        """
        said = _read(PREDICTION, self.prediction, prediction)
        if said is None:
            msg = "The prediction is missing. An answer that was not given is not logged."
            raise InvalidInputError(msg)
        if not self.has_probability:
            if probability is None:
                return {PREDICTION: said}
            msg = "A probability was given, but the log has no column for it: set has_probability."
            raise InvalidInputError(msg)
        chance = _read(PROBABILITY, ValueType.NUMBER, probability)
        if not (isinstance(chance, float) and 0 <= chance <= 1):
            msg = f"The probability is {probability!r}, but must be a number from 0 to 1."
            raise InvalidInputError(msg)
        return {PREDICTION: said, PROBABILITY: chance}

    def ddl(self, table: str) -> str:
        """Return the ``CREATE TABLE`` of the log in SQL, as PostgreSQL, SQLite and most others take it."""
        lines = [f"{_quoted(name)} {_SQL_TYPES[kind]}{_constraint(name)}" for name, kind in self.columns.items()]
        return f"CREATE TABLE {_quoted(table)} (\n  " + ",\n  ".join(lines) + "\n)"

    def labels_ddl(self, table: str) -> str:
        """Return the ``CREATE TABLE`` of the labels. An id may come again: the later label counts."""
        lines = [
            f"{PREDICTION_ID} text NOT NULL",
            f"{LABEL} {_SQL_TYPES[self.prediction]} NOT NULL",
            f"{LABELLED_AT} {_SQL_TYPES[ValueType.TIME]} NOT NULL",
        ]
        return f"CREATE TABLE {_quoted(table)} (\n  " + ",\n  ".join(lines) + "\n)"


def feature_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a log that are features."""
    return tuple(name for name in columns if name not in RESERVED_COLUMNS)


def check_log_columns(columns: Iterable[str], of: str) -> None:
    """Check that data has the columns of a prediction log.

    :param of: its name, for the error.
    :raises DatasetError: naming those that it lacks.
    """
    _check_columns(LOG_COLUMNS, columns, of, "prediction log")


def check_label_columns(columns: Iterable[str], of: str) -> None:
    """Check that data has the columns of labels.

    :raises DatasetError: naming those that it lacks.
    """
    _check_columns(LABEL_COLUMNS, columns, of, "dataset of labels")


def log_folder(model_version: str, moment: datetime) -> str:
    """Return where the rows of one version and day lie below the log's root.

    The names carry no data of their own (no ``date=``), so that a snapshot of any part of the log reads like any other.
    """
    return f"{version_folder(model_version)}/{moment.astimezone(UTC):%Y-%m-%d}"


def version_folder(model_version: str) -> str:
    """Return the name of the folder of one version."""
    return f"v{quote(model_version, safe='')}"


def may_hold(path: str, window: Window) -> bool:
    """Whether a file of a log may hold answers of a window, by the day that one of its folders is called after.

    :param path: relative to the log's root. What lies in no such folder may hold any.
    """
    days = [folder for folder in path.split("/")[:-1] if _DAY.fullmatch(folder)]
    if not days:
        return True
    try:
        begin = datetime.fromisoformat(days[-1]).replace(tzinfo=UTC)
    except ValueError:  # no day of the calendar, such as 2013-02-30
        return True
    return begin < window.end and window.start < begin + timedelta(days=1)


def _check_columns(expected: Iterable[str], columns: Iterable[str], of: str, what: str) -> None:
    found = list(columns)
    if missing := [name for name in expected if name not in found]:
        msg = f"{of} is no {what}: it lacks {', '.join(missing)}. It has {', '.join(found)}."
        raise DatasetError(msg)


def _read(name: str, kind: ValueType, value: object) -> Value | None:
    try:
        return kind.read(value)
    except InvalidInputError as error:
        msg = f"{name} {error}"
        raise InvalidInputError(msg) from None


def _constraint(name: str) -> str:
    if name == PREDICTION_ID:
        return " PRIMARY KEY"
    return " NOT NULL" if name in LOG_COLUMNS else ""


def _quoted(name: str) -> str:
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        return name
    return '"' + name.replace('"', '""') + '"'
