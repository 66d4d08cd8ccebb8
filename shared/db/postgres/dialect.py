"""PURE: the journal's SQL, which is written for SQLite, as PostgreSQL reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from shared.db.database import Statement

_NAME = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")
_PLAIN = (
    (re.compile(r"\bCAST\((.+?) AS INTEGER\)"), r"floor(\1)::bigint"),  # SQLite cuts off, PostgreSQL rounds
    (re.compile(r"\bLIKE\b"), "ILIKE"),  # SQLite's ignores case
    (re.compile(r"\bLIMIT -1\b"), "LIMIT ALL"),
)
_TYPES = {int: "bigint", float: "double precision", str: "text", bytes: "text", bool: "boolean"}  # bytes: `AS_TEXT`
_TIME = re.compile(r"(?:.*_at|at|deadline|now|since)\Z")
_COUNT = re.compile(r"(?:.*_(?:calls|tokens)|priority|attempts?|failed)\Z")


@dataclass(frozen=True, eq=False)
class Dialect:
    """What PostgreSQL gets in the place of SQLite's: `migrations`, and texts `instead` of those that it cannot read.

    `tells` is what is sent as news of a statement to whoever listens, None where that is nothing. `oldest` is how many
    migrations code must know at least to work with the tables as these leave them.
    """

    migrations: Sequence[str]
    instead: Mapping[str, str] = field(default_factory=dict)
    tells: Callable[[Statement], str | None] | None = None
    oldest: int = 1


class Asked(NamedTuple):
    """A query with numbered parameters."""

    text: str
    names: tuple[str, ...]


class Written(NamedTuple):
    """A statement as a function of one JSON object, so that its plan is made once a connection."""

    name: str
    definition: str


@lru_cache(maxsize=1_000)
def translate(sql: str, dialect: Dialect) -> str:
    """The text with its named parameters left as they are. Seals are NULL: PostgreSQL has checksums of its own."""
    text = dialect.instead.get(sql)
    if text is not None:
        return text
    text = re.sub(r"\A\s*SELECT 1\s*\Z", "PERFORM 1", drop_seals(sql))  # a write that only waits its turn
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    return text


def number_names(text: str, params: Mapping[str, Any]) -> Asked:
    """Names as $1, $2 … with the types of their values; NULL stands in the text, for it has no type."""
    return _number(text, tuple((name, _find_type(value)) for name, value in params.items()))


@lru_cache(maxsize=1_000)
def _number(text: str, types: tuple[tuple[str, str | None], ...]) -> Asked:
    known, names = dict(types), list[str]()

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if (type := known[name]) is None:
            return "NULL"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}::{type}"

    return Asked(_NAME.sub(number, text), tuple(names))


def _find_type(value: Any) -> str | None:
    return None if value is None else _TYPES[str if isinstance(value, str) else type(value)]


def make_function(text: str, params: Mapping[str, Any], *, many: bool = False) -> Written:
    """The function that runs a statement; its name tells one text from another, so versions do not disturb each other.

    It returns the number of rows that were touched. That of `many` gets a list of a unit's number and parameters each,
    and runs those whose unit was written.
    """
    types = tuple((name, _find_type(value) or _guess_type(name)) for name, value in params.items())
    return _make_function(text, types, many)


@lru_cache(maxsize=1_000)
def _make_function(text: str, types: tuple[tuple[str, str], ...], many: bool) -> Written:
    known = dict(types)
    body = _NAME.sub(lambda found: f"(_p->>'{found[1]}')::{known[found[1]]}", text).strip()
    name = f"muster_{'m' if many else 'w'}_{sha256(body.encode()).hexdigest()[:16]}"
    if many:
        return Written(
            name,
            f"""
            CREATE OR REPLACE FUNCTION {name}(_rows jsonb, _written boolean[]) RETURNS void LANGUAGE plpgsql AS $muster$
            #variable_conflict use_column
            DECLARE _unit int; _p jsonb;
            BEGIN
                FOR _unit, _p IN SELECT (value->>0)::int, value->1 FROM jsonb_array_elements(_rows) LOOP
                    IF _written[_unit] THEN
                        {body};
                    END IF;
                END LOOP;
            END $muster$
            """,
        )
    return Written(
        name,
        f"""
        CREATE OR REPLACE FUNCTION {name}(_p jsonb) RETURNS bigint LANGUAGE plpgsql AS $muster$
        #variable_conflict use_column
        DECLARE _n bigint;
        BEGIN
            {body};
            GET DIAGNOSTICS _n = ROW_COUNT;
            RETURN _n;
        END $muster$
        """,
    )


def show_nul(text: str) -> str:
    """A text without NUL, which PostgreSQL's has not: the sign for what cannot be shown instead."""
    return text.replace("\0", "\ufffd")


def _guess_type(name: str) -> str:
    """The type of a parameter that is NULL when it is first met."""
    if _TIME.match(name):
        return "double precision"
    return "bigint" if _COUNT.match(name) else "text"


def drop_seals(sql: str) -> str:
    """Each call of `seal`, whatever stands in its brackets, as NULL."""
    while (found := re.search(r"(?<![\w.])seal\(", sql)) is not None:
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        sql = f"{sql[: found.start()]}NULL{sql[end:]}"
    return sql
