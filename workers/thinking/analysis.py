"""What a model holds to answer a question, in one call: sentences that it points at, and what they say in its words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared import rendering
from shared.agent import Context
from shared.errors import ContextTooSmall
from workers.answering.analysis import Reading
from workers.answering.answer import Answer
from workers.answering.choices import Choice, with_choices
from workers.language.languages import language_of
from workers.language.words import STEMMERS
from workers.thinking import statements
from workers.thinking.asking import MAX_CHARACTERS, Thinking
from workers.thinking.numbered import EACH, TITLE, Numbered, NumberedUnit

MAX_FINDINGS = 4
MAX_FROM = 3
MAX_STATEMENT = 240  # characters that are asked for
MAX_SPAN = 5  # units that are quoted together
LEAST = 2 * EACH.start + 2 * TITLE  # characters of passages: two, so that there is a choice
REPLY_TOKENS = 320  # four findings; fewer are mostly enough, and what is not written can be read
INSTRUCTIONS = """You find in passages what answers a question. Use nothing but the passages.
Every sentence has a number in brackets. Give the findings, the most important first, at most four:
- from: the numbers of the one to three sentences that answer;
- statement: what they answer, in one sentence, in their own words and numbers, in the language of the question.
If no sentence answers, give an empty list of findings."""
_OTHERS = {"zh": "Chinese", "ja": "Japanese", "ko": "Korean", "he": "Hebrew", "th": "Thai", "uk": "Ukrainian"}
_FROM = ("from", "evidence", "quotes", "citations", "ids", "sources")
_STATEMENT = ("statement", "finding", "text", "answer", "summary")
_FINDINGS = ("findings", "summary", "statements", "answers")

HearAnswers = Callable[[list[Answer]], Awaitable[None]]


class SaidFinding(BaseModel):
    """One finding, under whatever names a model gives its fields; a bare text is a statement."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    names: list[str] = Field(default_factory=list, alias="from")
    statement: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"statement": given}
        if not isinstance(given, dict):
            return given
        names = [name for key in _FROM for name in _as_list(given.get(key))]
        said = next((given[key] for key in _STATEMENT if isinstance(given.get(key), str)), "")
        return {"from": names, "statement": said}


class AllSaid(BaseModel):
    """Everything that a model has found."""

    model_config = ConfigDict(extra="ignore")

    findings: list[SaidFinding]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        found = next((given[key] for key in _FINDINGS if isinstance(given.get(key), list)), None)
        return given if found is None else {"findings": found}


def shape(names: Sequence[str]) -> type[AllSaid]:
    """What a model is asked for: it may point at these numbers alone. What it says otherwise is read all the same."""
    pointed = {"type": "array", "items": {"type": "string", "enum": list(names)}, "maxItems": MAX_FROM}
    statement = {"type": "string", "maxLength": MAX_STATEMENT}
    finding = {"type": "object", "properties": {"from": pointed, "statement": statement}}
    findings = {"type": "array", "items": finding, "maxItems": MAX_FINDINGS}

    class Findings(AllSaid):
        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return {"type": "object", "properties": {"findings": findings}}

    return Findings


async def thought(
    reading: Reading, thinking: Thinking, ctx: Context, hear: HearAnswers
) -> tuple[list[Answer] | None, list[str]]:
    """The answers with what the model chose, and notes on it; None where it chose nothing that holds.

    `hear` gets them as they come: each time another finding is whole.
    """
    from shared.models.servers.fence import DATA_RULE, fence

    questions = [one.asked.text for one in reading.answers]
    question = _question(reading.task or " ".join(questions), questions)
    instructions = f"{INSTRUCTIONS}\n{DATA_RULE}"
    most = MAX_CHARACTERS
    for again in (False, True):
        sent: list[Numbered] = []

        async def fit(room: int, most: int = most, sent: list[Numbered] = sent) -> tuple[str, type[AllSaid]] | None:
            numbered = Numbered(reading, min(most, room - len(question)))
            if not numbered.passages:
                return None
            sent.append(numbered)
            await ctx.progress(_progress(thinking, numbered, len(instructions + question)))
            return f"The passages:\n{fence(numbered.text)}\n\n{question}", shape(list(numbered.places))

        async def heard(said: AllSaid, sent: list[Numbered] = sent) -> None:
            if choices := select_choices(said, sent[0], questions):
                await hear(with_choices(reading.answers, choices, thinking.name))

        try:
            said = await thinking.asked(
                instructions=instructions,
                shape=AllSaid,
                fit=fit,
                least=len(question) + len(Numbered(reading, LEAST).text),
                reply_tokens=REPLY_TOKENS,
                so_far=heard,
            )
            break
        except ContextTooSmall as failure:
            most = len(sent[0].text) // 2 if sent else 0
            if again or not most:
                thinking.failed(failure.detail)
                return None, []
    return (None, []) if said is None else _answers(said, reading, sent[0], questions, thinking)


def _answers(
    said: AllSaid, reading: Reading, numbered: Numbered, questions: Sequence[str], thinking: Thinking
) -> tuple[list[Answer] | None, list[str]]:
    """What holds of all that was said, and what a reader should know about it."""
    choices = select_choices(said, numbered, questions)
    of = f"{len(numbered.passages)} of {len(reading.passages)} passages"
    if not choices:
        if said.findings and not thinking.missing:
            thinking.failed("None of its findings is supported by the passages.")
        return None, [] if said.findings else [f"{thinking.name} read {of} and found no answer in them."]
    return with_choices(reading.answers, choices, thinking.name), [f"{thinking.name} read {of}."]


def select_choices(said: AllSaid, numbered: Numbered, questions: Sequence[str]) -> list[Choice]:
    """What holds of a model's findings, in its order, none twice.

    A statement whose words are not in the sentences it names is not shown, but they are. Where it stands in other
    sentences, those are meant: a true quotation under a wrong number.
    """
    choices: list[Choice] = []
    known: set[str] = set()
    for one in said.findings[: 2 * MAX_FINDINGS]:
        statement = rendering.clean(one.statement)
        places = [p for p in _meant(one, statement, numbered) if not statements.echoes(p.text, questions)]
        words = statements.words_of(statement) if statements.speaks(statement) else ""
        if not places or (words and words in known):
            continue
        known.add(words)
        holds = bool(words) and statements.holds(statement, places) and not statements.echoes(statement, questions)
        for choice in _choices(places, statement if holds else ""):
            if not any(_same(choice, other) for other in choices) and len(choices) < MAX_FINDINGS:
                choices.append(choice)
    return choices


def _meant(one: SaidFinding, statement: str, numbered: Numbered) -> list[NumberedUnit]:
    """The sentences that a finding rests on."""
    named = numbered.found(one.names)[:MAX_FROM]
    if named and (not statement or statements.holds(statement, named)):
        return named
    if quoted := numbered.quoted(statement):
        return [quoted]
    return named or [p for p in numbered.within(one.names) if statements.holds(statement, [p])][:1]


def _choices(places: Sequence[NumberedUnit], statement: str) -> Iterator[Choice]:
    """A choice for each passage; the statement is shown with the first, unless the quotation says the same."""
    passages = list({place.passage.evidence.id: place.passage for place in places}.values())
    for number, passage in enumerate(passages):
        at = sorted(place.at for place in places if place.passage is passage)
        last = max(one for one in at if one - at[0] < MAX_SPAN)
        quotation = " ".join(passage.units[one].text for one in range(at[0], last + 1))
        said = "" if number or statements.repeats(statement, quotation, passage.language) else statement
        yield Choice(passage, at[0], last, said, tuple(passages[1:]) if said else ())


def _same(one: Choice, other: Choice) -> bool:
    return one.passage is other.passage and one.first <= other.last and other.first <= one.last


def _question(task: str, parts: Sequence[str]) -> str:
    """The end of the prompt: the question, in its parts where it has several, and the language of the answer."""
    from shared.models.servers.fence import fence

    several = "".join(f"\n- {rendering.clean(part)}" for part in parts) if len(parts) > 1 else ""
    code = language_of(task)
    language = _OTHERS.get(code) or STEMMERS.get(code, "").title()
    told = f"\nWrite the statements in {language}." if language else ""
    return f"The question:\n{fence(rendering.clean(task) + several)}{told}"


def _progress(thinking: Thinking, numbered: Numbered, beside: int) -> str:
    seconds = thinking.seconds(len(numbered.text) + beside, REPLY_TOKENS // 4)
    about = f", about {max(1, round(seconds))} s" if seconds else ""
    count = len(numbered.passages)
    return f"{thinking.name} reads {count} passage{'' if count == 1 else 's'}{about}"


def _as_list(given: Any) -> list[str]:
    found = given if isinstance(given, list) else [] if given is None else [given]
    return [str(one) for one in found if isinstance(one, str | int)]
