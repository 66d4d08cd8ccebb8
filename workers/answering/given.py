"""A text handed over by itself, in a chat for example: the question in it, and the documents to answer from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

from shared.contracts import Missing, StepRequest
from shared.conversation import Ask

PASSAGE_CHARACTERS = 4_000  # a text is cut into passages of this size, at blank lines where there are any
MAX_QUESTION = 400
YOURS = "your text"
NOTHING = Missing(what="a text", why="There was only a question. Send the text to answer it from, too.")

_LEADING = re.compile(rf"^([^\n]{{3,{MAX_QUESTION}}}?[?:])\s+(\S.*)$", re.DOTALL)
_TRAILING = re.compile(rf"(.*(?:[.!:]|\n))[^\S\n]*([^.!?\n]{{3,{MAX_QUESTION}}}\?)$", re.DOTALL)


@dataclass(frozen=True)
class Given:
    """What was handed over: a question ("" when none was asked), and the documents as a step's upstream."""

    question: str
    documents: dict[str, JsonValue] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()


def collect_input(step: StepRequest, ask: Ask | None = None) -> Given:
    """The question and documents of a step: what steps before it delivered, else the text that it was given itself.

    A text that is also the task's description, as in a chat, holds both; earlier turns of a chat are documents.
    """
    question = step.task_description.strip()
    if step.upstream:
        return Given(question, step.upstream)
    earlier = dict(_earlier(step, ask))
    if isinstance(step.input, dict):
        asked, text = step.input.get("question"), step.input.get("text")
        question = asked.strip() if isinstance(asked, str) and asked.strip() else question
        if isinstance(text, str):
            return Given(question, earlier | _document(YOURS, text))
        return Given(question, earlier | ({YOURS: step.input} if set(step.input) - {"format", "question"} else {}))
    if isinstance(step.input, list) and step.input:
        return Given(question, earlier | {YOURS: step.input})
    text = step.input.strip() if isinstance(step.input, str) else ""
    if not text:
        return Given(question, earlier)
    if text != question:
        return Given(question, earlier | _document(YOURS, text))
    if earlier and len(text) <= MAX_QUESTION and "\n" not in text:
        return Given(text, earlier)
    question, text = _apart(text)
    return Given(question, earlier | _document(YOURS, text)) if text else Given(question, earlier, (NOTHING,))


def _apart(text: str) -> tuple[str, str]:
    """The question and the text of a message that holds both, the question first or last; one of them may be empty."""
    if text[:1] in ("{", "["):
        return "", text
    if found := _LEADING.match(text):
        return found[1].strip(), found[2].strip()
    if found := _TRAILING.match(text, max(0, len(text) - 2 * MAX_QUESTION)):  # in 20 kB of line breaks it took 18 s
        return found[2].strip(), text[: found.end(1)].strip()
    if text.endswith("?") and len(text) <= MAX_QUESTION:
        return text, ""
    return "", text


def _earlier(step: StepRequest, ask: Ask | None) -> Iterator[tuple[str, JsonValue]]:
    """The turns before the question, each as a document."""
    turns: list[tuple[str, str]] = []
    if ask is not None:
        turns = [(m.role, m.content) for m in ask.earlier]
    elif isinstance(step.context, dict) and isinstance(messages := step.context.get("messages"), list):
        for message in messages:
            if isinstance(message, dict):
                role, content = message.get("role"), message.get("content")
                turns += [(role, content)] if isinstance(role, str) and isinstance(content, str) else []
    for number, (role, content) in enumerate(turns, 1):
        if role in ("user", "assistant") and content.strip():
            yield from _document(f"message {number}", content).items()


def _document(name: str, text: str) -> dict[str, JsonValue]:
    """A text as a step's output: JSON as it is, prose as passages of one document."""
    if text.lstrip()[:1] in ("{", "["):
        return {name: text}
    passages: list[JsonValue] = [
        {"title": name, "location": name if number == 1 else f"{name}#{number}", "text": passage}
        for number, passage in enumerate(_passages(text), 1)
    ]
    return {name: {"evidence": passages}}


def _passages(text: str) -> Iterator[str]:
    passage = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for start in range(0, len(paragraph), PASSAGE_CHARACTERS):
            piece = paragraph[start : start + PASSAGE_CHARACTERS]
            if passage and len(passage) + len(piece) > PASSAGE_CHARACTERS:
                yield passage
                passage = ""
            passage = f"{passage}\n\n{piece}" if passage else piece
    if passage.strip():
        yield passage
