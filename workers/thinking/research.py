"""Research with a model: which questions to search for, and which of the passages found matter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from shared.contracts import Missing
from shared.definition import Context
from shared.errors import ContextTooSmall, MusterError
from shared.report import Evidence
from workers.providers.found import Found
from workers.providers.provider import Ask, Provider
from workers.thinking.asking import MADE_WITH, Thinking
from workers.thinking.checks import FromModel, Labelled, Text, line

MAX_QUESTIONS = 4
MAX_QUESTION = 300  # characters
QUESTIONS_SHARE = 0.5  # of the model's time: the rest is for choosing
QUESTIONS_TOKENS = 400
CHOICE_TOKENS = 600
PROPOSE = f"""You prepare a search in a collection of documents. Give up to {MAX_QUESTIONS} short search questions that
together find what is needed to answer the question: other words for the same matter, and the parts it consists of. No
question about anything else, and none twice."""
CHOOSE = """You choose the evidence for an answer. Give as relevant the labels of the passages that help to answer the
question, such as ["p1", "p4"], also those that contradict each other. Leave out what is about something else."""


class Questions(FromModel):
    """What to search for."""

    questions: Annotated[list[Text], Field(max_length=200)]


class Choice(FromModel):
    """The labels of the passages that matter."""

    relevant: Annotated[list[Text], Field(max_length=2_000)]


async def searched(ask: Ask, provider: Provider, thinking: Thinking, ctx: Context) -> Found:
    """What the provider finds for the question and for the model's questions, of which the model chooses.

    The search for the question itself goes on while the model thinks. Raises WorkerFault where that search failed; a
    search for one of the model's questions that fails is in `missing`.
    """
    own = asyncio.create_task(provider.search(ask, ctx))
    try:
        more = await questions(ask.question, thinking)
        searches = [provider.search(replace(ask, question=one, siblings=(), index=0), ctx) for one in more]
        others = await asyncio.gather(*searches, return_exceptions=True)
        first = await own
    finally:
        own.cancel()
        await asyncio.wait({own})
    lost = [
        Missing(what=f"search for {one!r}", why=other.detail)
        for one, other in zip(more, others, strict=True)
        if isinstance(other, MusterError)
    ]
    for other in others:
        if isinstance(other, BaseException) and not isinstance(other, MusterError):
            raise other
    found = [other for other in others if isinstance(other, Found)]
    merged = _merged(ask.question, [first, *found])
    evidence = await chosen(ask.question, merged, thinking) if merged else []
    notes = [f"{MADE_WITH}{thinking.name}, which also asked: {' · '.join(more)}"] if more else []
    return Found(
        evidence=evidence[: ask.limit],
        searched=first.searched,
        words=first.words,
        notes=[*notes, *dict.fromkeys(note for one in [first, *found] for note in one.notes)],
        missing=[*first.missing, *(m for one in found for m in one.missing if m not in first.missing), *lost],
    )


async def questions(asked: str, thinking: Thinking) -> list[str]:
    """At most four more questions to search for; none without a model."""
    from shared.models.fence import DATA_RULE, fenced

    try:
        said = await thinking.asked(
            instructions=f"{PROPOSE}\n{DATA_RULE}",
            data=f"The question:\n{fenced(line(asked))}",
            shape=Questions,
            reply_tokens=QUESTIONS_TOKENS,
            share=QUESTIONS_SHARE,
        )
    except ContextTooSmall as failure:  # of a question and a few lines: nothing can be left out
        thinking.failed(failure.detail)
        return []
    proposed = {line(one).casefold(): line(one) for one in (said.questions if said else [])}
    proposed.pop(line(asked).casefold(), None)
    return [one for one in proposed.values() if 2 < len(one) <= MAX_QUESTION][:MAX_QUESTIONS]


async def chosen(asked: str, passages: Sequence[Evidence], thinking: Thinking) -> list[Evidence]:
    """The passages that the model holds to matter, in the order they came; all of them where it names none.

    Passages that it had no room to read stay, too.
    """
    from shared.models.fence import DATA_RULE, fenced

    instructions = f"{CHOOSE}\n{DATA_RULE}"
    room = thinking.room(instructions=instructions, shape=Choice, reply_tokens=CHOICE_TOKENS) - len(asked) - 200
    labelled = Labelled(passages, room)
    if not thinking or not labelled.passages:
        return list(passages)
    try:
        said = await thinking.asked(
            instructions=instructions,
            data=f"The question:\n{fenced(line(asked))}\n\nThe passages:\n{fenced(labelled.text)}",
            shape=Choice,
            reply_tokens=CHOICE_TOKENS,
        )
    except ContextTooSmall:
        return await chosen(asked, passages, thinking)
    if said is None:
        return list(passages)
    kept = {item.id for item in labelled.known(said.relevant)}
    if not kept:
        thinking.failed("It chose none of the passages, so all were kept.")
        return list(passages)
    read = {item.id for item in labelled.passages}
    return [item for item in passages if item.id in kept or item.id not in read]


def _merged(asked: str, found: Sequence[Found]) -> list[Evidence]:
    """The passages of all searches, each once with its best score, the best first, as found for the step's question."""
    best: dict[str, Evidence] = {}
    for item in (item for one in found for item in one.evidence):
        if item.id not in best or best[item.id].score < item.score:
            best[item.id] = item.model_copy(update={"question": asked})
    return sorted(best.values(), key=lambda e: -e.score)
