"""`/delegate`: for agents that ask other agents."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import APIRouter, Request
from starlette.responses import Response

from coordinator.api.answers import Delegated, Delegates
from coordinator.api.dependencies import OpenServices, Services
from coordinator.execution.delegations import Wish
from shared.agent_loop.peers import ASKED_AS
from shared.errors import EnvelopeRefused, Unavailable
from shared.limits.envelope import HEADER, derive_key, open_envelope
from shared.server import bodies
from shared.server.edge import traceparent
from shared.server.hang_up import run_unless_hung_up

router = APIRouter()
_BODY = bodies.describe(Wish)  # without an example: only an agent at work can sign one


@router.get("/delegate", tags=["agents"], response_model=Delegates)
async def list_delegates(services: OpenServices) -> dict[str, Any]:
    """The agents that may be asked, by name and description, for whoever's key does not open `GET /agents`."""
    described = {i.name: i.registration.description for i in services.agents.registry.list_all()}
    return {"agents": [{"name": name, "description": text} for name, text in described.items()]}


@router.post(
    "/delegate", tags=["agents"], openapi_extra=_BODY, response_model=None, responses={200: {"model": Delegated}}
)
async def delegate(request: Request, services: OpenServices) -> dict[str, Any] | Response:
    """Has another agent do something for a registered one, out of what its step has left.

    The body is sealed in `Muster-Envelope` with the key of the agent that `Muster-Agent` names. The work ends when the
    caller hangs up.
    """
    body = await bodies.read(request)
    header, agent_id = request.headers.get(HEADER), request.headers.get(ASKED_AS, "")
    asker = services.agents.registry.get(agent_id)
    if header is None or asker is None:
        raise EnvelopeRefused(
            f"Only registered agents may delegate: {ASKED_AS} must name the agent and {HEADER} must be signed by it."
        )
    envelope = open_envelope(header, key=derive_key(services.secret, asker.id), body=body)
    if (elsewhere := await services.dispatcher.find_elsewhere(envelope.task)) is not None:
        return await run_unless_hung_up(_pass_on(services, elsewhere, request, body), request.receive)
    wish = bodies.parse(Wish, body)
    work = services.delegations.run(asker, envelope, wish, traceparent=traceparent.get())
    done = await run_unless_hung_up(work, request.receive)
    return {
        "agent": wish.agent,
        "response": done.text,
        "output": done.result.output,
        "usage": done.usage.model_dump(),
        "missing": [m.model_dump() for m in done.result.missing],
        "booked": done.booked,
    }


async def _pass_on(services: Services, to: str, request: Request, body: bytes) -> Response:
    """The answer of the coordinator that carries the step; raises `Unavailable` where it cannot be reached."""
    kept = ("authorization", "content-type", HEADER.lower(), ASKED_AS.lower())
    headers = {name: value for name, value in request.headers.items() if name in kept}
    try:
        answer = await services.http.post(f"{to}/delegate", content=body, headers=headers)
    except httpx.HTTPError as exc:
        raise Unavailable(f"The coordinator that carries the step cannot be reached: {exc}.") from exc
    return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))
