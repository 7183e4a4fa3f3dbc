import re

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops.engines.duckdb.validation_columns import NoSqlError
from airflow_mlops.engines.duckdb.validation_regex import to_re2

TEXTS = [
    "",
    "a",
    "ab",
    "aab\n",
    "a\nb",
    "b$",
    "7",
    "٣",
    "é",
    "É",
    "_",
    " ",
    "\u2003",
    "👍🏽 it's",
    "{2}",
    "a-b]",
    "\u017f",
    "\x1f",
]
TOKENS = [
    *(
        "a",
        "b",
        "7",
        "é",
        "_",
        "-",
        " ",
        "'",
        ".",
        "^",
        "$",
        "|",
        "(",
        "(?:",
        ")",
        "[",
        "[^",
        "]",
        "*",
        "+",
        "?",
        "{2}",
    ),
    *("{1,}", "{,2}", "{", "}", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\.", r"\$", r"\-", r"\A", r"\Z", r"\n"),
    *(
        "(?i)",
        "(?s)",
        "(?m)",
        r"[\s\S]",
        r"[a-z]",
        r"[\w-]",
        r"\x41",
        r"\u00e9",
        "(?=a)",
        r"\b",
        "(?P<n>",
        "&&",
        "~",
        "#",
    ),
]


def found_by_duckdb(pattern: str, texts: list[str]) -> list[bool]:
    query = "SELECT regexp_matches(x, ?) FROM (SELECT unnest(?) AS x)"
    return [row[0] for row in duckdb.connect().execute(query, [pattern, texts]).fetchall()]


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=7).map("".join))
def test_what_is_translated_is_found_in_the_same_texts(pattern: str) -> None:
    try:
        translated = to_re2(pattern)
    except NoSqlError:
        return
    assert found_by_duckdb(translated, TEXTS) == [bool(re.search(pattern, text)) for text in TEXTS]


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2}\d+$",
        r"^\d{4}-\d{2}-\d{2}$",
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"^(?:JFK|LGA|EWR)$",
        r"(?i)^n\d{3}(aa|ua)?$",
        r"^$|^a+$",
        r"[\s\S]*",
        r"^(\w+)$",
    ],
)
def test_everyday_patterns_need_no_python(pattern: str) -> None:
    texts = ["AB12", "2013-01-01", "a.b@c.org", "JFK", "JFK ", "N123AA", "", "aaa", "a\n", "é_٣"]
    assert found_by_duckdb(to_re2(pattern), texts) == [bool(re.search(pattern, text)) for text in texts]


@pytest.mark.parametrize(
    "pattern", ["a(?=b)", r"(a)\1", r"\bword\b", "a++", "(?>a)", "(?<!a)b", r"a$b", "a{2000}", "("]
)
def test_what_re2_lacks_is_refused(pattern: str) -> None:
    if pattern in {"a++", "(?>a)"}:
        re.compile(pattern)  # Python 3.11 and later know them.
    with pytest.raises(NoSqlError):
        to_re2(pattern)
