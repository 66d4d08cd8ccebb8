"""What one step may ask a model: within its time, calls and tokens, and never at the cost of its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from shared.contracts import NO_USAGE, Missing
from shared.definition import Context
from shared.errors import ModelFailed

if TYPE_CHECKING:
    from shared.models.model import LanguageModel
    from shared.settings import ModelSettings

SHARE = 0.6  # of a step's time the model may take; the rest answers without it
MIN_SECONDS = 0.2  # less is not worth a call
MIN_REPLY_TOKENS = 128
CHARACTERS_A_TOKEN = 3.0  # few on purpose, so that what is reserved is rarely less than what is spent
MAX_CHARACTERS = 24_000  # of data in one call: about 6,000 tokens
LOADING_SECONDS = (
    0.05  # beyond the call's own limit, which says more; only the first call, which loads libraries, needs it
)
TRIES = 2  # calls for one answer: a model that answers in the wrong shape is asked once more
MADE_WITH = "Made with "  # opens the note that names the model

Shape = TypeVar("Shape", bound=BaseModel)


@asynccontextmanager
async def model_of(settings: ModelSettings) -> AsyncIterator[LanguageModel | None]:
    """The model that the settings name, open until the service ends; None without one. It is loaded meanwhile."""
    from shared.models.model import models_from

    model = models_from(settings)
    if model is None:
        yield None
    else:
        async with model:
            yield model


class Thinking:
    """The model as one step uses it; `usage` is what it has cost, `missing` says why it was not used.

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
        self.usage = NO_USAGE
        self.missing: list[Missing] = []

    def __bool__(self) -> bool:
        """Whether there is a model that may still be asked."""
        return self._model is not None and not self.missing

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name if self._model is not None else "no model"

    def room(self, *, instructions: str, shape: type[BaseModel], reply_tokens: int) -> int:
        """Characters of data that one call may carry, beside its instructions and a reply of usual length."""
        left = self._tokens_left()
        if left is None:
            return MAX_CHARACTERS
        kept_back = _sent(instructions, shape) + min(reply_tokens, left // 2)
        return max(0, min(MAX_CHARACTERS, int((left - kept_back) * CHARACTERS_A_TOKEN)))

    async def asked(
        self, *, instructions: str, data: str, shape: type[Shape], reply_tokens: int, share: float = 1.0
    ) -> Shape | None:
        """The model's answer in a shape, or None.

        `reply_tokens` is what an answer usually takes, `share` which part of the time left for the model it may take.
        """
        if self._model is None or self.missing:
            return None
        seconds = share * (self._ctx.seconds_left() - self._kept_back)
        if seconds < MIN_SECONDS:
            self.failed("There was no time left to ask it.")
            return None
        calls, reply = self._reserved(_sent(instructions + data, shape), reply_tokens)
        if not calls:
            return None
        try:
            async with asyncio.timeout(seconds + LOADING_SECONDS):
                value, usage = await self._model.structured(
                    instructions=instructions, data=data, shape=shape, seconds=seconds, max_tokens=reply, calls=calls
                )
        except ModelFailed as failure:
            self.usage += failure.usage
            self.failed(failure.detail)
            return None
        except TimeoutError:
            self.failed(f"Model {self.name!r} did not answer within {seconds:.1f} s.")
            return None
        self.usage += usage
        return value

    def failed(self, why: str) -> None:
        """From now on the step goes on without the model."""
        self.missing.append(Missing(what="model", why=why))
        self._ctx.log.warning("model.failed", why=why)

    def _reserved(self, sent: int, reply_tokens: int) -> tuple[int, int | None]:
        """How many calls may be made, and tokens for each reply, so that what is left is not overspent; or no calls.

        A repeated call carries the first one's reply, too.
        """
        calls = TRIES if self._calls is None else min(TRIES, self._calls - self.usage.calls)
        if calls <= 0:
            self.failed("The step has no calls left to ask it.")
            return 0, None
        left = self._tokens_left()
        if left is None:
            return calls, None
        for tries in range(calls, 0, -1):
            reply = (left - tries * sent) // (tries * (tries + 1) // 2)
            if reply >= (reply_tokens if tries > 1 else MIN_REPLY_TOKENS):
                return tries, reply
        self.failed(f"The step has {max(0, left)} tokens left, and asking takes {sent + MIN_REPLY_TOKENS}.")
        return 0, None

    def _tokens_left(self) -> int | None:
        spent = self.usage.input_tokens + self.usage.output_tokens
        return None if self._tokens is None else self._tokens - spent


def _sent(text: str, shape: type[BaseModel]) -> int:
    """Tokens of a call's text and of the shape that is described in it, rather too many than too few."""
    return int((len(text) + len(json.dumps(shape.model_json_schema()))) / CHARACTERS_A_TOKEN)
