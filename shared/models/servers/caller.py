"""Calls to a model at a server, heeding what is known of it and learning from what comes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import httpx

from shared import logs
from shared.calls.noting import note
from shared.contracts import Usage
from shared.errors import ContextTooSmall, ModelFailed, ToolsRefused
from shared.models.servers.asked import ModelRequest
from shared.models.servers.pace import MeasuredCall, Room
from shared.models.servers.places import NoTurn
from shared.models.servers.refusals import Refusal
from shared.models.servers.server import SMALLEST_REPLY, Server
from shared.models.servers.turns import Hear
from shared.models.servers.wire import BrokenReply, Received, RefusedCall, exchange

FIRST_PAUSE_SECONDS = 0.25  # doubled with each try, where the server does not say how long to wait
LOADING_PAUSE_SECONDS = 0.5
PROGRESS_SECONDS = 2.0  # between two sentences on what a model is doing
START_SECONDS = 10.0  # that calls wait for the first one; a cold start takes minutes
AT_ONCE = 3  # calls that should find time on one place
LEAST_REPLY = 120  # tokens: one finding that is whole, also of a model that writes much
MOST_CHANGES = 6  # of one call's body, after refusals


class Silent(ModelFailed):
    """A call timed out; what has arrived by then is in its `Received`."""


class Answers(Protocol):
    """What can be asked: a server, or a script."""

    async def answer(
        self, asked: ModelRequest, into: Received, *, seconds: float, hear: Hear | None, progress: Hear | None
    ) -> Usage: ...


class Caller:
    """Asks a server; safe to share between requests."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def answer(
        self,
        asked: ModelRequest,
        into: Received,
        *,
        seconds: float,
        hear: Hear | None = None,
        progress: Hear | None = None,
    ) -> Usage:
        """Makes the call, and again where that may help; `into` is what has come, and `hear` gets words as they come.

        `progress` gets sentences on what the model is doing, at most one in two seconds. Raises ModelFailed for
        whatever goes wrong: ContextTooSmall, ToolsRefused, and Silent when the call times out.
        """
        if why := self.server.breaker.refusal():
            raise ModelFailed(f"Model {self.server.name!r} is not called: {why}")
        call = _TriedCall(self.server, asked, into, until=time.monotonic() + seconds, hear=hear, progress=progress)
        with note("model", self.server.name) as cost:
            try:
                async with asyncio.timeout(seconds):
                    cost.usage = await call.made()
            except TimeoutError as exc:
                call.given_up()
                raise Silent(
                    f"Model {self.server.name!r} did not answer within {seconds:.1f} s.", usage=call.usage()
                ) from exc
            return cost.usage


class _TriedCall:
    """One call on its way, with all its tries."""

    def __init__(
        self,
        server: Server,
        asked: ModelRequest,
        into: Received,
        *,
        until: float,
        hear: Hear | None,
        progress: Hear | None,
    ) -> None:
        self._server = server
        self._asked = asked
        self._into = into
        self._until = until
        self._hear = hear
        self._progress = progress
        self._heard = False
        self._told = 0.0
        self._tries = 0
        self._sent: float | None = None
        self._body: dict[str, Any] = {}
        self._prompt = server.pace.tokens(asked.characters)

    async def made(self) -> Usage:
        """Waits for its turn, and is made; what it cost."""
        server = self._server
        await self._begun()
        seconds = server.pace.seconds(self._prompt, 0, time.monotonic())
        if self._left() <= (seconds or 0.0):
            server.doubted.set()
            raise ModelFailed(self._too_slow(seconds or 0.0))
        try:
            if server.places.wait_seconds() > 1:
                await self._say(f"{server.name} is busy: about {server.places.wait_seconds():.0f} s till its turn")
            async with server.places.taken(self._takes(), within=self._left()) as place:
                if self._asked.fit is not None:
                    self._asked = await self._asked.fit(self._room())
                    self._prompt = server.pace.tokens(self._asked.characters)
                    place.seconds = self._takes()
                return await self._patiently()
        except NoTurn as exc:
            raise ModelFailed(f"Model {server.name!r} is busy: {exc}, and {self._left():.0f} s are left.") from exc

    def _takes(self) -> float | None:
        """Seconds that it takes, by the last ones; it is abandoned when it times out."""
        pace, now = self._server.pace, time.monotonic()
        most = self._asked.reply_tokens if self._asked.fit is None else min(LEAST_REPLY, self._asked.reply_tokens)
        usual = pace.usual_reply(most + self._server.known.thinking, now)
        takes = pace.seconds(self._prompt, usual, now)
        return None if takes is None else min(takes, self._left())

    def _room(self) -> Room:
        """What it may carry now: those that wait have their share of the time, and others may come while it runs."""
        left, most = self._left(), self._asked.reply_tokens
        shared = self._server.room(left / max(AT_ONCE, 1 + self._server.places.waiting), reply_tokens=most)
        if (self._takes() or 0.0) >= left:
            return replace(shared, why=self._too_slow(self._takes() or 0.0))
        prompt, reply = max(shared.prompt_tokens, self._prompt), max(shared.reply_tokens, min(LEAST_REPLY, most))
        reply = reply if self._server.places.waiting else most  # a long one may use what is left
        return replace(shared, prompt_tokens=prompt, reply_tokens=reply, why="")

    async def _begun(self) -> None:
        """Waits a moment for the first call of the process, but not for a cold start."""
        first, server = self._server.starting, self._server
        if first is None or first.done() or first is asyncio.current_task():
            return
        patience = min(server.started + START_SECONDS - time.monotonic(), self._left() / 2)
        if patience > 0:
            await asyncio.wait({first}, timeout=patience)
        if not first.done() and not server.loading:
            raise ModelFailed(
                f"Model {server.name!r} has not answered its first call yet: it is still loading, or unreachable."
            )

    def given_up(self) -> None:
        """Learns from a call that did not end in its time."""
        if self._sent is None:
            return
        now, server = time.monotonic(), self._server
        if self._into.first is None:
            waited = now - self._sent
            server.pace.add(MeasuredCall(now, read=self._prompt, reading_seconds=waited))
            server.breaker.failed(f"It sent nothing for {waited:.0f} s.")
        else:
            self._measure(now)

    async def _patiently(self) -> Usage:
        """The call, again after an error that a change of its body or a moment's patience fixes."""
        server, changes = self._server, 0
        while True:
            self._tries += 1
            known = server.known
            try:
                await self._once()
                return self._ended()
            except RefusedCall as exc:
                server.breaker.succeeded()
                failure, pause = self._refused(exc.refusal), exc.refusal.retry_after
                less = known.without(exc.refusal, self._body, formatted=self._asked.format is not None)
                if less != known and changes < MOST_CHANGES and not self._heard:
                    server.known, changes, self._tries = less, changes + 1, self._tries - 1
                    logs.get().info("model.adapted", model=server.name, why=exc.refusal.message)
                    continue
                server.loading = exc.refusal.loading
                if server.loading:
                    self._tries, pause = self._tries - 1, pause or LOADING_PAUSE_SECONDS
                    await self._say(f"{server.name} is being loaded")
                retryable = exc.refusal.passing and not exc.refusal.of_context
            except BrokenReply as exc:
                failure, pause, retryable = server.failed(str(exc)), None, False
            except httpx.HTTPError as exc:
                failure, pause = server.failed(str(exc) or type(exc).__name__), None
                retryable = self._asked.format is None or not self._into.speech.words  # of a shape, what came is kept
            pause = FIRST_PAUSE_SECONDS * 2.0 ** max(0, self._tries - 1) if pause is None else pause
            if not retryable or self._tries >= self._asked.tries or self._heard or pause >= self._left():
                failure.usage = Usage(calls=self._tries)
                raise failure
            await asyncio.sleep(pause)

    async def _once(self) -> None:
        server, now = self._server, time.monotonic()
        reply = self._asked.reply_tokens + server.known.thinking
        if server.known.context is not None:
            reply = min(reply, server.known.context - self._prompt)
            if reply < SMALLEST_REPLY:
                self._tries -= 1
                raise self._context(server.known.context)
        within = server.pace.reply_within(self._left(), self._prompt, now)
        if within is not None:
            if within < min(SMALLEST_REPLY, reply):
                raise ModelFailed(self._too_slow(server.pace.seconds(self._prompt, SMALLEST_REPLY, now) or 0.0))
            reply = min(reply, within)
        self._into.restart(holds=server.known.opens_itself)
        self._sent = now
        self._body = server.sent(self._asked, reply)
        await exchange(server.http, server.url, self._body, server.headers, self._into, self._tell)

    async def _tell(self, words: str) -> None:
        if words and self._hear is not None:
            self._heard = True
            await self._hear(words)
        elif not words and (thought := len(self._into.speech.thoughts.split())):
            await self._say(f"{self._server.name} thinks: {thought} words so far")

    async def _say(self, sentence: str) -> None:
        if self._progress is not None and time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            await self._progress(sentence)

    def _ended(self) -> Usage:
        """Learns from a reply that is whole; what it cost."""
        server, into = self._server, self._into
        server.breaker.succeeded()
        server.loading = False
        self._measure(time.monotonic())
        details = into.counted.get("completion_tokens_details")
        if into.speech.thoughts or (isinstance(details, dict) and details.get("reasoning_tokens")):
            out_of_room = into.cut and not into.speech.words.strip()
            server.known = server.known.thought(alone=into.speech.closed_alone, cut=out_of_room)
        usage = self.usage()
        counted = into.counted.get("prompt_tokens")
        if isinstance(counted, int) and not server.pace.counted(self._asked.characters, counted):
            server.known = server.known.reading(counted)
            into.note = (
                f"Model {server.name!r} has read about {counted} of {self._prompt} tokens: its server has cut the rest "
                "off. Give it a larger context (OLLAMA_CONTEXT_LENGTH, say), or set MODEL_CONTEXT."
            )
            logs.get().warning("model.prompt_cut", model=server.name, read=counted, sent=self._prompt)
        return usage

    def usage(self) -> Usage:
        """What the call has cost by now: as the server counts, else as many tokens as its words must have."""
        into, pace = self._into, self._server.pace
        read, written = into.counted.get("prompt_tokens"), into.counted.get("completion_tokens")
        if not isinstance(read, int) or read <= 0:
            read = self._prompt if self._sent is not None else 0
        if not isinstance(written, int) or written < 0:
            said = into.speech.words + into.speech.thoughts + "".join(c.name + c.arguments for c in into.calls)
            written = pace.tokens(len(said))
        return Usage(calls=self._tries, input_tokens=read, output_tokens=written)

    def _measure(self, now: float) -> None:
        """Remembers how long it was read and written; for a reply that came whole, both are all that it took."""
        into, usage, sent = self._into, self.usage(), self._sent or now
        details = into.counted.get("prompt_tokens_details")
        found = details.get("cached_tokens") if isinstance(details, dict) else 0
        cached = found if isinstance(found, int) else 0
        if own := _own_measure(into.timings, now, (into.first or now) - sent):
            self._server.pace.add(replace(own, cached=cached))
            return
        read = usage.input_tokens - cached
        reading = (into.first or now) - sent
        whole = into.pieces < 2
        written, writing = (usage.output_tokens, reading) if whole else (usage.output_tokens - 1, now - sent - reading)
        self._server.pace.add(MeasuredCall(now, read, reading, written, writing, cached))

    def _refused(self, refusal: Refusal) -> ModelFailed:
        if refusal.of_context:
            self._server.known = self._server.known.reading(refusal.context or self._prompt * 2 // 3)
            return self._context(refusal.context)
        if refusal.of_tools and self._asked.tools:
            return ToolsRefused(f"Model {self._server.name!r} does not support tools: {refusal.message}")
        failure = self._server.failed(refusal.message)
        if refusal.retry_after:
            failure.headers = {"Retry-After": str(-int(-refusal.retry_after // 1))}
        return failure

    def _context(self, tokens: int | None) -> ContextTooSmall:
        reads = f"reads {tokens} tokens" if tokens else "reads fewer"
        return ContextTooSmall(
            f"Model {self._server.name!r} {reads}; about {self._prompt} were to be sent, and a reply needs room, too.",
            usage=Usage(calls=self._tries),
            tokens=tokens,
        )

    def _too_slow(self, seconds: float) -> str:
        return (
            f"Model {self._server.name!r} would need about {seconds:.0f} s to read this, "
            f"and there were {self._left():.1f} s."
        )

    def _left(self) -> float:
        return self._until - time.monotonic()


def _own_measure(timings: Mapping[str, Any], now: float, till_first: float) -> MeasuredCall | None:
    """What llama.cpp has measured itself, the time that the call waited there told apart."""
    try:
        return MeasuredCall(
            now,
            int(timings["prompt_n"]),
            float(timings["prompt_ms"]) / 1000,
            int(timings["predicted_n"]),
            float(timings["predicted_ms"]) / 1000,
            waited=max(0.0, till_first - float(timings["prompt_ms"]) / 1000),
        )
    except (KeyError, TypeError, ValueError):
        return None
