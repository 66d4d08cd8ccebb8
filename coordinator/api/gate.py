"""Refusals from the head alone: while the queue is full, a new task costs no more than the reading of its head."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from functools import lru_cache
from uuid import uuid4

from starlette.types import Scope

from coordinator.admission.admission import Admission
from coordinator.api.dependencies import Services
from shared import logs
from shared.errors import MusterError, Overloaded
from shared.server.app import App
from shared.server.auth import Check
from shared.server.edge import SAFE_ID
from shared.server.intake import REFUSED
from shared.server.metrics import ServiceMetrics
from shared.server.problems import ErrorForm, render_error

PATHS = ("/execute_task", "/v1/chat/completions")  # where every POST asks for a new task
TOLD_SECONDS = 1.0  # between two log lines
_OTHERWISE = frozenset({b"idempotency-key", b"origin", b"upgrade"})  # with these a request is looked at more closely


class Gate:
    """`shared.server.intake.Gate` of the coordinator; lets through whatever may have another answer than 429."""

    def __init__(
        self, app: App[Services], check: Check, metrics: ServiceMetrics, *, base: str, now: Callable[[], float]
    ) -> None:
        self._app = app
        self._check = check
        self._metrics = metrics
        self._paths = {prefix.encode() + path.encode(): path for path in PATHS for prefix in ("", base)}
        self._now = now
        self._render = lru_cache(2_000)(self._render_refusal)
        self._passed = 0  # requests of this turn of the loop, which are not counted as accepted yet
        self._untold = 0  # refusals, in the log
        self._told = 0.0

    def __call__(self, scope: Scope, target: bytes) -> bytes | None:
        path = self._paths.get(target)
        services = self._app.opened
        if path is None or services is None or scope["method"] != "POST":
            return None
        admission: Admission = services.admission
        if not admission.is_full(services.dispatcher.accepted + self._passed) or self._app.stopping:
            if not self._passed:
                asyncio.get_running_loop().call_soon(self._count_anew)
            self._passed += 1
            return None
        names = {name for name, _ in scope["headers"]}
        if not names.isdisjoint(_OTHERWISE) or not self._check_caller(scope, path):
            return None
        self._note(path)
        answer = self._render(path, admission.estimate_retry_seconds(), services.settings.max_queued_tasks)
        wished = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
        request_id = wished if SAFE_ID.match(wished) else uuid4().hex
        return answer % request_id.encode()

    def _count_anew(self) -> None:
        self._passed = 0

    def _check_caller(self, scope: Scope, path: str) -> bool:
        """Whether the caller may ask at all; if not, the app says why."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            contextvars.copy_context().run(self._check, {**scope, "path": path}, headers)
        except MusterError as exc:
            scope[REFUSED] = exc
            return False
        return True

    def _note(self, path: str) -> None:
        self._metrics.count_refused(path)
        self._untold += 1
        if self._now() - self._told >= TOLD_SECONDS:
            logs.get().info("request.done", method="POST", path=path, status=429, ms=0.0, times=self._untold)
            self._told, self._untold = self._now(), 0

    def _render_refusal(self, path: str, seconds: int, waiting: int) -> bytes:
        """The whole answer, with a place for the request's id."""
        error = Overloaded(f"{waiting} tasks are waiting; try again in {seconds} s.", retry_after=seconds)
        forms: Mapping[str, ErrorForm] = self._app.error_forms
        answer = render_error(error, path, forms)
        lines = [b"%b: %b\r\n" % header for header in answer.raw_headers]
        head = b"HTTP/1.1 429 Too Many Requests\r\n" + b"".join(lines)
        return head.replace(b"%", b"%%") + b"x-request-id: %b\r\n\r\n" + bytes(answer.body).replace(b"%", b"%%")
