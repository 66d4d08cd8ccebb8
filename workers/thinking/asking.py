"""What one step may ask a model: within its time, calls and tokens, and never at the cost of its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from shared import logs
from shared.contracts import NO_USAGE, Missing
from shared.definition import Context
from shared.errors import ContextTooSmall, ModelFailed
from shared.models.choice import lacking, wanted

if TYPE_CHECKING:
    from shared.models.model import LanguageModel
    from shared.settings import ModelSettings

SHARE = 0.6  # of a step's time the model may take; the rest answers without it
MIN_SECONDS = 0.2  # less is not worth a call
MIN_REPLY_TOKENS = 128
CHARACTERS_A_TOKEN = 3.0  # few on purpose, so that what is reserved is rarely less than what is spent
MAX_CHARACTERS = 24_000  # of data in one call: about 6,000 tokens
TRIES = 3  # of one call, while the model is busy
MADE_WITH = "Made with "  # opens the note that names the model

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
    """The model as one step uses it; `usage` is what it has cost, `missing` says why it was not used, or not wholly.

    After the first failure it is not asked again in this step.
    """

    def __init__(self, model: LanguageModel | None, ctx: Context) -> None:
        mocks = ctx.ask.mocks if ctx.ask is not None else None
        if mocks is not None:
            from shared.models.model import LanguageModel

            model = (model or LanguageModel()).for_request(mocks)
        elif model is not None:
            model = model.for_request()
        self._model = model
        self._ctx = ctx
        self._kept_back = (1 - SHARE) * ctx.seconds_left()
        self._calls = ctx.envelope.calls
        self._tokens = ctx.envelope.tokens
        self._failed = False
        self._shortened = False
        self.usage = NO_USAGE
        self.missing: list[Missing] = []

    def __bool__(self) -> bool:
        """Whether there is a model that may still be asked."""
        return self._model is not None and not self._failed

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name if self._model is not None else "no model"

    def room(self, *, instructions: str, shape: type[BaseModel], reply_tokens: int) -> int:
        """Characters of data that one call may carry, beside its instructions and a reply of usual length.

        As many as the step may spend, and as the model can read in its time and at once.
        """
        if self._model is None:
            return 0
        planned = self._model.plan(self._seconds(), reply_tokens=reply_tokens)
        if planned.why:
            self.failed(planned.why)
        own = _sent(instructions, shape)
        most = planned.characters - int(own * CHARACTERS_A_TOKEN)
        left = self._tokens_left()
        if left is not None:
            most = min(most, int((left - own - min(reply_tokens, left // 2)) * CHARACTERS_A_TOKEN))
        return max(0, min(MAX_CHARACTERS, most))

    async def asked(
        self, *, instructions: str, data: str, shape: type[Shape], reply_tokens: int, share: float = 1.0
    ) -> Shape | None:
        """The model's answer in a shape, or None.

        `reply_tokens` is what an answer takes at the most, `share` which part of the time left for the model it may
        take. Raises ContextTooSmall, once in a step, where the model reads less than this: `room` is smaller then.
        """
        if self._model is None or self._failed:
            return None
        seconds = share * self._seconds()
        if seconds < MIN_SECONDS:
            self.failed("There was no time left to ask it.")
            return None
        tries, reply = self._reserved(_sent(instructions + data, shape), reply_tokens)
        if not tries:
            return None
        try:
            filled = await self._model.structured(
                instructions=instructions, data=data, shape=shape, seconds=seconds, max_tokens=reply, tries=tries
            )
        except ContextTooSmall as failure:
            self.usage += failure.usage
            if self._shortened:
                self.failed(failure.detail)
                return None
            self._shortened = True
            raise
        except ModelFailed as failure:
            self.usage += failure.usage
            self.failed(failure.detail)
            return None
        self.usage += filled.usage
        if said := " ".join(part for part in (filled.cut, filled.note) if part):
            self.missing.append(Missing(what="the model's whole answer", why=said))
        return filled.value

    def failed(self, why: str) -> None:
        """From now on the step goes on without the model; the first reason is the one that counts."""
        if self._failed:
            return
        self._failed = True
        self.missing.append(Missing(what="model", why=why))
        self._ctx.log.warning("model.failed", why=why)

    def _seconds(self) -> float:
        """What is left of the model's share of the step."""
        return self._ctx.seconds_left() - self._kept_back

    def _reserved(self, sent: int, reply_tokens: int) -> tuple[int, int]:
        """How many times a call may be tried, and tokens of its reply, so that nothing is overspent; or no times."""
        tries = TRIES if self._calls is None else min(TRIES, self._calls - self.usage.calls)
        if tries <= 0:
            self.failed("The step has no calls left to ask it.")
            return 0, 0
        left = self._tokens_left()
        reply = reply_tokens if left is None else min(reply_tokens, left - sent)
        if reply < MIN_REPLY_TOKENS:
            self.failed(f"The step has {max(0, left or 0)} tokens left, and asking takes {sent + MIN_REPLY_TOKENS}.")
            return 0, 0
        return tries, reply

    def _tokens_left(self) -> int | None:
        spent = self.usage.input_tokens + self.usage.output_tokens
        return None if self._tokens is None else self._tokens - spent


def _sent(text: str, shape: type[BaseModel]) -> int:
    """Tokens of a call's text and of the example line of its shape, rather too many than too few."""
    from shared.models.shapes import example

    return int((len(text) + len(example(shape)) + 200) / CHARACTERS_A_TOKEN)
