"""Secrets are named, never held, by a Dag; and what a job says of them is masked."""

import pytest

from airflow_mlops.domain.secrets import SecretReference, SecretSource, hidden_texts, parse_secrets, redact
from airflow_mlops.exceptions import InvalidInputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conn:my_db", SecretReference(source=SecretSource.CONNECTION, key="my_db")),
        ("conn:my_db#password", SecretReference(source=SecretSource.CONNECTION, key="my_db", part="password")),
        ("var:team/token", SecretReference(source=SecretSource.VARIABLE, key="team/token")),
    ],
)
def test_a_reference_says_where_airflow_keeps_it(text: str, expected: SecretReference) -> None:
    assert SecretReference.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["hunter2", "", "conn:", "conn:my db", "file:/etc/passwd", 7, None])
def test_what_is_no_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"The secret 'token' cannot be read\. A secret must name") as raised:
        parse_secrets({"token": text})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", ["var:key#password", "conn:my_db#secret"])
def test_only_connections_have_fields(text: str) -> None:
    with pytest.raises(InvalidInputError, match="only connections have fields: host, login, password"):
        parse_secrets({"token": text})


@pytest.mark.parametrize("name", ["", ".", "..", "../etc", "a/b", ".hidden", "a,b", "x" * 101])
def test_a_name_that_is_no_plain_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="becomes a file of that name"):
        parse_secrets({name: "var:key"})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("hunter2", "the token hunter2 is wrong"),
        ("hunter2\n", "token=hunter2"),
        ("postgres://me:p%40ssword@db/x", "cannot log in with p@ssword"),
        ("postgres://me:p%40ssword@db/x", "cannot open postgres://me:p%40ssword@db/x"),
        ("aws://?secret_key=abcdefgh", "refused: abcdefgh"),
        ("-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----", "line ijklmnop"),
        ("prefix and longer", "prefix and longer"),
    ],
)
def test_a_secret_and_its_parts_are_masked(value: str, said: str) -> None:
    masked = redact(said, hidden_texts({"name": value, "other": "prefix"}))
    assert masked.endswith(("***", "*** is wrong"))


@pytest.mark.parametrize("value", ["abcd", "http://[no address", "conn://host/path"])
def test_short_texts_and_addresses_without_a_password_hide_nothing_else(value: str) -> None:
    assert redact("the host and the path", hidden_texts({"name": value})) == "the host and the path"
