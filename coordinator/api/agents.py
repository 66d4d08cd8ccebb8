"""The coordinator's routes for agents: they register, are listed, and are withdrawn."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from coordinator.access.guard import caller_of
from coordinator.agent_calls.reaching import try_addresses
from coordinator.agents.instance import Instance
from coordinator.agents.registry import LEASE_SECONDS
from coordinator.api import pagination
from coordinator.api.answers import AgentInstances, AgentPage, ReachedAgent, RemovedAgent
from coordinator.api.dependencies import OpenServices, Services
from shared.contracts import SECRET, AgentStatus, AgentView, Name, Registered, Registration
from shared.errors import Forbidden, MusterError, NotFound
from shared.limits.envelope import derive_key
from shared.server import bodies

router = APIRouter()


class Sought(BaseModel):
    """Body of `POST /reach_agent`."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    port: Annotated[int, Field(ge=1, le=65_535, strict=True)]


class AgentChange(BaseModel):
    """Body of `PATCH /agents/{agent_id}`."""

    model_config = ConfigDict(extra="forbid")

    draining: StrictBool


SHOWN = 500  # characters of a reason, in the audit


@router.post(
    "/register_agent",
    tags=["agents"],
    openapi_extra=bodies.describe(
        Registration,
        example={"name": "translator", "endpoint": "http://localhost:9999", "capabilities": ["translate"]},
    ),
    response_model=Registered,
    responses={201: {"model": Registered}},
)
async def register_agent(request: Request, services: OpenServices) -> Response:
    """Adds an agent (201), or takes its heartbeat (200)."""
    caller = caller_of(request.scope)
    name = None
    try:
        claim = services.registrations.parse(await bodies.read(request))
        name = claim.registration.name
        instance, new = await services.agents.register(claim, caller)
    except MusterError as error:
        services.audit.write("registration_refused", caller, name=name, status=error.status, why=error.detail[:SHOWN])
        raise
    registered = Registered(
        agent_id=instance.id,
        name=instance.name,
        status=instance.status,
        lease_seconds=LEASE_SECONDS,
        key=derive_key(services.secret, instance.id).hex(),
    )
    return Response(registered.model_dump_json(), 201 if new else 200, media_type="application/json")


@router.post(
    "/reach_agent",
    tags=["agents"],
    openapi_extra=bodies.describe(Sought, example={"name": "translator", "port": 9999}),
    response_model=None,
    responses={200: {"model": ReachedAgent}},
)
async def reach_agent(request: Request, services: OpenServices) -> dict[str, Any]:
    """Finds the address at which the coordinator reaches an agent that listens on a port of the caller's machine."""
    wanted = bodies.parse(Sought, await bodies.read(request))
    caller = request.client.host if request.client else None
    tried = await try_addresses(services.http, caller, name=wanted.name, port=wanted.port)
    return {"endpoint": next((one.endpoint for one in tried if one.why is None), None), "tried": tried}


@router.get("/agents", tags=["agents"], response_model=None, responses={200: {"model": AgentPage}})
async def list_agents(
    services: OpenServices,
    capability: str | None = None,
    status: AgentStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Every instance of every agent."""
    found = [
        i
        for i in services.agents.registry.list_all()
        if (capability is None or capability in i.registration.capabilities) and (status is None or i.status is status)
    ]
    if cursor is not None:
        last = tuple(pagination.decode_cursor(cursor, 2))
        found = [i for i in found if (i.name, i.id) > last]
    page = found[:limit]
    following = pagination.cursor(page[-1].name, page[-1].id) if len(found) > limit else None
    return {"agents": [_agent(i, services) for i in page], "next_cursor": following}


@router.get("/agents/{name}", tags=["agents"], response_model=None, responses={200: {"model": AgentInstances}})
async def get_agent(name: str, services: OpenServices) -> dict[str, Any]:
    """The instances of one agent."""
    found = [i for i in services.agents.registry.list_all() if i.name == name]
    if not found:
        raise NotFound(f"There is no agent {name!r}.")
    return {"name": name, "instances": [_agent(i, services) for i in found]}


@router.delete("/agents/{agent_id}", tags=["agents"], response_model=RemovedAgent)
async def remove_agent(
    agent_id: str, request: Request, services: OpenServices, secret: Annotated[str | None, Header(alias=SECRET)] = None
) -> dict[str, str]:
    """Withdraws one instance; what it is working on goes on. One that registered with a secret sends it here, too."""
    caller = caller_of(request.scope)
    try:
        name = await services.agents.remove(agent_id, secret=secret, caller=caller)
    except Forbidden as error:
        services.audit.write("delete_refused", caller, agent_id=agent_id, why=error.detail)
        raise
    services.audit.write("agent_deleted", caller, agent_id=agent_id, name=name)
    return {"agent_id": agent_id, "status": "removed"}


@router.patch(
    "/agents/{agent_id}",
    tags=["agents"],
    openapi_extra=bodies.describe(AgentChange, example={"draining": True}),
    response_model=AgentView,
)
async def change_agent(agent_id: str, request: Request, services: OpenServices) -> AgentView:
    """Gives one instance no more steps (`draining`), or steps again; what it is working on goes on."""
    wanted, caller = bodies.parse(AgentChange, await bodies.read(request)), caller_of(request.scope)
    instance = services.agents.registry.get(agent_id)
    if instance is not None and not services.secured and not services.agents.may_withdraw(agent_id, caller):
        raise Forbidden("This agent has a secret. Set API_KEY, and send it, to drain the agent.")
    name = services.agents.drain(agent_id, caller, held=wanted.draining)
    services.audit.write("agent_drained" if wanted.draining else "agent_resumed", caller, agent_id=agent_id, name=name)
    instance = services.agents.registry.get(agent_id)
    assert instance is not None
    return _agent(instance, services)


def _agent(instance: Instance, services: Services) -> AgentView:
    known, last = instance.registration, instance.last_canary
    return AgentView(
        agent_id=instance.id,
        name=known.name,
        instance=known.instance,
        endpoint=known.endpoint,
        capabilities=known.capabilities,
        description=known.description,
        protocol=known.protocol,
        status=instance.status,
        load=instance.load,
        max_concurrency=known.max_concurrency,
        latency_seconds=round(instance.latency, 6) if instance.latency is not None else None,
        breaker=services.agents.get_breaker(instance),
        last_error=instance.last_error,
        last_seen=pagination.utc(instance.wall_last_seen),
        version=known.version,
        last_canary=pagination.utc(last.at if last else None),
        canary_error=last.error if last else None,
    )
