"""How a model is told of its tools: beside the prompt (native), or in words where it or its server cannot take them."""

from __future__ import annotations

import asyncio
from typing import Literal

from shared import logs
from shared.agent_loop.prompt import ToolNotation
from shared.conversation import Message
from shared.errors import ModelFailed, ToolsRefused
from shared.models.model import LanguageModel
from shared.models.servers.turns import ToolSpec

Mode = Literal["auto", "native", "string", "schema"]
PROBE_SECONDS = 60.0
AWAIT_SECONDS = 10.0  # what a first question waits for the probe, which the same model answers before it
AWAIT_SHARE = 0.2  # of its time, at the most
_REPLY_TOKENS = 16
_QUESTION = "Say yes."
_TOOL = ToolSpec(
    "look_up",
    "Looks up what a word means.",
    {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)


class ToolMode:
    """What one agent's model takes, found out once and remembered while the process lives.

    `auto` is native until the server refuses tools (an error that says so), or until two small calls, with a tool and
    without, cost the same tokens: then the chat template drops tools without a word.
    """

    def __init__(self, mode: Mode = "auto") -> None:
        self._told: ToolNotation = "native" if mode == "auto" else mode
        self._open = mode == "auto"
        self._probe: asyncio.Task[None] | None = None

    def begin(self, model: LanguageModel) -> None:
        """Begins to find out, in the background."""
        if self._open and not model.scripted:
            self._probe = asyncio.create_task(self._find_out(model), name="model:tools")

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)

    async def told(self, *, seconds: float) -> ToolNotation:
        """How tools are told of; waits for what is being found out, within a share of `seconds`."""
        if self._probe is not None and not self._probe.done():
            await asyncio.wait({self._probe}, timeout=min(AWAIT_SECONDS, AWAIT_SHARE * seconds))
        return self._told

    def refused(self, failure: ModelFailed) -> bool:
        """Whether a call failed because tools came with it: from now on they are told of in words."""
        if self._open and isinstance(failure, ToolsRefused):
            self._in_words("the server refuses them")
            return True
        return False

    async def _find_out(self, model: LanguageModel) -> None:
        without = await self._tokens(model, [])
        if without and await self._tokens(model, [_TOOL]) == without:
            self._in_words("the model's chat template drops them")

    async def _tokens(self, model: LanguageModel, tools: list[ToolSpec]) -> int:
        """The tokens of a small prompt, guessed with its tools where the server does not count; 0 where it fails."""
        try:
            turn = await model.turn(
                instructions="",
                messages=[Message("user", _QUESTION)],
                tools=tools,
                seconds=PROBE_SECONDS,
                max_tokens=_REPLY_TOKENS,
            )
        except ModelFailed as failure:
            return 0 if self.refused(failure) else failure.usage.input_tokens
        return turn.usage.input_tokens

    def _in_words(self, why: str) -> None:
        if self._told == "native":
            logs.get().info("model.tools_in_words", why=why)
        self._told = "string"
