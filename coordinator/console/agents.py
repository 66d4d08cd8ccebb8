"""The pages of agents: how each is, what it works on, and what can be done to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from coordinator.access.caller import Caller
from coordinator.access.scopes import Scope
from coordinator.agents.instance import Instance
from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.gateway import relay
from coordinator.console.pages import View
from coordinator.console.showing import show
from coordinator.console.visitor import Reader, Visitor, check_token, read_form
from coordinator.journal.lookups.held import HeldStep, find_held
from coordinator.observers.gauges import measure_silence
from shared.contracts import AgentStatus
from shared.errors import Forbidden, NotFound, ScopeRefused

router = APIRouter(prefix="/console/agents", include_in_schema=False)
ON_A_PAGE = 100
CARD = ".well-known/agent-card.json"
WORST_FIRST = {AgentStatus.UNREACHABLE: 0, AgentStatus.PENDING: 1, AgentStatus.DRAINING: 2, AgentStatus.HEALTHY: 3}

Text = Annotated[str, Query(max_length=200)]


@router.get("")
async def list_agents(
    request: Request,
    services: OpenServices,
    visitor: Reader,
    q: Text = "",
    status: Literal["", "pending", "healthy", "unreachable", "draining"] = "",
    page: Annotated[int, Query(ge=1, le=1_000)] = 1,
) -> Response:
    """Every instance whose name, capability or id has the word, those in trouble first."""
    return await show(request, services, visitor, lambda: _view_list(services, q=q.lower(), status=status, page=page))


@router.get("/{agent_id}")
async def get_agent(request: Request, agent_id: str, services: OpenServices, visitor: Reader) -> Response:
    """One instance."""
    return await show(request, services, visitor, lambda: _view_agent(services, agent_id, visitor.caller))


@router.get("/{agent_id}/card")
async def get_card(request: Request, agent_id: str, services: OpenServices, visitor: Reader) -> Response:
    """The card that an agent of this name shows, through the gateway."""
    return await relay(_find(services, agent_id).name, CARD, request, services)


@router.post("/{agent_id}/remove")
async def remove_agent(request: Request, agent_id: str, services: OpenServices, visitor: Reader) -> Response:
    """Withdraws an instance; what it works on goes on."""
    check_token(await read_form(request), visitor.token)
    _need_one(visitor, agent_id, services)
    name = await services.agents.remove(agent_id, secret=None, caller=visitor.caller)
    services.audit.write("agent_deleted", visitor.caller, agent_id=agent_id, name=name)
    return RedirectResponse("/console/agents", 303)


@router.post("/{agent_id}/{change}")
async def drain_agent(
    request: Request, agent_id: str, change: Literal["drain", "resume"], services: OpenServices, visitor: Reader
) -> Response:
    """Gives an instance no more steps, or steps again."""
    check_token(await read_form(request), visitor.token)
    _need_one(visitor, agent_id, services)
    name = services.agents.drain(agent_id, visitor.caller, held=change == "drain")
    services.audit.write(
        "agent_drained" if change == "drain" else "agent_resumed", visitor.caller, agent_id=agent_id, name=name
    )
    return RedirectResponse(f"/console/agents/{agent_id}", 303)


def _need_one(visitor: Visitor, agent_id: str, services: Services) -> None:
    """Raises `ScopeRefused` for a key that the API would refuse, and `Forbidden` without one, where a key is needed."""
    if not visitor.scopes & {Scope.ADMIN, Scope.REGISTER}:
        raise ScopeRefused(f"This needs the scope admin; the key {visitor.name!r} does not have it.")
    if (
        not services.secured
        and services.agents.registry.get(agent_id)
        and not services.agents.may_withdraw(agent_id, visitor.caller)
    ):
        raise Forbidden("This agent has a secret. Set API_KEY, and log in with it, to remove or drain it here.")


async def _view_list(services: Services, *, q: str, status: str, page: int) -> View:
    known = services.agents.registry.list_all()
    found = [one for one in known if (not status or one.status == status) and _has(one, q)]
    found.sort(key=lambda one: (WORST_FIRST[one.status], one.name, one.id))
    held = await find_held(services.store)
    shown = found[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    asked = {name: value for name, value in (("q", q), ("status", status)) if value}
    values = {
        "agents": [_describe(one, services, held.get(one.id, [])) for one in shown],
        "known": len(known),
        "healthy": sum(one.status is AgentStatus.HEALTHY for one in known),
        "found": len(found),
        "q": q,
        "status": status,
        "statuses": [one.value for one in AgentStatus],
        "asked": asked,
        "before": f"?{urlencode(asked | {'page': page - 1})}" if page > 1 else "",
        "following": f"?{urlencode(asked | {'page': page + 1})}" if len(found) > page * ON_A_PAGE else "",
    }
    return View("agents.html", "Agents", "agents", values)


async def _view_agent(services: Services, agent_id: str, caller: Caller) -> View:
    instance = _find(services, agent_id)
    held = await find_held(services.store, agent_id)
    values = {
        "agent": _describe(instance, services, held.get(agent_id, [])),
        "registration": instance.registration,
        "held": instance.held,
        "now": services.wall(),
        "may_change": bool(caller.scopes & {Scope.ADMIN, Scope.REGISTER})
        and services.agents.may_withdraw(agent_id, caller),
        "secured": services.secured,
    }
    return View("agent.html", instance.name, "agents", values)


def _find(services: Services, agent_id: str) -> Instance:
    instance = services.agents.registry.get(agent_id)
    if instance is None:
        raise NotFound(f"There is no agent {agent_id!r}; it may have been removed or replaced.")
    return instance


def _has(one: Instance, q: str) -> bool:
    return not q or any(q in text.lower() for text in (one.name, one.id, *one.registration.capabilities))


def _describe(one: Instance, services: Services, held: list[HeldStep]) -> dict[str, Any]:
    """What a page shows of an instance."""
    known = one.registration
    return {
        "id": one.id,
        "name": one.name,
        "status": one.status.value,
        "capabilities": known.capabilities,
        "load": one.load,
        "most": known.max_concurrency,
        "latency": one.latency,
        "breaker": services.agents.get_breaker(one),
        "silent": measure_silence(one, services.now()),
        "last_error": one.last_error or "",
        "held": held,
    }
