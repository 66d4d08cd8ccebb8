"""PURE: what of a model's words holds: passages under short labels, ids that exist, quotes that stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared import rendering
from shared.report import Evidence

EACH = 1_500  # characters of one passage that a model reads, more where they are few
MAX_EXCERPT = 400
FOUND_BY = 60  # characters of an excerpt by which its place is found
Text = Annotated[str, Field(max_length=20_000)]
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})
_SPEAKS = re.compile(r"\w")


class FromModel(BaseModel):
    """What a model writes: it may add fields, and write null where nothing is."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Labelled:
    """Passages under the short labels that a model gets for them (`p1`, `p2`, …): it copies those without mistakes.

    Only as many as fit into `room` characters are shown, the first ones first, and only those are known; `text` is
    what the model reads.
    """

    def __init__(self, passages: Sequence[Evidence], room: int) -> None:
        self.passages: list[Evidence] = []
        self.text = ""
        each = max(EACH, room // max(1, len(passages)) - 300)
        for number, item in enumerate(passages, 1):
            shown = _shown(number, item, each)
            if len(self.text) + len(shown) > room:
                break
            self.text += shown
            self.passages.append(item)
        self._by_name = {item.id.casefold(): item for item in self.passages}
        self._by_name |= {f"p{number}": item for number, item in enumerate(self.passages, 1)}
        self._flat = {item.id: _flat(item.text or item.excerpt) for item in self.passages}

    def known(self, names: Iterable[str]) -> list[Evidence]:
        """The passages of those names that exist, each once, in the order of the names."""
        found = (self._by_name.get(name.strip().strip("[]().").casefold()) for name in names)
        return list({item.id: item for item in found if item is not None}.values())

    def quoting(self, quotes: Iterable[str], among: Sequence[Evidence]) -> Mapping[str, list[str]]:
        """The quotes that stand in one of these passages, by its id; white space and kinds of quotation marks aside."""
        found: dict[str, list[str]] = {}
        for quote in quotes:
            flat = _flat(quote)
            if _SPEAKS.search(flat):
                for item in among:
                    if flat in self._flat[item.id]:
                        found.setdefault(item.id, []).append(line(quote))
        return found


def with_excerpts(passages: Iterable[Evidence], quotes: Mapping[str, Sequence[str]]) -> list[Evidence]:
    """The passages, with what was quoted from them as their excerpt."""
    return [
        item.model_copy(update={"excerpt": " … ".join(dict.fromkeys(quotes[item.id]))[:MAX_EXCERPT]})
        if quotes.get(item.id)
        else item
        for item in passages
    ]


def line(text: str) -> str:
    """A model's words on one line, without control and direction characters."""
    return rendering.clean(text)


def _shown(number: int, item: Evidence, each: int) -> str:
    """One passage as a model reads it: its label, where it stands, and at most `each` characters around its excerpt."""
    text = rendering.clean(item.text or item.excerpt, keep_lines=True).strip()
    if len(text) > each:
        start = max(0, text.find(item.excerpt[:FOUND_BY]) - each // 3) if item.excerpt else 0
        text = text[start : start + each]
    return f"[p{number}] {line(' > '.join(part for part in (item.title, item.heading) if part))[:200]}\n{text}\n\n"


def _flat(text: str) -> str:
    return " ".join(rendering.clean(text).translate(_QUOTES).casefold().split())
