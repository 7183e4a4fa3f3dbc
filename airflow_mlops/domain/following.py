"""What a Dag that follows a model waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from airflow_mlops.domain.registry import CHAMPION, ModelVersion
from airflow_mlops.domain.serialization import Document, canonical_json
from airflow_mlops.exceptions import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasCondition(Document):
    """An alias names a version: any, or a given one, or another than one, or a newer than one."""

    kind: ClassVar[str] = "alias"

    model_name: str
    alias: str = CHAMPION
    version: str | None = None
    other_than: str | None = None
    newer_than: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be met, or could be meant in two ways."""
        named = {
            name: value
            for name, value in (
                ("version", self.version),
                ("other_than", self.other_than),
                ("newer_than", self.newer_than),
            )
            if value is not None
        }
        if len(named) > 1:
            msg = f"{' and '.join(named)} are given, but an alias names one version: give one of them."
            raise InvalidInputError(msg)
        _require_numbers(named)

    def is_met_by(self, found: ModelVersion | None) -> bool:
        """Whether this is the version to go on with. ``found`` is what the alias names."""
        if found is None:
            return False
        if self.version is not None:
            return found.version == self.version
        if self.other_than is not None:
            return found.version != self.other_than
        return self.newer_than is None or int(found.version) > int(self.newer_than)

    @property
    def question(self) -> str:
        """What the registry is asked. Conditions of one question can share its answer."""
        return canonical_json([self.kind, self.model_name, self.alias])

    def __str__(self) -> str:
        """Return what is waited for, for people."""
        which = (
            f"version {self.version}"
            if self.version is not None
            else f"another version than {self.other_than}"
            if self.other_than is not None
            else f"a version newer than {self.newer_than}"
            if self.newer_than is not None
            else "a version"
        )
        return f"the alias {self.alias} of {self.model_name} to name {which}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCondition(Document):
    """A version exists and carries tags: a given one, or the newest that does, and that is newer than one."""

    kind: ClassVar[str] = "version"

    model_name: str
    version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    newer_than: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be met, or could be meant in two ways."""
        if self.version is not None and self.newer_than is not None:
            msg = "version and newer_than are given, but a version is newer than another or not: give one of them."
            raise InvalidInputError(msg)
        _require_numbers(
            {
                name: value
                for name, value in (("version", self.version), ("newer_than", self.newer_than))
                if value is not None
            }
        )

    def is_met_by(self, found: ModelVersion | None) -> bool:
        """Whether this is a version to go on with."""
        if found is None or (self.version is not None and found.version != self.version):
            return False
        if self.newer_than is not None and int(found.version) <= int(self.newer_than):
            return False
        return all(found.tags.get(name) == value for name, value in self.tags.items())

    @property
    def question(self) -> str:
        """What the registry is asked. Conditions of one question can share its answer."""
        return canonical_json([self.kind, self.model_name, self.version, dict(self.tags), self.newer_than])

    def __str__(self) -> str:
        """Return what is waited for, for people."""
        which = f"version {self.version}" if self.version is not None else "a version"
        newer = f" newer than {self.newer_than}" if self.newer_than is not None else ""
        tagged = ", ".join(f"{name}={value}" for name, value in self.tags.items())
        return f"{which} of {self.model_name}{newer}{f' with the tags {tagged}' if tagged else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Document):
    """A condition, and what to make of a model that is not there."""

    condition: AliasCondition | VersionCondition
    must_exist: bool = True
    """Whether an unknown model is an error; else it is waited for, too."""


def _require_numbers(versions: Mapping[str, str]) -> None:
    for name, value in versions.items():
        if not value.isdecimal():
            msg = f"{name} is {value!r}, but versions of a model are numbers such as '3'."
            raise InvalidInputError(msg)
