"""An Airflow connection to a database becomes an SQLAlchemy engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_mlops.exceptions import InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextlib.contextmanager
def sql_engine(conn_id: str) -> Iterator[Engine]:
    """Give the engine of a connection whose provider speaks SQL, and close what it opened.

    :raises InvalidInputError: when the connection is no database, or its provider or driver is not installed.
    """
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    connection = BaseHook.get_connection(conn_id)
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call] # Airflow's
        engine: Engine = hook.get_sqlalchemy_engine()
    except (AttributeError, ImportError, NotImplementedError, ArgumentError, NoSuchModuleError) as error:
        msg = (
            f"The connection {conn_id!r} of the type {connection.conn_type!r} gives no SQLAlchemy engine: {error}. "
            "Install the provider and the driver of its database, or name a connection to a database."
        )
        raise InvalidInputError(msg) from error
    try:
        yield engine
    finally:
        engine.dispose()
