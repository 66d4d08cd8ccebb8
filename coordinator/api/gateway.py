"""`/agents/{name}/…`, and `/{namespace}/agent/{name}/…`: forwarded to that agent, streamed, within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from coordinator.agent_calls.via import has_passed, pseudonym
from coordinator.agents.instance import Instance
from coordinator.api.dependencies import OpenServices, Services
from coordinator.api.signing import is_signed, sign
from shared.client.client import DeadlineExceeded
from shared.contracts import MAX_BODY_BYTES
from shared.errors import BadRequest, CallNotSent, MusterError, NotFound
from shared.http_failures import failure_from_error
from shared.limits.envelope import derive_key
from shared.protocols.mounting import BASE
from shared.server import bodies
from shared.server.edge import HEAD_ONLY
from shared.server.hang_up import run_unless_hung_up

router = APIRouter()
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
MAX_BYTES = 100_000_000

# RFC 9110, section 7.6.1, and what belongs to this hop: the coordinator's key is not the agent's business.
_HOP = (
    *("connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
)
_OWN = ("expect", "host", "content-length", "authorization", "cookie", "set-cookie", BASE.lower())
# An agent's page is no page of ours: a browser gives it an origin of its own, so that no session is of use to it.
_SANDBOX = ((b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff"))
_NOT_FORWARDED = frozenset(name.encode() for name in (*_HOP, *_OWN))


class BadGateway(MusterError):
    status, type, title, retryable = 502, "agent_unreachable", "Agent unreachable", True


class GatewayTimeout(MusterError):
    status, type, title, retryable = 504, "timeout", "Agent timed out", True


class LoopDetected(MusterError):
    """The request has been here before: the agent's endpoint leads back to this gateway (RFC 5842, section 7.2)."""

    status, type, title = 508, "loop_detected", "Loop detected"


@router.api_route("/agents/{name}/{path:path}", methods=METHODS, tags=["agents"], include_in_schema=False)
async def forward(name: str, path: str, request: Request, services: OpenServices) -> Response:
    """Forwards the request without its prefix; 404 unknown agent, 502 unreachable, 504 too slow."""
    return await relay(name, _rest(request, prefix=2), request, services)


@router.api_route("/{namespace}/agent/{name}", methods=METHODS, tags=["agents"], include_in_schema=False)
@router.api_route("/{namespace}/agent/{name}/{path:path}", methods=METHODS, tags=["agents"], include_in_schema=False)
async def forward_in_namespace(
    namespace: str, name: str, request: Request, services: OpenServices, path: str = ""
) -> Response:
    """The same at the paths of KAOS's gateway; there is one namespace here, whatever it is called."""
    return await relay(name, _rest(request, prefix=3), request, services)


async def relay(name: str, rest: str, request: Request, services: Services) -> Response:
    """The request as the agent answers it at `rest`, its path and query there."""
    via = _via(name, request, services)
    instance = _choose(name, services)
    uploaded = asyncio.Event()
    method = "HEAD" if HEAD_ONLY in request.scope else request.method
    sends = method not in ("GET", "HEAD", "OPTIONS", "DELETE")
    signed = await bodies.read(request, limit=MAX_BODY_BYTES) if sends and is_signed(instance, services) else None
    sent = services.http.build_request(
        method,
        f"{instance.registration.endpoint}/{rest}",
        headers=[*_forwardable(request.headers), (b"Via", via), (BASE.encode(), _base(rest, request, services))],
        content=_body(request, uploaded) if sends and signed is None else signed,
        extensions={"deadline": services.settings.request_timeout, "max_bytes": MAX_BYTES},
    )
    sign(sent, instance, services, body=signed or b"")
    if not sends or signed is not None:
        uploaded.set()
    services.agents.registry.record_start(instance)
    try:
        answer = await run_unless_hung_up(services.http.send(sent, stream=True), request.receive, uploaded=uploaded)
    except DeadlineExceeded as exc:
        _record_end(services, instance, str(exc))
        raise GatewayTimeout(f"Agent {name!r} did not answer within {services.settings.request_timeout:g} s.") from exc
    except httpx.TransportError as exc:
        _record_end(services, instance, str(exc))
        failure = failure_from_error(exc, services.settings.request_timeout)
        if isinstance(failure, CallNotSent):
            raise failure from exc
        raise BadGateway(f"Agent {name!r} cannot be reached: {exc}") from exc
    except (asyncio.CancelledError, ClientDisconnect):
        _record_end(services, instance, "the client disconnected")
        raise
    return _Relay(answer, lambda error: _record_end(services, instance, error))


def _choose(name: str, services: Services) -> Instance:
    instance = services.agents.registry.choose(capability=None, agent=name)
    if instance is not None:
        return instance
    known = services.agents.registry.find(capability=None, agent=name)
    if not known:
        raise NotFound(f"There is no agent {name!r}.")
    raise BadGateway(f"Agent {name!r} is {known[0].status}: {known[0].last_error or 'not probed yet'}")


def _via(name: str, request: Request, services: Services) -> bytes:
    """This suite's entry for `Via`; raises `LoopDetected` where the request has one already."""
    own = pseudonym(partial(derive_key, services.secret))
    if has_passed(request.headers.getlist("via"), own):
        raise LoopDetected(f"The endpoint of agent {name!r} leads back here. Register the agent's own address.")
    return f"{request.scope['http_version']} {own}".encode()


def _rest(request: Request, *, prefix: int) -> str:
    """Path and query as they came, without the first so many segments; raises `BadRequest` for one that climbs."""
    raw = request.scope.get("raw_path") or request.url.path.encode()
    rest = raw.decode("ascii", "replace").partition("?")[0].removeprefix("/").split("/", prefix)[prefix:]
    path = "".join(rest)
    if any(part in ("..", ".") for part in path.replace("%2e", ".").replace("%2E", ".").split("/")):
        raise BadRequest("The path must not contain '.' or '..' segments.")
    return f"{path}?{request.url.query}" if request.url.query else path


def _base(rest: str, request: Request, services: Services) -> bytes:
    """Where the caller reaches the agent, for its cards: its own address may be good inside the network only."""
    raw = request.scope.get("raw_path") or request.url.path.encode()
    prefix = raw.partition(b"?")[0].removesuffix(rest.partition("?")[0].encode()).strip(b"/")
    return (services.settings.public_url or str(request.base_url)).rstrip("/").encode() + b"/" + prefix


async def _body(request: Request, uploaded: asyncio.Event) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk
    uploaded.set()


class _Relay(StreamingResponse):
    """An agent's response as it is forwarded; `ended` is called with the outcome, even if nothing was sent."""

    def __init__(self, answer: httpx.Response, ended: Callable[[str | None], None]) -> None:
        super().__init__(self._pieces(), answer.status_code)
        self.raw_headers = [
            *_forwardable(answer.headers),
            *_SANDBOX,
        ]  # as bytes: not every header can be written as Latin-1 again
        self._answer = answer
        self._ended = ended
        self._error: str | None = "the stream was interrupted"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()
            self._ended(self._error)

    async def _pieces(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_raw():
            yield chunk
        self._error = None


def _forwardable(headers: httpx.Headers | Headers) -> list[tuple[bytes, bytes]]:
    """The headers without those of this hop, which are also all that `Connection` names."""
    named = {token.strip().lower() for k, v in headers.raw if k.lower() == b"connection" for token in v.split(b",")}
    return [(k, v) for k, v in headers.raw if (name := k.lower()) not in _NOT_FORWARDED and name not in named]


def _record_end(services: Services, instance: Instance, error: str | None) -> None:
    services.agents.registry.record_end(instance, seconds=None, error=error, blame=False)
