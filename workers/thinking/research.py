"""Research with a model: other questions to search for, where the words of the question have found little."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field

from shared import rendering
from shared.agent import Context
from shared.contracts import Missing
from shared.errors import ContextTooSmall, MusterError
from shared.report.model import Evidence
from workers.answering.analysis import analyse
from workers.answering.intake import Intake
from workers.providers.found import Found
from workers.providers.provider import Provider, SearchRequest
from workers.thinking.asking import Thinking

MAX_QUESTIONS = 3
MAX_QUESTION = 300  # characters
REPLY_TOKENS = 150
INSTRUCTIONS = f"""A search in a collection of documents has found little that answers a question. Give up to
{MAX_QUESTIONS} short search questions that ask the same in other words, such as the documents may use, in the language
of the question."""


class Questions(BaseModel):
    """What to search for."""

    model_config = ConfigDict(extra="ignore")

    questions: list[str] = Field(json_schema_extra={"maxItems": MAX_QUESTIONS})


async def more(ask: SearchRequest, first: Found, provider: Provider, thinking: Thinking, ctx: Context) -> Found:
    """What was found, and behind it what is found for the model's questions, within the same limit of passages.

    Where the first search has found an answer, by its words, the model is not asked. Nothing of the first search is
    dropped. A search for one of the model's questions that fails is in `missing`.
    """
    if await asyncio.to_thread(_answers, ask, first):
        return first
    await ctx.progress(f"{thinking.name} looks for other words")
    proposed = await questions(ask.question, thinking)
    searches = [provider.search(replace(ask, question=one, siblings=(), index=0), ctx) for one in proposed]
    others = await asyncio.gather(*searches, return_exceptions=True)
    lost: list[Missing] = []
    for one, other in zip(proposed, others, strict=True):
        if isinstance(other, MusterError):
            lost.append(Missing(what=f"search for {one!r}", why=other.detail))
        elif isinstance(other, BaseException):
            raise other
    found = [other for other in others if isinstance(other, Found)]
    added = _select_new(ask, first, found)
    asked = f"{thinking.name} also asked: {' · '.join(proposed)}"
    return replace(
        first,
        evidence=[*first.evidence, *added],
        notes=[*first.notes, *([asked] if added else [])],
        missing=[*first.missing, *(m for one in found for m in one.missing if m not in first.missing), *lost],
    )


async def questions(asked: str, thinking: Thinking) -> list[str]:
    """At most three more questions to search for; none without a model."""
    from shared.models.servers.fence import DATA_RULE, fence

    instructions = f"{INSTRUCTIONS}\n{DATA_RULE}"
    data = f"The question:\n{fence(rendering.clean(asked))}"

    async def fit(room: int) -> tuple[str, type[Questions]] | None:
        return (data, Questions) if len(data) <= room else None

    try:
        said = await thinking.asked(
            instructions=instructions, shape=Questions, fit=fit, least=len(data), reply_tokens=REPLY_TOKENS
        )
    except ContextTooSmall as failure:
        thinking.failed(failure.detail)
        return []
    proposed = {rendering.clean(one).casefold(): rendering.clean(one) for one in (said.questions if said else [])}
    proposed.pop(rendering.clean(asked).casefold(), None)
    return [one for one in proposed.values() if 2 < len(one) <= MAX_QUESTION][:MAX_QUESTIONS]


def _answers(ask: SearchRequest, found: Found) -> bool:
    """Whether the analysis will find an answer in this by the words of the question."""
    intake = Intake(words={ask.question: list(found.words)})
    for item in found.evidence:
        intake.add(item)
    return bool(found.evidence) and bool(analyse(ask.question, intake).answered)


def _select_new(ask: SearchRequest, first: Found, others: Sequence[Found]) -> list[Evidence]:
    """The best new passages: as many as the limit has room for, at least one of each search; they rank behind."""
    known = {item.id for item in first.evidence}
    lowest = min((item.score for item in first.evidence), default=1.0)
    queues = [[item for item in one.evidence if item.id not in known] for one in others]
    room = max(len(queues), ask.limit - len(first.evidence))
    added: dict[str, Evidence] = {}
    for rank in range(max(map(len, queues), default=0)):
        for queue in queues:
            if rank < len(queue) and len(added) < room:
                score = round(min(lowest, queue[rank].score), 4)
                added.setdefault(
                    queue[rank].id, queue[rank].model_copy(update={"question": ask.question, "score": score})
                )
    return list(added.values())
