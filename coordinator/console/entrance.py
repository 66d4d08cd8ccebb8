"""The way in: the address without a path, the log-in with a key, and the log-out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import RedirectResponse

from coordinator.access.caller import Caller
from coordinator.access.guard import caller_of
from coordinator.access.sessions import COOKIE, SESSION_SECONDS
from coordinator.api.dependencies import OpenServices, Services
from coordinator.console.pages import View, render_page
from coordinator.console.visitor import check_token, find_visitor, read_form

router = APIRouter(include_in_schema=False)
HOME = "/console/"
POINTERS = {"console": HOME, "documentation": "/docs", "ask": "POST /execute_task", "health": "/health"}


@router.get("/")
async def get_root(request: Request, services: OpenServices, accept: Annotated[str, Header()] = "") -> Response:
    """A browser comes to the console, or to its log-in; a program gets JSON that says where things are."""
    if "text/html" not in accept:
        base = services.settings.base_path
        return Response(
            "{" + ", ".join(f'"{name}": "{_below(base, where)}"' for name, where in POINTERS.items()) + "}\n",
            media_type="application/json",
        )
    return _see(HOME) if find_visitor(request, services) else _show_log_in(services, to=HOME)


@router.get("/console")
async def get_without_slash() -> Response:
    """The address as people type it."""
    return _see(HOME)


@router.get("/console/login")
async def get_log_in(request: Request, services: OpenServices, to: str = HOME) -> Response:
    """The log-in, for whoever is not in yet."""
    return _see(_own(to)) if find_visitor(request, services) else _show_log_in(services, to=_own(to))


@router.post("/console/login")
async def log_in(request: Request, services: OpenServices) -> Response:
    """Takes a key and leads to where the visitor wanted to go."""
    form = await read_form(request)
    check_token(form, services.sessions.form_token(None))
    caller = caller_of(request.scope)
    cookie = services.sessions.begin(form.get("key", "").strip())
    if cookie is None:
        services.audit.write("key_refused", caller, method="POST", path="/console/login", sent=bool(form.get("key")))
        return _show_log_in(services, to=_own(form.get("to", HOME)), wrong=True)
    session = services.sessions.find(cookie)
    services.audit.write("console_login", Caller(session.key.name if session else None, caller.address))
    answer = _see(_own(form.get("to", HOME)))
    _set_cookie(answer, request, services, cookie, seconds=int(SESSION_SECONDS))
    return answer


@router.post("/console/logout")
async def log_out(request: Request, services: OpenServices) -> Response:
    """Ends the session."""
    visitor = find_visitor(request, services)
    answer = _see("/console/login")
    if visitor is not None and visitor.session is not None:
        check_token(await read_form(request), visitor.token)
        services.sessions.end(visitor.session)
        _set_cookie(answer, request, services, "", seconds=0)
    return answer


def _show_log_in(services: Services, *, to: str, wrong: bool = False) -> Response:
    values = {"to": to, "wrong": wrong, "token": services.sessions.form_token(None)}
    view = View("login.html", "Log in", "", values)
    return render_page(view, None, base=services.settings.base_path, status=403 if wrong else 200)


def _set_cookie(answer: Response, request: Request, services: Services, value: str, *, seconds: int) -> None:
    """Scripts never see it, other sites never send it, and where the page came encrypted it only goes encrypted."""
    safe = request.url.scheme == "https" or (services.settings.public_url or "").startswith("https:")
    path = services.settings.base_path or "/"
    answer.set_cookie(COOKIE, value, max_age=seconds, path=path, secure=safe, httponly=True, samesite="lax")


def _own(address: str) -> str:
    """An address of the console: nobody is led elsewhere."""
    return address if address.startswith("/console") and "\\" not in address and "//" not in address else HOME


def _see(address: str) -> Response:
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})


def _below(base: str, where: str) -> str:
    verb, _, path = where.rpartition(" ")
    return f"{verb} {base}{path}".strip()
