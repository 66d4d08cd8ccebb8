"""The generic agent: a name, instructions, a model, agents to ask and tools, all from the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from shared.agent import Agent, Context, Reply
from shared.agent_loop.loop import Loop
from shared.agent_loop.mcp_tools import AgentTools, McpTools
from shared.agent_loop.peers import CoordinatorPeers, DirectPeers
from shared.agent_loop.prompt import delegating
from shared.agent_loop.taped_tools import NoTools, TapedTools
from shared.agent_loop.tool_mode import Mode, ToolMode
from shared.contracts import StepRequest
from shared.conversation import UNANSWERED, Ask, Message, Role, Skill, spoken
from shared.errors import MusterError
from shared.memory.store import Memory, MemoryLimits
from shared.models.model import LanguageModel, models_from
from shared.models.remade import describe, remake
from shared.models.servers.fence import fence
from shared.models.servers.turns import ToolSpec
from shared.protocols.kaos.routes import CHAT
from shared.recording.tape import TAPE, exchange
from shared.settings import ModelSettings, load_settings
from shared.worker.main import serve_worker
from workers.generic.settings import GenericSettings

_KEPT = (
    "agent_name",
    "agent_description",
    "agent_instructions",
    "agent_capabilities",
    "agentic_loop_max_steps",
    "memory_context_limit",
    "memory_context_tokens",
)  # settings that a replay needs
MAX_UPSTREAM = 50_000  # characters of what one step before gave, in the prompt


def agent(
    settings: GenericSettings,
    model: LanguageModel,
    memory: Memory,
    *,
    tool_call_mode: Mode = "auto",
    inner: httpx.AsyncBaseTransport | None = None,
    tools: AgentTools | None = None,
) -> Agent:
    """The agent that `settings` describe, thinking with `model`; its `open` also opens `memory`.

    Its `/ready` waits for the first lists of tools and cards, 3 s at the most. With a coordinator it asks others
    through that, else at their own addresses. `inner` replaces the network,
    and `tools` those of the settings.
    """
    peers = _peers(settings, inner)
    servers = McpTools(settings.tool_servers())
    if tools is None and settings.tool_servers():
        tools = servers
    mode = ToolMode(tool_call_mode)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Loop]:
        async with AsyncExitStack() as stack:
            await memory.open()
            await stack.enter_async_context(model)
            await stack.enter_async_context(peers)
            if settings.tool_servers():
                await stack.enter_async_context(servers)
            if tools is not None or peers.names():
                mode.begin(model)
                stack.push_async_callback(mode.close)
            yield Loop(
                name=settings.name,
                instructions=settings.agent_instructions,
                models=model,
                peers=peers,
                tools=None if tools is None else TapedTools(tools),
                max_steps=settings.agentic_loop_max_steps,
                record=record,
                context_messages=settings.memory_context_limit,
                tool_mode=mode,
            )

    async def record(type: str, content: JsonValue, session: str | None) -> None:
        await memory.record(session or memory.make_session_id(), type, content)

    async def answer(ask: Ask, ctx: Context) -> Reply:
        loop: Loop = ctx.state
        brought = any(message.role == "assistant" for message in ask.messages)
        tokens = 0 if brought or ask.session is None else settings.memory_context_tokens

        async def remember() -> list[dict[str, Any]]:
            return [asdict(said) for said in await memory.read_history(ask.session or "", max_tokens=tokens)]

        if TAPE.get() is None:
            return await loop.run(ask, ctx, await memory.read_history(ask.session or "", max_tokens=tokens))
        history = await exchange("history", lambda: {"session": ask.session, "tokens": tokens}, remember)
        return await loop.run(ask, ctx, TypeAdapter(list[Message]).validate_python(history))

    async def run(step: StepRequest, ctx: Context) -> Reply:
        if ctx.ask is not None:  # a chat, which is remembered where it came in
            return await answer(ctx.ask, ctx)
        ask, key = _conversation_of(step), f"{step.task_id}/{step.step_id}"
        session = ask.session or memory.make_session_id()
        await memory.record(session, "task_delegation_received", ask.text, key=f"{key}/task")
        try:
            reply = await answer(ask, ctx)
        except MusterError as exc:
            await memory.record(session, "error", f"Error processing message: {exc.detail}", durable=True)
            raise
        if all(missing.what != UNANSWERED for missing in reply.missing):
            await memory.record(session, "agent_response", reply.output, key=f"{key}/answer", durable=True)
        return reply

    def skills() -> Sequence[Skill]:
        known = peers.described()
        asks = [delegating(name, known.get(name, "")) for name in peers.names()]
        return [
            *(Skill(c, c, settings.agent_description, (c,)) for c in settings.capabilities or (CHAT,)),
            *(_skill(spec, "tool") for spec in servers.known),
            *(_skill(spec, "delegation") for spec in asks),
        ]

    def waits() -> str | None:
        waiting = [("tools", servers.settled), ("cards", peers.settled)]
        return " and ".join(what for what, settled in waiting if not settled) or None

    features = [("tool_execution", tools), ("task_delegation", peers.names())]
    return Agent(
        name=settings.name,
        description=settings.agent_description,
        capabilities=settings.capabilities,
        run=run,
        open=opened,
        skills=skills,
        features=tuple(feature for feature, has in features if has),
        memory=memory,
        waits=waits,
        recipe={
            "module": "workers.agent",
            "settings": {name: getattr(settings, name) for name in _KEPT},
            "peers": list(peers.names()),
            "model": describe(model),
            "tools": tools is not None,
            "mode": tool_call_mode,
        },
    )


def rebuild(recipe: Mapping[str, Any], *, inner: httpx.AsyncBaseTransport) -> Agent:
    """The agent of a recipe, for a replay: the record answers for its model, its tools and its memory."""
    settings = GenericSettings(
        _env_file=None,
        coordinator_url="http://coordinator",
        peer_agents=",".join(recipe["peers"]),
        agent_sub_agents="",
        mcp_servers="",
        **recipe["settings"],
    )
    memory = Memory(settings.name, None, limits=MemoryLimits.from_settings(settings), enabled=False)
    tools = NoTools() if recipe["tools"] else None
    return agent(settings, remake(recipe["model"]), memory, tool_call_mode=recipe["mode"], inner=inner, tools=tools)


def _peers(settings: GenericSettings, inner: httpx.AsyncBaseTransport | None) -> CoordinatorPeers | DirectPeers:
    urls = settings.peers()
    if settings.coordinator_url is None:
        return DirectPeers({name: url for name, url in urls.items() if url}, inner=inner)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return CoordinatorPeers(tuple(urls), url=settings.coordinator_url, api_key=key, inner=inner)


def _skill(spec: ToolSpec, tag: str) -> Skill:
    return Skill(spec.name, spec.name, spec.description, (tag,), spec.schema)


def _conversation_of(step: StepRequest) -> Ask:
    """A step as a conversation: what was said before, the task, and what the steps before it gave, as data."""
    context = step.context if isinstance(step.context, dict) else {}
    session = context.get("session")
    given = step.input if isinstance(step.input, str) else None
    parts, quoted = [given or step.task_description], list[str]()
    if given is None and step.input is not None:
        quoted.append(to_json(step.input, indent=2).decode())
        parts.append(fence(quoted[-1]))
    for name, output in step.upstream.items():
        quoted.append(spoken(output)[:MAX_UPSTREAM])
        parts.append(f"What step {name!r} gave:\n{fence(quoted[-1])}")
    return Ask(
        messages=(*_earlier(context.get("messages")), Message("task-delegation", "\n\n".join(p for p in parts if p))),
        options=options if isinstance(options := context.get("options"), dict) else {},
        session=session if session and isinstance(session, str) else f"session_{step.task_id[:12]}_{step.step_id}",
        quoted=tuple(quoted),
    )


def _earlier(messages: JsonValue) -> list[Message]:
    """The earlier turns of a chat or a delegation that is handed on; a foreign task has none."""
    roles: dict[str, Role] = {role: role for role in ("system", "user", "assistant")}
    roles["task-delegation"] = "user"
    found = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    said = [(roles.get(str(m.get("role"))), m.get("content")) for m in found]
    return [Message(role, content) for role, content in said if role is not None and isinstance(content, str)]


def main() -> None:
    """Runs one agent as a process; exits with code 2 and one sentence where a setting is wrong or missing."""
    settings = load_settings(GenericSettings)
    thinking = load_settings(ModelSettings)

    def make_agent(folder: Path) -> Agent:
        model = models_from(thinking)
        if model is None:
            raise MusterError("MODEL_API_URL must be set: the model's address (or DEBUG_MOCK_RESPONSES).")
        memory = Memory(
            settings.name, folder, limits=MemoryLimits.from_settings(settings), enabled=settings.memory_enabled
        )
        return agent(settings, model, memory, tool_call_mode=thinking.tool_call_mode)

    serve_worker(make_agent, default_port=settings.agent_port, settings=settings, name=settings.name)


if __name__ == "__main__":
    main()
