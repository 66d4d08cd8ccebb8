"""What one step may ask a model: within its time, calls and tokens, and never at the expense of its answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, JsonValue

from shared import logs
from shared.agent import Context
from shared.contracts import NO_USAGE, Missing
from shared.errors import ContextTooSmall, ModelFailed
from shared.models.choice import choose_model, lacking, wants_model

if TYPE_CHECKING:
    from shared.models.model import LanguageModel
    from shared.models.servers.pace import Room
    from shared.settings import ModelSettings

SHARE = 0.6  # of a step's time the model may take; the rest answers without it
MIN_SECONDS = 0.2  # less is not worth a call
MIN_REPLY_TOKENS = 64
CHARACTERS_A_TOKEN = 3.0  # few on purpose, so that what is reserved is rarely less than what is spent
MAX_CHARACTERS = 12_000  # of passages in one call: about 3,000 tokens, more than the best eight have
FORM_CHARACTERS = 300  # of the example line and the marks that are put around a prompt
TRIES = 2

Shape = TypeVar("Shape", bound=BaseModel)
Fitting = Callable[[int], Awaitable[tuple[str, type[Shape]] | None]]


@asynccontextmanager
async def model_of(settings: ModelSettings) -> AsyncIterator[LanguageModel | None]:
    """The model that the settings name, open until the service ends; None without one, which costs nothing."""
    if not wants_model(settings):
        if why := lacking(settings):
            logs.get().warning("model.none", why=why)
        yield None
        return
    from shared.models.model import models_from

    model = models_from(settings)
    assert model is not None
    async with model:
        yield model


def model_recipe(settings: ModelSettings) -> dict[str, JsonValue] | None:
    """What a replay makes the model of again; neither its address nor its key is in it. None without a model."""
    if not wants_model(settings):
        return None
    chosen = choose_model(settings)
    return {
        "name": settings.model_name or "scripted" if chosen is None else chosen.name,
        "seconds": settings.model_timeout,
        "max_tokens": settings.model_max_tokens,
        "native_tools": settings.tool_call_mode != "string",
        "temperature": settings.model_temperature,
        "scripted": settings.debug_mock_responses is not None,
    }


def played_model(recipe: Mapping[str, Any] | None) -> LanguageModel | None:
    """The model of a recipe, for which the record answers."""
    if recipe is None:
        return None
    from shared.models.remade import remake

    return remake(recipe)


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
        shape: type[Shape],
        fit: Fitting[Shape],
        least: int,
        reply_tokens: int,
        so_far: Callable[[Shape], Awaitable[None]] | None = None,
    ) -> Shape | None:
        """The model's answer in a shape, or None; whatever was complete when the time ran out is an answer.

        `fit` makes the data, and the shape that is asked for about them, out of as many characters as one call can
        carry: by the model's measured speed when it has its turn, its context, and what the step may spend. It gives
        None where that is too little; `least` is what it needs. `so_far` gets the answer as it grows. Raises
        ContextTooSmall where fewer data may help.
        """
        if self._model is None or self.ended or not self._may_ask():
            return None
        from shared.models.servers.turns import Blank

        calls = self._ctx.envelope.calls

        async def fitted(room: Room) -> Blank[Shape]:
            found = None if room.why else await fit(self._characters(room, len(instructions), reply_tokens))
            if found is None:
                raise ModelFailed(room.why or "There was no room for a single passage.")
            left, sent = self._tokens_left(), int((len(instructions) + len(found[0])) / CHARACTERS_A_TOKEN)
            most = reply_tokens if left is None else max(1, min(reply_tokens, left - sent))
            return Blank(found[0], found[1], min(most, room.reply_tokens))

        try:
            filled = await self._model.structured(
                instructions=instructions,
                data=fitted,
                shape=shape,
                seconds=self._seconds(),
                max_tokens=reply_tokens,
                tries=TRIES if calls is None else min(TRIES, calls - self.usage.calls),
                least_characters=least + FORM_CHARACTERS,
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

    def _may_ask(self) -> bool:
        """Whether a call can be made at all; if not, that ends it."""
        left = self._tokens_left()
        if self._seconds() < MIN_SECONDS:
            self.failed("There was no time left to call it.")
        elif self._ctx.envelope.calls is not None and self._ctx.envelope.calls <= self.usage.calls:
            self.failed("The step has no calls left to ask it.")
        elif left is not None and left < 2 * MIN_REPLY_TOKENS:
            self.failed(f"The step has {max(0, left)} tokens left, too few to ask it.")
        return not self.ended

    def _characters(self, room: Room, instructions: int, reply_tokens: int) -> int:
        """Of data that one call can carry beside so many characters of instructions."""
        characters, left = room.characters, self._tokens_left()
        if left is not None:
            characters = min(characters, int((left - min(reply_tokens, left // 2)) * CHARACTERS_A_TOKEN))
        return max(0, min(MAX_CHARACTERS, characters - instructions - FORM_CHARACTERS))

    def _seconds(self) -> float:
        return self._ctx.seconds_left() - self._kept_back

    def _tokens_left(self) -> int | None:
        tokens = self._ctx.envelope.tokens
        return None if tokens is None else tokens - self.usage.input_tokens - self.usage.output_tokens
