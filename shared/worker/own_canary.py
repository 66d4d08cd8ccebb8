"""A worker's own canary: a step to itself that finds out whether it still answers steps, when nobody else has asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
from starlette.types import ASGIApp

from shared import logs
from shared.client.patience import wait_awake
from shared.contracts import CANARY, StepRequest
from shared.limits.envelope import HEADER, Envelope, seal
from shared.worker.heartbeat import Heartbeat
from shared.worker.steps import Steps

QUIET_SECONDS = 12.0  # without an answer, before the worker asks itself: the coordinator asks first, every 10 s
ANSWER_SECONDS = 4.0  # for its own canary
AGAIN_SECONDS = 1.0  # after one that was not answered, and while the worker has no key
MOST_UNANSWERED = 2  # in a row, with no step at work
BUSY = (429, 503)  # answers


class OwnCanary:
    """Asks `app` as the coordinator does, by the same route with the same checks, but without a connection.

    So a coordinator that is away, or that sends no canaries, makes no difference.
    """

    def __init__(
        self,
        app: ASGIApp,
        steps: Steps,
        heartbeat: Heartbeat | None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://worker", timeout=None)
        self._steps = steps
        self._heartbeat = heartbeat
        self._now = now
        self._asked = 0

    async def watch(self) -> str:
        """Asks whenever it has been quiet; returns why not, once the worker answers no steps any more."""
        unanswered = 0
        while True:
            quiet = self._now() - self._steps.answered_at
            if quiet < QUIET_SECONDS or (self._heartbeat is not None and self._heartbeat.key is None):
                unanswered = 0
                await asyncio.sleep(max(AGAIN_SECONDS, QUIET_SECONDS - quiet))
                continue
            why = await self._ask()
            if why is None:
                unanswered = 0
                await asyncio.sleep(QUIET_SECONDS)
                continue
            unanswered = 0 if self._steps.running else unanswered + 1
            logs.get().warning("canary.unanswered", why=why)
            if unanswered >= MOST_UNANSWERED:
                return why
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self) -> str | None:
        """Why the worker has not answered, if it has not."""
        self._asked += 1
        task = f"{CANARY}:own:{self._asked}"
        body = StepRequest(task_id=task, step_id=CANARY, capability=CANARY).model_dump_json().encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._heartbeat is not None and self._heartbeat.key is not None:
            envelope = Envelope(task=task, step=CANARY, attempt=1, milliseconds=round(ANSWER_SECONDS * 1000))
            headers[HEADER] = seal(envelope, key=self._heartbeat.key, body=body)
        call = asyncio.create_task(self._client.post("/execute", content=body, headers=headers), name="own-canary-call")
        try:
            if not await wait_awake(call, ANSWER_SECONDS):
                return f"no answer within {ANSWER_SECONDS:g} s."
            answer = call.result()
        finally:
            call.cancel()
            await asyncio.wait({call})
        if answer.status_code in BUSY:
            return None
        if answer.status_code != 200:
            return f"HTTP {answer.status_code}: {answer.text[:200]}"
        result = answer.json()
        return None if result["status"] == "completed" else str(result["error"])
