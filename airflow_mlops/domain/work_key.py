"""The one key of a piece of work, from which job names, labels, tags and report paths derive.

A retry of a task has the same key as its first try, so it finds what that try did instead of doing it again.
"""

import re
from dataclasses import dataclass

from airflow_mlops.domain.serialization import Document, digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkKey(Document):
    """The identity of one task of one Dag run."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        """Return 32 hex digits that identify this work, safe in names, labels and tags."""
        return digest_of(self.to_dict())[:32]

    @property
    def path(self) -> str:
        """Return the relative folder of this work, readable, ``/``-separated and safe on any storage."""
        task = self.task_id if self.map_index < 0 else f"{self.task_id}-{self.map_index}"
        dag = safe_name(self.dag_id)
        if dag != self.dag_id:  # Who may see one Dag's reports must not see another's of a similar name.
            dag = f"{dag}-{digest_of(self.dag_id)[:8]}"
        return "/".join((dag, safe_name(self.run_id), safe_name(task)))


def safe_name(text: str) -> str:
    """Return ``text`` with all but letters, digits, ``.``, ``_`` and ``-`` replaced by ``_``, and never only dots."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    return name if name.strip(".") else name.replace(".", "_") or "_"
