"""Where a worker finds the roles of users, and where it cannot."""

import pytest

from airflow_mlops.exceptions import PolicyError
from airflow_mlops.hooks.roles import roles_of_users

AUTH_MANAGER = "AIRFLOW__CORE__AUTH_MANAGER"
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


def test_simple_auth_manager_keeps_them_in_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTH_MANAGER, SIMPLE)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "ada:admin, grace:user:team_a|team_b")
    assert roles_of_users() == {"ada": ("admin",), "grace": ("user",)}


def test_nobody_has_a_role_where_everybody_is_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTH_MANAGER, SIMPLE)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "true")
    with pytest.raises(PolicyError, match="makes everybody the same admin"):
        roles_of_users()


def test_auth_manager_that_cannot_be_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTH_MANAGER, "example.KeycloakAuthManager")
    with pytest.raises(PolicyError, match=r"cannot ask example\.KeycloakAuthManager .* by their user ids"):
        roles_of_users()
