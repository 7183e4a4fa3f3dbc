"""Secrets of a job: how a Dag names them without holding them, and what must not be seen of them."""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow_mlops.exceptions import InvalidInputError

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_REFERENCE = r"(?P<source>conn|var):(?P<key>[^#\s]+)(#(?P<part>[^#\s]+))?"
_PARTS = ("host", "login", "password", "port", "schema", "extra")
_SHORTEST = 5  # Airflow's own masking leaves shorter texts alone, too: they are parts of words.
_MASK = "***"


class SecretSource(enum.StrEnum):
    """Where Airflow keeps it."""

    CONNECTION = "conn"
    VARIABLE = "var"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """An Airflow connection or variable whose content a job gets as a file."""

    source: SecretSource
    key: str
    """Connection id, or the variable's key."""
    part: str | None = None
    """One field of a connection; without it, its URI."""

    @classmethod
    def parse(cls, text: str) -> "SecretReference":
        """Read ``conn:my_db`` (its URI), ``conn:my_db#password`` (one field of it) or ``var:api_token``.

        :raises InvalidInputError: when it is neither. The text itself is not repeated, since it may be the secret.
        """
        match = re.fullmatch(_REFERENCE, text) if isinstance(text, str) else None
        if match is None:
            msg = (
                "A secret must name where Airflow keeps it: 'conn:my_db' for a connection's URI, "
                "'conn:my_db#password' for one field of it, or 'var:my_key' for a variable. Never the value itself."
            )
            raise InvalidInputError(msg)
        source, key, part = SecretSource(match["source"]), match["key"], match["part"]
        if part is not None and (source is SecretSource.VARIABLE or part not in _PARTS):
            known = ", ".join(_PARTS)
            msg = f"The reference {text!r} names the field {part!r}, but only connections have fields: {known}."
            raise InvalidInputError(msg)
        return cls(source=source, key=key, part=part)

    def __str__(self) -> str:
        """Return how an author writes it."""
        return f"{self.source}:{self.key}" + (f"#{self.part}" if self.part else "")


def parse_secrets(secrets: Mapping[str, str]) -> dict[str, SecretReference]:
    """Read a Dag's mapping of file names to references.

    :raises InvalidInputError: naming the file that cannot be made, or whose reference cannot be read.
    """
    references = {}
    for name, text in secrets.items():
        if not re.fullmatch(_NAME, name):
            msg = f"The secret {name!r} becomes a file of that name: use letters, digits, '_', '-' and '.' only."
            raise InvalidInputError(msg)
        try:
            references[name] = SecretReference.parse(text)
        except InvalidInputError as error:
            msg = f"The secret {name!r} cannot be read. {error}"
            raise InvalidInputError(msg) from error
    return references


def hidden_texts(values: Mapping[str, str]) -> list[str]:
    """Return all that must not be seen of these secrets, the longest first; no text of less than 5 characters.

    A secret of several lines shows line by line in a log; of a URI, a program may print the password alone.
    """
    texts: set[str] = set()
    for value in values.values():
        texts |= {value, value.strip(), *(line.strip() for line in value.splitlines()), *_of_uri(value)}
    return sorted((text for text in texts if len(text) >= _SHORTEST), key=lambda text: (-len(text), text))


def redact(text: str, hidden: Sequence[str]) -> str:
    """Return a text without what :func:`hidden_texts` returned."""
    for secret in hidden:
        text = text.replace(secret, _MASK)
    return text


def _of_uri(value: str) -> set[str]:
    try:
        uri = urlsplit(value)
        password = uri.password
    except ValueError:
        return set()
    if not uri.scheme or not (password or uri.query):
        return set()
    return {password or "", unquote(password or ""), *(text for _, text in parse_qsl(uri.query))}
