"""KAOS's agent contract besides the chat: cards, memory and tools, as its users and tests ask for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from starlette.routing import Route

from shared.conversation import Skill
from shared.errors import Invalid
from shared.memory.store import Event, Memory
from shared.protocols.kaos import described
from shared.protocols.kaos.rpc import PATH, KaosRpc
from shared.protocols.mounting import Host

MOST = 1_000  # events or sessions of one answer
ALWAYS = ("message_processing", "task_execution")
OF_SKILLS = {"tool": "tool_execution", "delegation": "task_delegation"}  # a skill's tag, and what it lets an agent do
CHAT = "chat"  # the tag of a skill that is no more than to answer, which is none in KAOS's card
ANY_OBJECT: dict[str, Any] = {"type": "object"}

Limit = Annotated[int, Query(ge=0, description=f"Most events to return; 0 or more than {MOST} means {MOST}.")]
Cursor = Annotated[str | None, Query(pattern=r"^\d{1,18}$", description="`next_cursor` of the previous page.")]
Since = Annotated[str | None, Query(description="ISO 8601; UTC if there is no offset.")]


def mount(host: Host) -> None:
    """Adds the cards, the memory, the tools, and KAOS's JSON-RPC at `/`, in front of A2A's."""
    app, face, memory = host.app, host.face, host.memory or Memory(host.face.name, enabled=False)

    def make_card(request: Request) -> dict[str, Any]:
        return {
            "name": face.name,
            "description": face.description,
            "url": host.get_base(request),
            "skills": [_describe_skill(skill) for skill in face.skills() if CHAT not in skill.tags],
        }

    @app.get("/.well-known/agent", tags=["kaos"], responses={200: {"model": described.KaosCard}})
    async def get_card(request: Request) -> JSONResponse:
        """The agent card of KAOS, whose `capabilities` are a list."""
        tags = {tag for skill in face.skills() for tag in skill.tags}
        named = {OF_SKILLS[tag] for tag in tags & OF_SKILLS.keys()} | set(host.features)
        capabilities = [*ALWAYS, *(name for name in OF_SKILLS.values() if name in named)]
        return JSONResponse(make_card(request) | {"capabilities": capabilities})

    @app.get("/.well-known/agent.json", tags=["kaos"], responses={200: {"model": described.NewerKaosCard}})
    async def get_newer_card(request: Request) -> JSONResponse:
        """The agent card of newer KAOS, whose `capabilities` are an object."""
        capabilities = {"streaming": True, "pushNotifications": False, "stateTransitionHistory": True}
        more = {"protocolVersion": "0.3.0", "supportedProtocols": ["jsonrpc"], "version": face.version}
        return JSONResponse(make_card(request) | {"capabilities": capabilities} | more)

    @app.get("/tools", tags=["kaos"], responses={200: {"model": described.Tools}})
    async def get_tools() -> JSONResponse:
        """What the agent's model may call, as OpenAI describes functions."""
        callable_ = [skill for skill in face.skills() if OF_SKILLS.keys() & set(skill.tags)]
        tools = [{"type": "function", "function": _describe_function(skill)} for skill in callable_]
        return JSONResponse({"agent": face.name, "tools": tools, "total": len(tools)})

    @app.get("/memory/events", tags=["kaos"], responses={200: {"model": described.EventPage}})
    async def get_events(
        limit: Limit = 100,
        session_id: str | None = None,
        event_type: str | None = None,
        since: Since = None,
        cursor: Cursor = None,
    ) -> JSONResponse:
        """The newest events that fit, oldest first; `next_cursor` leads to those before them."""
        most = _bound(limit)
        found = await memory.read_events(
            session=session_id, type=event_type, since=_parse_time(since), before=_parse_cursor(cursor), limit=most + 1
        )
        shown = found[-most:]
        more = str(shown[0].number) if len(found) > most else None
        events = [_describe_event(event) for event in shown]
        return JSONResponse({"agent": face.name, "events": events, "total": len(events), "next_cursor": more})

    @app.get("/memory/sessions", tags=["kaos"], responses={200: {"model": described.SessionPage}})
    async def get_sessions(limit: Limit = MOST, since: Since = None, cursor: Cursor = None) -> JSONResponse:
        """The newest sessions in the order in which they began; `since` leaves out those not used since then."""
        most = _bound(limit)
        found = await memory.read_sessions(since=_parse_time(since), before=_parse_cursor(cursor), limit=most + 1)
        shown = found[-most:]
        more = str(shown[0][0]) if len(found) > most else None
        names = [session for _, session in shown]
        return JSONResponse({"agent": face.name, "sessions": names, "total": len(names), "next_cursor": more})

    app.router.routes.append(Route(PATH, KaosRpc(app), methods=["POST"], include_in_schema=False))


def _describe_skill(skill: Skill) -> dict[str, Any]:
    return {"name": skill.name, "description": skill.description, "inputSchema": skill.input_schema or ANY_OBJECT}


def _describe_function(skill: Skill) -> dict[str, Any]:
    return {"name": skill.name, "description": skill.description, "parameters": skill.input_schema or ANY_OBJECT}


def _describe_event(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "timestamp": event.timestamp,
        "event_type": event.type,
        "content": event.content,
        "metadata": {},
        "session_id": event.session,
    }


def _bound(limit: int) -> int:
    """As KAOS counts: 0 means all that one answer may hold."""
    return min(limit or MOST, MOST)


def _parse_cursor(cursor: str | None) -> int | None:
    return None if cursor is None else int(cursor)


def _parse_time(since: str | None) -> float | None:
    """Unix seconds of a time; raises `Invalid`. A `+` that came as a blank, as in unescaped URLs, is a `+`."""
    if since is None:
        return None
    try:
        time = datetime.fromisoformat(since.strip().replace(" ", "+") if "T" in since else since)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as exc:
        detail = f"{since[:100]!r} is not an ISO 8601 time such as 2026-01-31T12:00:00Z"
        raise Invalid(f"/query/since: {detail}", [{"pointer": "/query/since", "detail": detail}]) from exc
