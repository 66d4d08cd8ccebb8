"""Evidence out of whatever the steps before delivered: our own Research, or the shapes other workers send."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue, ValidationError

from shared.contracts import Missing
from shared.report.model import AskedWord, Evidence

MAX_EVIDENCE = 2_000  # passages that are read; the best by score when there are more
_FORMAT = re.compile(r"(?<=\w)\.(?:html?|xhtml|md|markdown|rst|te?xt|pdf)(?:\.gz)?$", re.IGNORECASE)
_TEXT = ("text", "content", "body", "passage", "snippet", "excerpt", "summary", "answer", "report", "output", "message")
_TITLE = ("title", "name", "heading")
_LOCATION = ("location", "url", "link", "href", "uri", "path", "source")
_LISTS = ("evidence", "results", "passages", "documents", "sources", "items", "hits", "data")


@dataclass
class Intake:
    """What the steps before delivered, merged: evidence by id, the questions each passage was found for, and notes.

    `words` are the words that a search counted, by question.
    """

    evidence: dict[str, Evidence] = field(default_factory=dict)
    words: dict[str, list[AskedWord]] = field(default_factory=dict)
    questions: dict[str, list[str]] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def add(self, item: Evidence) -> None:
        """Adds one passage; the same id again keeps the longer text, the better score and both questions."""
        known = self.evidence.get(item.id)
        if known is not None:
            text = max(known.text, item.text, key=len)
            item = known.model_copy(update={"text": text, "score": max(known.score, item.score)})
        self.evidence[item.id] = item
        asked = self.questions.setdefault(item.id, [])
        if item.question and item.question not in asked:
            asked.append(item.question)


def intake(upstream: Mapping[str, JsonValue]) -> Intake:
    """Everything usable in the outputs of the steps before, by step id. What is not usable is named in `missing`."""
    found = Intake()
    for step, output in upstream.items():
        _take(found, step, output)
    if len(found.evidence) > MAX_EVIDENCE:
        best = sorted(found.evidence.values(), key=lambda e: -e.score)[:MAX_EVIDENCE]
        found.notes.append(f"Of {len(found.evidence)} passages the {MAX_EVIDENCE} with the best score were read.")
        found.evidence = {item.id: item for item in best}
    return found


def document(item: Evidence) -> str:
    """Which document a passage is from: its location without anchor and format; `a.txt` and `a.html` are one."""
    return _FORMAT.sub("", item.location.split("#", 1)[0]) or item.id


def _take(found: Intake, step: str, output: JsonValue) -> None:
    if isinstance(output, str):
        output = _decode(output)
    question = ""
    if isinstance(output, dict):
        question = _string(output, ("question", "query"))
        found.searched += [text for text in (_string(output, ("searched",)),) if text and text not in found.searched]
        found.words.setdefault(question, []).extend(_words(output.get("words")))
        notes = output.get("notes")
        found.notes += (
            [n for n in notes if isinstance(n, str) and n not in found.notes] if isinstance(notes, list) else []
        )
    used = unused = 0
    for item in _items(output):
        if (evidence := _evidence(item, step, question)) is None:
            unused += 1
        else:
            used += 1
            found.add(evidence)
    if unused:
        found.missing.append(Missing(what=f"{unused} items of step {step}", why="They hold no text that can be read."))
    elif not used and not _is_empty_research(output):
        found.missing.append(Missing(what=f"step {step}", why="Its output holds no text that can be read."))


def _items(output: JsonValue) -> Iterator[JsonValue]:
    if isinstance(output, list):
        yield from output
    elif isinstance(output, dict):
        lists = [value for key in _LISTS if isinstance(value := output.get(key), list)]
        if lists:
            yield from lists[0]
        elif _string(output, _TEXT):
            yield output
    elif isinstance(output, str) and output.strip():
        yield output


def _evidence(item: JsonValue, step: str, question: str) -> Evidence | None:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict) or not (text := _string(item, _TEXT)):
        return None
    location = _string(item, _LOCATION)
    score = item.get("score")
    fields = {
        "id": _string(item, ("id",))
        or hashlib.sha256(f"{location}\n{text}".encode("utf-8", "replace")).hexdigest()[:16],
        "title": _string(item, _TITLE) or location or step,
        "location": location or step,
        "provider": _string(item, ("provider",)),
        "score": max(0.0, min(1.0, score)) if isinstance(score, int | float) else 0.0,
        "excerpt": _string(item, ("excerpt", "snippet")) or text[:400],
        "text": text,
        "heading": _string(item, ("heading", "section")),
        "question": _string(item, ("question",)) or question,
        "language": _string(item, ("language",)),
        "modified": _string(item, ("modified",)),
    }
    try:
        return Evidence.model_validate(fields)
    except ValidationError:
        return None


def _words(given: JsonValue) -> list[AskedWord]:
    try:
        return [AskedWord.model_validate(word) for word in given] if isinstance(given, list) else []
    except ValidationError:
        return []


def _string(mapping: Mapping[str, JsonValue], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = mapping.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and key == "id":
            return str(value)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def _decode(text: str) -> JsonValue:
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        decoded: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return decoded


def _is_empty_research(output: JsonValue) -> bool:
    return isinstance(output, dict) and any(output.get(key) == [] for key in _LISTS)
