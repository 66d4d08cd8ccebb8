"""What one step may ask a model: within its time, calls and tokens, and never at the cost of its answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from shared import logs
from shared.agent import Context
from shared.contracts import NO_USAGE, Missing
from shared.errors import ContextTooSmall, ModelFailed
from shared.models.choice import lacking, wanted

if TYPE_CHECKING:
    from shared.models.model import LanguageModel
    from shared.settings import ModelSettings

SHARE = 0.6  # of a step's time the model may take; the rest answers without it
MIN_SECONDS = 0.2  # less is not worth a call
MIN_REPLY_TOKENS = 64
CHARACTERS_A_TOKEN = 3.0  # few on purpose, so that what is reserved is rarely less than what is spent
MAX_CHARACTERS = 12_000  # of passages in one call: about 3,000 tokens, more than the best eight have
FORM_CHARACTERS = 300  # of the example line and the marks that are put around a prompt
TRIES = 2

Shape = TypeVar("Shape", bound=BaseModel)


@asynccontextmanager
async def model_of(settings: ModelSettings) -> AsyncIterator[LanguageModel | None]:
    """The model that the settings name, open until the service ends; None without one, which costs nothing."""
    if not wanted(settings):
        if why := lacking(settings):
            logs.get().warning("model.none", why=why)
        yield None
        return
    from shared.models.model import models_from

    model = models_from(settings)
    assert model is not None
    async with model:
        yield model


class Thinking:
    """The model as one step uses it; `usage` is what it has cost, `missing` says why it was not used.

    After the first failure it is not asked again in this step. `part` names the step's work in `missing`.
    """

    def __init__(self, model: LanguageModel | None, ctx: Context, part: str) -> None:
        mocks = ctx.ask.mocks if ctx.ask is not None else None
        if mocks is not None:
            from shared.models.model import LanguageModel

            model = (model or LanguageModel()).for_request(mocks)
        elif model is not None:
            model = model.for_request()
        self._model = model
        self._ctx = ctx
        self._part = part
        self._kept_back = (1 - SHARE) * ctx.seconds_left()
        self.usage = NO_USAGE
        self.missing: list[Missing] = []
        self.ended = model is None

    def __bool__(self) -> bool:
        """Whether there is a model that may still be asked."""
        return self._model is not None and not self.ended

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name if self._model is not None else "no model"

    def room(self, instructions: str, reply_tokens: int) -> int:
        """Characters of data that one call can carry beside its instructions; 0 where none can be made, which ends it.

        By the model's measured speed, those that wait before this call, its context, and what the step may spend.
        """
        if self._model is None or self.ended:
            return 0
        seconds = self._seconds()
        if seconds < MIN_SECONDS:
            return self._none("There was no time left to ask it.")
        if self._ctx.envelope.calls is not None and self._ctx.envelope.calls <= self.usage.calls:
            return self._none("The step has no calls left to ask it.")
        room = self._model.plan(seconds, reply_tokens=reply_tokens)
        if room.why:
            return self._none(room.why)
        characters = min(MAX_CHARACTERS, room.characters - len(instructions) - FORM_CHARACTERS)
        left = self._tokens_left()
        if left is not None:
            kept_back = min(reply_tokens, left // 2)
            sent = int((left - kept_back) * CHARACTERS_A_TOKEN) - len(instructions) - FORM_CHARACTERS
            if kept_back < MIN_REPLY_TOKENS or sent <= 0:
                return self._none(f"The step has {max(0, left)} tokens left, too few to ask it.")
            characters = min(characters, sent)
        return max(0, characters)

    def seconds(self, characters: int, reply_tokens: int) -> float | None:
        """How long a call takes, by the speed of the last ones; None where that is not known."""
        server = self._model.server if self._model is not None else None
        if server is None:
            return None
        return server.pace.seconds(server.pace.tokens(characters), reply_tokens, time.monotonic())

    async def asked(
        self,
        *,
        instructions: str,
        data: str,
        shape: type[Shape],
        reply_tokens: int,
        so_far: Callable[[Shape], Awaitable[None]] | None = None,
    ) -> Shape | None:
        """The model's answer in a shape, or None; what was whole when the time was over is an answer.

        `so_far` gets it as it grows. Raises ContextTooSmall where fewer data may help.
        """
        if self._model is None or self.ended:
            return None
        calls, left = self._ctx.envelope.calls, self._tokens_left()
        sent = int((len(instructions) + len(data)) / CHARACTERS_A_TOKEN)
        try:
            filled = await self._model.structured(
                instructions=instructions,
                data=data,
                shape=shape,
                seconds=self._seconds(),
                max_tokens=reply_tokens if left is None else max(1, min(reply_tokens, left - sent)),
                tries=TRIES if calls is None else min(TRIES, calls - self.usage.calls),
                so_far=so_far,
                progress=self._ctx.progress,
            )
        except ModelFailed as failure:
            self.usage += failure.usage
            if isinstance(failure, ContextTooSmall):
                raise
            self.failed(failure.detail)
            return None
        self.usage += filled.usage
        if filled.cut or filled.note:
            used = f"{filled.cut} What was whole of it is used." if filled.cut else ""
            self.failed(" ".join(part for part in (used, filled.note) if part))
        return filled.value

    def failed(self, why: str) -> None:
        """From now on the step goes on without the model."""
        self.ended = True
        self.missing.append(Missing(what=f"model in {self._part}", why=why))
        self._ctx.log.warning("model.failed", part=self._part, why=why)

    def _none(self, why: str) -> int:
        self.failed(why)
        return 0

    def _seconds(self) -> float:
        return self._ctx.seconds_left() - self._kept_back

    def _tokens_left(self) -> int | None:
        tokens = self._ctx.envelope.tokens
        return None if tokens is None else tokens - self.usage.input_tokens - self.usage.output_tokens
