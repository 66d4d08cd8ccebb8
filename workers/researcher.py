"""The researcher: evidence for one question, with its sources, from the provider that SEARCH_PROVIDER names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from shared.documents.settings import UploadSettings
from shared.errors import WorkerFault
from shared.report.model import Research
from shared.settings import ModelSettings, SearchSettings, SemanticSettings, load_settings
from shared.strict_json import json_pointer
from workers.providers import chosen, identity, sources
from workers.providers.found import Found
from workers.providers.provider import Provider, SearchRequest
from workers.providers.taped import Absent, Taped
from workers.semantic.passages import Reranked
from workers.semantic.reranker import reranker_of
from workers.thinking.asking import Thinking, model_of, model_recipe, played_model

if TYPE_CHECKING:
    from shared.models.model import LanguageModel

MAX_LIMIT = 50


@dataclass(frozen=True)
class ResearcherServices:
    """What the researcher works with: where it looks, and a model if there is one."""

    provider: Provider
    model: LanguageModel | None


def agent(
    state_dir: Path,
    settings: SearchSettings | None = None,
    model: ModelSettings | None = None,
    semantic: SemanticSettings | None = None,
    uploads: UploadSettings | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Agent:
    """The researcher, keeping its index in `state_dir`. `transport` replaces the network of a web provider's API."""
    chosen_settings, chosen_model = settings or SearchSettings(), model or ModelSettings()
    chosen_semantic = semantic or SemanticSettings()
    uploaded = (uploads or UploadSettings()).uploads_dir

    @asynccontextmanager
    async def opened() -> AsyncIterator[ResearcherServices]:
        async with (
            reranker_of(chosen_semantic) as reranker,
            chosen.provider(chosen_settings, state_dir, uploads=uploaded, transport=transport) as provider,
            model_of(chosen_model) as model,
        ):
            yield ResearcherServices(Taped(Reranked(provider, reranker) if reranker else provider), model)

    def metadata() -> dict[str, JsonValue]:
        if chosen_settings.search_provider != "local":
            return {}
        folder = identity.of(chosen_settings.knowledge_dir, uploaded)
        return {"folder": folder.model_dump()} if folder else {}

    recipe = {"provider": chosen_settings.search_provider, "model": model_recipe(chosen_model)}
    return _agent(opened, recipe | {"limit": chosen_settings.search_results}, metadata)


def rebuild(recipe: Mapping[str, Any], *, inner: httpx.AsyncBaseTransport) -> Agent:
    """The agent of a recipe, for a replay: the record answers for the documents, the web and the model."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[ResearcherServices]:
        yield ResearcherServices(Taped(Absent(recipe["provider"])), played_model(recipe["model"]))

    return _agent(opened, recipe, dict)


def _agent(
    opened: Callable[[], AbstractAsyncContextManager[ResearcherServices]],
    recipe: Mapping[str, Any],
    metadata: Callable[[], dict[str, JsonValue]],
) -> Agent:
    async def run(step: StepRequest, ctx: Context) -> Reply:
        ask, notes = parse_input(step, default_limit=recipe["limit"])
        desk: ResearcherServices = ctx.state
        thinking = Thinking(desk.model, ctx, "research")
        found = await _search(ask, desk.provider, thinking, ctx)
        research = Research(
            question=ask.question,
            provider=desk.provider.name,
            searched=found.searched,
            evidence=found.evidence,
            words=found.words,
            notes=[*notes, *found.notes],
        )
        return Reply(research.model_dump(), usage=thinking.usage, missing=[*found.missing, *thinking.missing])

    return Agent(
        name="researcher",
        description="Finds passages that answer a question, in your documents or on the web, with their sources.",
        capabilities=("research",),
        run=run,
        open=opened,
        routes=sources.routes,
        metadata=metadata,
        idempotent=True,
        recipe={"module": "workers.researcher", **recipe},
    )


async def _search(ask: SearchRequest, provider: Provider, thinking: Thinking, ctx: Context) -> Found:
    found = await provider.search(ask, ctx)
    if not thinking:
        return found
    from workers.thinking.research import more

    return await more(ask, found, provider, thinking, ctx)


class _Input(BaseModel):
    """A step's input as an object."""

    model_config = ConfigDict(extra="allow", strict=True)

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = None
    siblings: list[str] = Field(default_factory=list, max_length=200)
    index: Annotated[int, Field(ge=0)] | None = None
    documents: list[Annotated[str, StringConstraints(min_length=1)]] = Field(default_factory=list, max_length=1_000)
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None


def parse_input(step: StepRequest, *, default_limit: int) -> tuple[SearchRequest, list[str]]:
    """What a step asks for, and notes on what of its input was not understood.

    The input may be None (the task's description is the question), a string (the question) or an object.
    Raises WorkerFault "bad_input" with the name of the field that is wrong.
    """
    given: Any = {} if step.input is None else {"question": step.input} if isinstance(step.input, str) else step.input
    if not isinstance(given, dict):
        raise _bad("input", f"must be a string or an object, not {type(given).__name__}")
    try:
        wish = _Input.model_validate(given)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        raise _bad(f"input{json_pointer(error['loc'])}", error["msg"]) from exc
    index = wish.index
    if index is not None and index >= max(len(wish.siblings), 1):
        raise _bad("input/index", f"is {index}, but there are {len(wish.siblings)} siblings")
    question = wish.question or (wish.siblings[index] if wish.siblings and index is not None else "")
    question = (question or step.task_description).strip()
    if not question:
        raise _bad("input/question", "is empty, as is the task's description")
    if wish.siblings and index is None:
        if question not in wish.siblings:
            raise _bad("input/index", "is missing, and the question is not among the siblings")
        index = wish.siblings.index(question)
    for number, path in enumerate(wish.documents):
        if path.startswith("/") or ".." in path.split("/"):
            raise _bad(f"input/documents/{number}", f"{path!r} is not a path below KNOWLEDGE_DIR")
    unknown = sorted(wish.model_extra or ())
    notes = [f"The step's input has fields unknown to research: {', '.join(unknown)}."] if unknown else []
    limit = wish.limit or default_limit
    return SearchRequest(question, limit, tuple(wish.siblings), index or 0, tuple(wish.documents)), notes


def _bad(field: str, why: str) -> WorkerFault:
    return WorkerFault(f"{field}: {why}.", type="bad_input")


if __name__ == "__main__":
    from shared.worker.main import serve_worker

    serve_worker(
        lambda state_dir: agent(
            state_dir,
            load_settings(SearchSettings),
            load_settings(ModelSettings),
            load_settings(SemanticSettings),
            load_settings(UploadSettings),
        ),
        default_port=8001,
    )
