"""Wait until files have come: what looks into them is a worker's business."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlops.domain.serialization import digest_of
from airflow_mlops.exceptions import MlopsError
from airflow_mlops.hooks.storage import open_storage


def listing(addresses: Sequence[str]) -> str:
    """Return a digest of the files of folders and globs, by their names: it changes when one comes or goes.

    What is not there yet has no files. Blocks while the storage is asked.
    """
    from airflow_mlops.engines.snapshots import split_pattern

    found: list[str] = []
    for address in addresses:
        folder, pattern = split_pattern(address)
        place = open_storage(folder)
        found += sorted(place.glob(pattern) if pattern else place.files())
    return digest_of(found)


class NewFilesTrigger(BaseTrigger):
    """Wait until the files of some folders or globs are others than a sensor has seen.

    A storage that does not answer is waited out; the sensor's timeout ends the wait. The event is empty.

    :param addresses: folders or globs.
    :param seen: what :func:`listing` said when the sensor looked.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, *, addresses: Sequence[str], seen: str, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.addresses = list(addresses)
        self.seen = seen
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments, as the triggerer stores them."""
        return f"{__name__}.{type(self).__name__}", {
            "addresses": self.addresses,
            "seen": self.seen,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the files have changed."""
        while True:
            try:
                found = await asyncio.to_thread(listing, self.addresses)
            except (MlopsError, OSError) as error:
                self.log.warning("The files cannot be listed: %s. Waiting on.", error)
                found = self.seen
            if found != self.seen:
                yield TriggerEvent({})  # type: ignore[no-untyped-call]  # Airflow's
                return
            await asyncio.sleep(self.poll_interval)
