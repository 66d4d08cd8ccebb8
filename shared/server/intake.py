"""uvicorn's HTTP protocol, with limits on what a caller may hold before any key is checked: connections and time."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.client import descriptors
from shared.errors import BadRequest, HeadTooLarge, MusterError, RequestTimeout, Unavailable

MAX_HEAD = 32_768  # bytes; the piece in which a head begins, and the one in which it ends, are not counted
HEAD_SECONDS = 10.0  # a look of the health check (probe.sh) is silent for five of them
SPARE_HEAD_SECONDS = 1.0  # on one of the last descriptors
BODY_SECONDS = 10.0
BODY_RATE = 100_000  # bytes of a body for which it gets another second
PAUSED_SECONDS = 0.5  # what came while this whole process was stopped is read before it counts as late
SPARE_PATHS = frozenset({b"/health", b"/ready", b"/register_agent"})  # served on the last descriptors as well
REFUSED = "muster.refused"  # in the scope: the MusterError that a request is answered with
Gate = Callable[[Scope, bytes], bytes | None]  # a scope without a path, and the target: a whole answer but for its date

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*\Z")  # RFC 3986, section 3.2.2, and a port


class Intake(HttpToolsProtocol):
    """Bounds the time that heads and bodies take, the size of heads, and the number of connections.

    A body gets `body_seconds` and one more for each 100 KB that have come, while it is read; 408 after that. A head
    gets `seconds`, and 431 when it is too large. uvicorn's own waits for ever and keeps all: 150 MB of one header took
    250 MB, and the loop for half a minute. Requests to upgrade are answered as if they did not ask for it.
    """

    seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    gate: Gate | None = None
    _spares: ClassVar[dict[Intake, None]] = {}  # on the last descriptors of this process

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.gate = getattr(self.config.app, "gate", None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._turned_away = False  # the request whose body comes now
        self._inside = self._receiving = self._overdue = False
        self._size = self._known = self._came = 0
        self._hosts: list[bytes] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._body_began = 0.0
        descriptor = transport.get_extra_info("socket").fileno()
        self._spare = not descriptors.leaves(descriptors.CALLERS_LEAVE, descriptor)
        if self._spare:
            self.seconds = min(self.seconds, SPARE_HEAD_SECONDS)
            self._spares[self] = None
            if len(self._spares) > descriptors.scaled(descriptors.SPARE):
                next(c for c in self._spares if not c._known or c is self)._end(_crowded())  # the longest silent one
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_body_timer()
        self._spares.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        inside, known = self._inside, self._known
        self._came += len(data)
        left: bytes | None = data
        try:
            while left is not None:
                left = self._feed(left)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._end(BadRequest("The request is not valid HTTP/1.1."))
            return
        if inside and self._known == known:
            self._size += len(data)
        if self._size > MAX_HEAD:
            self._end(HeadTooLarge(f"The request headers are larger than {MAX_HEAD:,} bytes."))
        elif self._idle and not self._turned_away:
            self._await_head()
        if self._receiving and self._body_timer is None:
            self._await_body()

    # --- the parser's side

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._inside, self._size, self._turned_away = True, 0, False

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # from here on the parser takes no body; see `_feed`
        self._inside, self._size, self._receiving = False, 0, True
        self._known += 1
        self._stop_head_timer()
        if refusal := self._refusal():
            self.scope[REFUSED] = refusal  # type: ignore[literal-required]
        elif self.gate is not None and self._turn_away(self.gate):
            return
        super().on_headers_complete()
        if self._spare:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        if not self._receiving:
            return  # the request to upgrade, which comes again
        self._receiving = False
        self._stop_body_timer()
        if self._turned_away:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            return
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if not self._turned_away:
            super().on_body(body)

    def _turn_away(self, gate: Gate) -> bool:
        """Answers from the head alone, if the gate has an answer; the body is read and dropped.

        As a request of its own in the app, a refusal costs five times as much.
        """
        self.scope["method"] = self.parser.get_method().decode("ascii")
        can = self._idle and self.parser.should_keep_alive() and not self._spare
        answer = gate(self.scope, self.url) if can else None  # type: ignore[arg-type]
        if answer is None:
            return False
        self._turned_away = True
        line, _, rest = answer.partition(b"\r\n")
        dates = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join([line, b"\r\n", *dates, rest]))
        return True

    def _feed(self, data: bytes) -> bytes | None:
        """Parses; what is left to be parsed where a head asked for an upgrade: all of it, without that wish.

        A server may ignore the wish (RFC 9110, section 7.8); the parser would take the body for the other protocol's.
        """
        try:
            self.parser.feed_data(data)
            return None
        except httptools.HttpParserUpgrade as exc:
            rest = data[exc.args[0] :]
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"".join([*head, b"\r\n", rest])

    def _refusal(self) -> MusterError | None:
        hosts = [value for name, value in self.headers if name == b"host"]
        if hosts != self._hosts:  # of the request before, which were well
            one = len(hosts) == 1 or (not hosts and self.parser.get_http_version() != "1.1")
            if not one or not _HOST.match(b"".join(hosts)):
                return BadRequest("The request must have one valid Host header.", headers={"Connection": "close"})
            self._hosts = hosts
        return _crowded() if self._spare and self.url.partition(b"?")[0] not in SPARE_PATHS else None

    # --- time

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_body(self) -> None:
        self._body_began, self._came, self._overdue = self.loop.time(), 0, False
        self._body_timer = self.loop.call_later(self.body_seconds, self._look_at_body)

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _look_at_body(self) -> None:
        """Time in which the service itself does not read is not the caller's."""
        now, earned = self.loop.time(), self._came / BODY_RATE
        if self.flow.read_paused:
            self._body_began = now - earned
        left = self._body_began + self.body_seconds + earned - now
        if left <= 0 and self._overdue:
            self._body_timer = None
            self._end(RequestTimeout("The request body did not arrive in time."))
            return
        self._overdue = left <= 0
        self._body_timer = self.loop.call_later(PAUSED_SECONDS if self._overdue else left, self._look_at_body)

    def _end(self, error: MusterError) -> None:
        """Closes the connection; an answer that has not begun yet is this error."""
        answered = self._turned_away or (self.cycle is not None and self.cycle.response_started)
        if not answered or (self._idle and not self._receiving):
            body = json.dumps(
                {
                    "type": f"urn:muster:problem:{error.type}",
                    "title": error.title,
                    "status": error.status,
                    "detail": error.detail,
                }
            )
            lines = {**error.headers, "Content-Type": "application/problem+json", "Content-Length": len(body)}
            head = "".join(f"{name}: {value}\r\n" for name, value in (lines | {"Connection": "close"}).items())
            self.transport.write(f"HTTP/1.1 {error.status} {error.title}\r\n{head}\r\n{body}".encode())
        self._spares.pop(self, None)
        if not self.transport.is_closing():
            with suppress(OSError):  # what has come and is not read would turn the end into a reset
                os.read(self.transport.get_extra_info("socket").fileno(), MAX_HEAD)
        self.transport.close()


def _crowded() -> Unavailable:
    error = Unavailable("Too many connections are open.", retry_after=1)
    error.headers["Connection"] = "close"
    return error
