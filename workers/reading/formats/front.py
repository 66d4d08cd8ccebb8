"""What a text says of itself before it begins: front matter in YAML or TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 20_000
DATES = ("lastmod", "last_modified", "last-modified", "last_modified_at", "last_update", "modified", "updated", "date")

_YAML = re.compile(r"\A(?:<!--\n)?---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n-->)?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"^[\w-]+[ \t]*:", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Front:
    """`modified` is an ISO date; both are "" where nothing is said."""

    title: str = ""
    modified: str = ""


def split_front(text: str) -> tuple[Front, str]:
    """What the front matter says, and the text after it."""
    if found := _TOML.match(text):
        return _front(_toml(found[1])), text[found.end() :]
    found = _YAML.match(text)
    if found and (not found[1].strip() or _KEY.search(found[1])):  # else it is text between two lines
        return _front(_yaml(found[1])), text[found.end() :]
    return Front(), text


def _front(said: Any) -> Front:
    if not isinstance(said, Mapping):
        return Front()
    title = said.get("title")
    dates = (said.get(key) for key in DATES)
    spoken = (str(each.get("date") if isinstance(each, Mapping) else each) for each in dates if each)
    dated = next((date[0] for each in spoken if (date := _DATE.match(each))), "")
    return Front(" ".join(str(title).split()) if isinstance(title, str | int | float) else "", dated)


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _yaml(text: str) -> Any:
    import yaml

    if len(text) > MAX_CHARACTERS:
        return None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date that is none
        title = re.search(r"^title:[ \t]*(\S.*)$", text, re.MULTILINE)  # often a colon in a title without quotes
        return {"title": title[1]} if title else None
