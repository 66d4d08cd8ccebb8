"""Routes of the researcher besides its steps: what its index holds, and a passage in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from shared.errors import NotFound
from shared.report.sources import IndexState, PlacedPassage
from workers.providers.provider import Provider

if TYPE_CHECKING:
    from fastapi import APIRouter


class _Desk(Protocol):
    @property
    def provider(self) -> Provider: ...


def routes(desk: Callable[[], _Desk]) -> APIRouter:
    """The routes; `desk` is called for each request. Passages are known by evidence id, never by path."""
    from fastapi import APIRouter

    router = APIRouter(tags=["sources"])

    @router.get("/index")
    async def get_index() -> IndexState:
        """What is searched, and what of the folder is not; 404 where the provider keeps no index."""
        provider = desk().provider
        if (state := await provider.state()) is None:
            raise NotFound(f"SEARCH_PROVIDER={provider.name} keeps no index.")
        return state

    @router.get("/passages/{id}")
    async def get_passage(id: str) -> PlacedPassage:
        """A passage and its neighbours; 404 once its document changed or is gone, and for pages of the web."""
        if (place := await desk().provider.place(id)) is None:
            raise NotFound(f"There is no passage {id!r} now.")
        return place

    return router
