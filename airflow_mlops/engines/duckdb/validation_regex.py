r"""Python's regular expressions in the dialect of RE2, which DuckDB runs: in linear time, whatever the text.

The two agree on most; what means something else is written otherwise (``\d`` and ``\w`` are Unicode's in Python and
ASCII's in RE2, ``$`` also matches before a last line feed, ``\Z`` is ``\z``). What RE2 lacks has no translation:
lookarounds, references to groups, ``\b``, atomic groups, possessive quantifiers and a few rarer ones.

See https://github.com/google/re2/wiki/Syntax and https://docs.python.org/3/library/re.html.
"""

import re
import warnings
from typing import NoReturn

from airflow_mlops.engines.duckdb.validation_columns import NoSqlError

_DIGIT = r"\p{Nd}"
_WORD = r"\p{L}\p{N}_"
_SPACE = r"\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = "abfnrtv"
_REPEAT = re.compile(r"\{(\d*)(,?)(\d*)\}")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_GROUP = re.compile(r"\?(?:P<\w+>|(?:[is]+)?:)")
_FLAGS = re.compile(r"\(\?([ism]+)\)")
_MOST_REPEATS = 1000


def to_re2(pattern: object) -> str:
    """Return the pattern for RE2, so that it is found in the same texts as by ``re.search``.

    :raises NoSqlError: when RE2 lacks what it needs, or Python itself refuses it.
    """
    if not isinstance(pattern, str):
        msg = f"{pattern!r:.100} is no regular expression"
        raise NoSqlError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of nested sets: here they mean what they mean to Python today.
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        msg = f"{pattern!r:.100} is no regular expression: {error}"
        raise NoSqlError(msg) from error
    return _Translation(pattern).run()


class _Translation:
    """One pass over a pattern that Python has accepted."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self.depth = 0
        self.is_multiline = False

    def run(self) -> str:
        parts = []
        if flags := _FLAGS.match(self.pattern):
            self.is_multiline = "m" in flags[1]
            parts.append(flags[0])
            self.place = flags.end()
        while self.place < len(self.pattern):
            parts.append(self._next())
        return "".join(parts)

    def _next(self) -> str:
        sign = self.pattern[self.place]
        if sign == "\\":
            return self._escape()
        if sign == "[":
            return self._set()
        if sign == "(":
            return self._group()
        if sign == "{":
            return self._repeat()
        self.place += 1
        if sign in "*+?" and self.pattern[self.place : self.place + 1] == "+":
            self._refuse("a possessive quantifier")
        if sign == ")":
            self.depth -= 1
        if sign == "$" and not self.is_multiline:
            return self._end()
        return r"\}" if sign == "}" else sign

    def _end(self) -> str:
        rest = self.pattern[self.place :]
        if rest.strip(")") and not (self.depth == 0 and rest.startswith("|")):
            self._refuse("$ in the midst of it")
        return r"(?:\n?\z)"

    def _group(self) -> str:
        self.place += 1
        self.depth += 1
        if self.pattern[self.place : self.place + 1] != "?":
            return "("
        found = _GROUP.match(self.pattern, self.place)
        if found is None:
            self._refuse(f"the group ({self.pattern[self.place : self.place + 3]}")
        self.place = found.end()
        return f"({found[0]}"

    def _repeat(self) -> str:
        found = _REPEAT.match(self.pattern, self.place)
        if found is None or found[0] in {"{}", "{,}"}:
            if found is not None and found[0] == "{,}":
                self._refuse("{,}")
            self.place += 1
            return r"\{"
        least, comma, most = found.groups()
        if max(int(least or 0), int(most or 0)) > _MOST_REPEATS:
            self._refuse(f"more than {_MOST_REPEATS} repeats")
        self.place = found.end()
        if self.pattern[self.place : self.place + 1] == "+":
            self._refuse("a possessive quantifier")
        return f"{{{least or 0}{comma}{most}}}"

    def _escape(self, *, in_set: bool = False) -> str:
        sign = self.pattern[self.place + 1]
        if code := _CODE.match(self.pattern, self.place + 1):
            self.place = code.end()
            return rf"\x{{{(code[1] or code[2] or code[3]).lstrip('0') or '0'}}}"
        self.place += 2
        if sign.lower() in _CLASSES:
            inner = _CLASSES[sign.lower()]
            if in_set:
                if sign.isupper() and sign != "D":
                    self._refuse(rf"\{sign} in a set")
                return r"\P{Nd}" if sign == "D" else inner
            return f"[{'^' if sign.isupper() else ''}{inner}]"
        if sign in "AZ" and not in_set:
            return r"\z" if sign == "Z" else r"\A"
        if sign in _CONTROLS and (in_set or sign != "b"):
            return {"a": r"\x07", "b": r"\x08", "f": r"\x0c", "v": r"\x0b"}.get(sign, f"\\{sign}")
        if sign.isalnum():
            self._refuse(f"\\{sign}")
        return f"\\{sign}" if sign.isascii() and sign.isprintable() and sign != " " else sign

    def _set(self) -> str:
        self.place += 1
        opening = "["
        if self.pattern[self.place] == "^":
            opening = "[^"
            self.place += 1
        start = self.place
        parts = []
        while self.pattern[self.place] != "]" or self.place == start:
            sign = self.pattern[self.place]
            if sign == "\\":
                both = self.pattern[self.place : self.place + 4]
                if opening == "[" and both in {r"\s\S", r"\S\s", r"\d\D", r"\D\d", r"\w\W", r"\W\w"}:
                    end = self.place + 4
                    if self.pattern[end : end + 1] == "]" and self.place == start:
                        self.place = end + 1
                        return "(?s:.)"
                parts.append(self._escape(in_set=True))
                continue
            parts.append(f"\\{sign}" if sign in "[]&~|" else sign)
            self.place += 1
        self.place += 1
        return f"{opening}{''.join(parts)}]"

    def _refuse(self, what: str) -> NoReturn:
        msg = f"the regular expression {self.pattern!r:.100} holds {what}, which RE2 lacks"
        raise NoSqlError(msg)
