"""A provider whose searches pass by the tape of the step, and the one whose searches are all in the record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from shared.agent import Context
from shared.errors import Unavailable
from shared.recording.tape import TAPE, exchange
from shared.report.sources import IndexState, PlacedPassage
from workers.providers.found import Found
from workers.providers.provider import Provider, SearchRequest


@dataclass(frozen=True)
class Taped:
    """Any provider; without a tape it costs one look."""

    provider: Provider

    @property
    def name(self) -> str:
        return self.provider.name

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        found: Found | None = None

        async def do() -> Any:
            nonlocal found
            found = await self.provider.search(ask, ctx)
            return _write(found)

        if TAPE.get() is None:
            return await self.provider.search(ask, ctx)
        told = await exchange("search", lambda: asdict(ask), do)
        return found if found is not None else _read(told)

    async def state(self) -> IndexState | None:
        return await self.provider.state()

    async def place(self, id: str) -> PlacedPassage | None:
        return await self.provider.place(id)


@dataclass(frozen=True)
class Absent:
    """The provider of a replay, by its name: whatever it is asked is in the record."""

    name: str

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        raise Unavailable("A replay searches in the record only.")

    async def state(self) -> None:
        """Nothing is kept here."""

    async def place(self, id: str) -> None:
        """Nothing is kept here."""


@cache
def _adapter() -> TypeAdapter[Found]:
    """Made at the first recording: it takes a millisecond."""
    return TypeAdapter(Found)


def _write(found: Found) -> Any:
    return _adapter().dump_python(found, mode="json")


def _read(told: Any) -> Found:
    return _adapter().validate_python(told)
