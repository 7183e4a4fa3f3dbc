"""The roles of users, as Airflow's auth manager knows them. A worker has no database, so it asks where roles are kept.

Airflow's simple auth manager keeps users and roles in the configuration. FAB keeps them in Airflow's database, and
tells of them over its REST API. Why so: docs/adr/0010-roles-in-a-worker.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import BaseHook, conf

from airflow_mlops.exceptions import PolicyError

AIRFLOW_CONNECTION = "airflow_api"
"""Connection to Airflow's own API server, for the roles of FAB."""


def roles_of_users(conn_id: str = AIRFLOW_CONNECTION) -> Mapping[str, tuple[str, ...]]:
    """Return every user's roles by user name.

    :param conn_id: for FAB: a connection with the API server's address in ``host``, and the login of a user that may
        read users.
    :raises PolicyError: when this auth manager keeps roles where a worker cannot look.
    """
    manager = str(conf.get("core", "auth_manager", fallback=""))
    if manager.endswith(".SimpleAuthManager"):
        return _simple_roles()
    if manager.endswith(".FabAuthManager"):
        from airflow_mlops.engines.fab import FabUsers

        connection = BaseHook.get_connection(conn_id)
        address = connection.host or ""
        url = address if "://" in address else f"{connection.schema or 'https'}://{address}"
        port = f":{connection.port}" if connection.port else ""
        return FabUsers(url=f"{url}{port}", login=connection.login or "", password=connection.password or "").roles()
    msg = (
        f"The policy names roles, but a worker cannot ask {manager or 'an auth manager that is not configured'} for "
        f"the roles of users. Name the approvers by their user ids."
    )
    raise PolicyError(msg)


def _simple_roles() -> Mapping[str, tuple[str, ...]]:
    if conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False):
        msg = (
            "The policy names roles, but [core] simple_auth_manager_all_admins makes everybody the same admin. "
            "Switch it off, or name no roles."
        )
        raise PolicyError(msg)
    entries = conf.getlist("core", "simple_auth_manager_users", fallback=[])
    return {user: (role,) for user, role, *_ in (entry.strip().split(":") for entry in entries)}
