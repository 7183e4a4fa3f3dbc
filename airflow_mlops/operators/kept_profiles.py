"""Profiles of snapshots: made once, kept with the snapshot, and read by whoever compares."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mlops.domain.dataset import Snapshot, SnapshotManifest
from airflow_mlops.domain.drift import ComparedData
from airflow_mlops.domain.drift.report import ProfileReference
from airflow_mlops.domain.profile import DatasetProfile, ProfileKind, merge_profiles
from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.exceptions import InvalidInputError, MlopsError
from airflow_mlops.hooks.duckdb import duckdb_limits
from airflow_mlops.hooks.storage import open_storage
from airflow_mlops.operators.jobs import local_channel

if TYPE_CHECKING:
    from airflow_mlops.domain.profile import Grid
    from airflow_mlops.engines.fsspec import Storage

_log = logging.getLogger(__name__)
_KEY_CHARACTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledSnapshot:
    """A snapshot, its profile, and the file that the profile is kept in."""

    manifest: SnapshotManifest
    profile: DatasetProfile
    file: Storage

    @property
    def data(self) -> ComparedData:
        """What was profiled, for the evidence."""
        return ComparedData(
            dataset_name=self.manifest.dataset_name, dataset_digest=self.manifest.digest, rows=self.profile.rows
        )

    @property
    def reference(self) -> ProfileReference:
        """How another task finds the profile."""
        return ProfileReference(
            dataset_name=self.manifest.dataset_name,
            digest=self.manifest.digest,
            uri=self.file.uri,
            rows=self.profile.rows,
        )


def profile_snapshot(snapshot: Snapshot, grids: Mapping[str, Grid] | None = None) -> ProfiledSnapshot:
    """Profile a snapshot, or read its profile where it is kept already.

    :param grids: those of the reference's profile; ``None`` makes a profile that others are compared with.
    :raises DatasetError: when the snapshot cannot be read, or is another than was asked for.
    """
    from airflow_mlops.engines.profiles import profile_parquet
    from airflow_mlops.engines.snapshots import read_manifest

    folder = open_storage(snapshot.uri)
    manifest = read_manifest(folder)
    file = folder / f"_profile-{_key(grids)}.json"
    kept = _read(file) if manifest.digest == snapshot.digest else None
    if kept is not None:
        return ProfiledSnapshot(manifest=manifest, profile=kept, file=file)
    with local_channel(snapshot) as channel:
        files = sorted(channel.glob("*.parquet"))
        profile = profile_parquet(files, grids=grids, threads=duckdb_limits().threads)
    try:
        file.write_json(profile.to_dict())
    except MlopsError as error:  # A store that may only be read: the next check makes it again.
        _log.warning("The profile of %s cannot be kept with it: %s", snapshot.dataset_name, error)
    return ProfiledSnapshot(manifest=manifest, profile=profile, file=file)


def profile_parts(given: Sequence[Snapshot | ProfileReference], grids: Mapping[str, Grid]) -> DatasetProfile:
    """Return the profile of all parts of a window together.

    A column that has changed its kind within the window, or whose parts were counted on different grids, is left out
    and noted, so that it does not spoil the others.
    """
    profiles = [
        DatasetProfile.from_dict(open_storage(part.uri).read_json())
        if isinstance(part, ProfileReference)
        else profile_snapshot(part, grids).profile
        for part in given
    ]
    odd = _unmergeable(profiles)
    fit = [
        replace(profile, columns=tuple(column for column in profile.columns if column.name not in odd))
        for profile in profiles
    ]
    merged = merge_profiles(fit)
    return replace(merged, notes=(*merged.notes, *odd.values()))


def _unmergeable(profiles: Sequence[DatasetProfile]) -> dict[str, str]:
    kinds: dict[str, set[ProfileKind]] = defaultdict(set)
    grids: dict[str, list[Grid]] = defaultdict(list)
    for column in (column for profile in profiles for column in profile.columns):
        kinds[column.name] |= {column.kind} - {ProfileKind.NOTHING}
        if column.grid is not None and column.grid not in grids[column.name]:
            grids[column.name].append(column.grid)
    notes = {name: f"{name} changes its type within the window." for name, found in kinds.items() if len(found) > 1}
    return notes | {
        name: f"{name} was profiled on different grids: give ProfileOperator a reference that has this column."
        for name, found in grids.items()
        if len(found) > 1 and name not in notes
    }


def read_parts(given: Any) -> tuple[Snapshot | ProfileReference, ...]:
    """Return what an author gave as a window: a snapshot, a profile, or a list of them; nothing is no rows.

    :raises InvalidInputError: when it is something else.
    """
    if not given or given == "None":  # as a template renders it
        return ()
    items = [given] if isinstance(given, Mapping | str) else list(given)
    return tuple(_part(item) for item in items if item)


def _part(item: Any) -> Snapshot | ProfileReference:
    if not isinstance(item, Mapping):
        msg = (
            f"{item!r:.200} is neither a snapshot nor a profile. Give the output of a task that takes or profiles one."
        )
        raise InvalidInputError(msg)
    return Snapshot.from_dict(item) if "created" in item else ProfileReference.from_dict(item)


def _key(grids: Mapping[str, Grid] | None) -> str:
    """Return what tells profiles of one snapshot apart: which grids they are on."""
    if grids is None:
        return "own"
    return digest_of({name: grid.to_dict() for name, grid in grids.items()})[:_KEY_CHARACTERS]


def _read(file: Storage) -> DatasetProfile | None:
    """Return the profile that is kept, unless there is none, or one that another release wrote."""
    if not file.exists():
        return None
    try:
        return DatasetProfile.from_dict(file.read_json())
    except InvalidInputError as error:
        _log.info("%s is made anew: %s", file.uri, error)
        return None
