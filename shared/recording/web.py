"""A step's calls to the open web by its tape: of what is sent and comes, no header that could hold a secret is kept."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import Any

import httpx

from shared.recording.tape import Tape

_SECRET = re.compile(r"key|token|secret|password|passwd|auth|signature|sig\Z|credential", re.IGNORECASE)
_HEADERS = ("content-type", "location", "retry-after", "last-modified", "etag")  # of an answer, that are kept


class TapedClient(httpx.AsyncClient):
    """The step's client with every call on the tape, and each answer whole before it is read."""

    def __init__(self, http: httpx.AsyncClient, tape: Tape) -> None:
        super().__init__(
            transport=_Taped(http, tape),
            headers=http.headers,
            timeout=http.timeout,
            follow_redirects=False,
            trust_env=False,
        )


class _Taped(httpx.AsyncBaseTransport):
    def __init__(self, http: httpx.AsyncClient, tape: Tape) -> None:
        self._http = http
        self._tape = tape

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sent = await request.aread()

        async def do() -> dict[str, Any]:
            answer = await self._http.send(request)
            kept = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
            return {"status": answer.status_code, "headers": kept, **_write(answer.content)}

        asked = {"method": request.method, "url": hide_secrets(request.url), **_write(sent)}
        found = await self._tape.exchange("http", asked, do)
        return httpx.Response(found["status"], headers=found["headers"], content=_read(found))


def hide_secrets(url: httpx.URL) -> str:
    """The URL without userinfo, and with … for the value of a parameter whose name speaks of a secret."""
    params = [(name, "…" if _SECRET.search(name) else value) for name, value in url.params.multi_items()]
    plain = url.copy_with(userinfo=b"", fragment=None)
    return str(plain.copy_with(params=params) if params else plain)


def _write(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(body).decode()}


def _read(found: dict[str, Any]) -> bytes:
    return b64decode(found["base64"]) if "base64" in found else str(found["text"]).encode()
