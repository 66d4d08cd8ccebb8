"""An agent's tools by the tape of its step: what there was to call, what was called, and what it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pydantic import JsonValue

from shared.agent_loop.mcp_tools import AgentTools
from shared.models.servers.turns import ToolSpec
from shared.recording.tape import TAPE, exchange, read


class TapedTools:
    """Any tools; without a tape they cost one look."""

    def __init__(self, tools: AgentTools) -> None:
        self._tools = tools

    async def specs(self) -> Sequence[ToolSpec]:
        if TAPE.get() is None:
            return await self._tools.specs()

        async def do() -> list[dict[str, JsonValue]]:
            return [asdict(spec) for spec in await self._tools.specs()]

        return [ToolSpec(**told) for told in await exchange("tools", lambda: None, do)]

    def away(self) -> Mapping[str, str]:
        return read("tools_away", lambda: dict(self._tools.away()))

    async def call(self, name: str, arguments: Mapping[str, JsonValue], *, seconds: float) -> JsonValue:
        async def do() -> JsonValue:
            return await self._tools.call(name, arguments, seconds=seconds)

        given: JsonValue = await exchange("tool", lambda: {"name": name, "arguments": dict(arguments)}, do)
        return given


class NoTools:
    """None are here: in a replay all are in the record."""

    async def specs(self) -> Sequence[ToolSpec]:
        return ()

    def away(self) -> Mapping[str, str]:
        return {}

    async def call(self, name: str, arguments: Mapping[str, JsonValue], *, seconds: float) -> JsonValue:
        return None
