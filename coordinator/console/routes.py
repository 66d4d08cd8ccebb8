"""The console's routes, mounted into the coordinator's app before those of the API."""

from __future__ import annotations

from functools import partial

from fastapi import Response

from coordinator.api.dependencies import Services
from coordinator.console import agents, api_docs, ask, assets, entrance, health, numbers, uploads
from coordinator.console.live import Live
from coordinator.console.pages import View, render_page
from coordinator.console.showing import LIVE
from coordinator.console.spent import SPENT, Spent
from coordinator.console.tasks import routes as tasks
from coordinator.console.visitor import LogInFirst
from shared.errors import MusterError
from shared.server.app import App


def mount(app: App[Services], *, base: str) -> None:
    """Adds every page, and the way in which errors below them are shown; loads nothing."""
    live = Live(fail=app.fail)
    spent = Spent(fail=app.fail)
    app.openings += (live.open, spent.open)
    setattr(app.state, LIVE, live)
    setattr(app.state, SPENT, spent)
    for part in (entrance, assets, ask, uploads, tasks, agents, numbers, health, api_docs):
        app.add_routes(part.router)
    app.error_forms["/console"] = partial(show_error, base=base)


def show_error(error: MusterError, *, base: str) -> Response:
    """An error as a page; who has to log in is led there."""
    if isinstance(error, LogInFirst):
        return Response(status_code=error.status, headers=error.headers)
    view = View("error.html", error.title, "none", {"error": error})
    answer = render_page(view, None, base=base, status=error.status)
    answer.headers.update(error.headers)
    return answer
