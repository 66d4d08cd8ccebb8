"""Who looks at the console: everybody where no key is set, else whoever has logged in with one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, quote

from fastapi import Depends, Request

from coordinator.access.caller import Caller
from coordinator.access.guard import caller_of
from coordinator.access.scopes import ALL, Scope
from coordinator.access.sessions import COOKIE, Session
from coordinator.api.dependencies import OpenServices, Services
from shared.errors import BadRequest, Forbidden, MusterError, ScopeRefused
from shared.server import bodies


class LogInFirst(MusterError):
    """The page needs a session; the answer leads to the log-in, and from there back to the page."""

    status, type, title = 303, "log_in_first", "Log in first"


@dataclass(frozen=True)
class Visitor:
    """`token` is what the forms of the visitor's pages carry; `session` is None where no key is set."""

    caller: Caller
    token: str
    session: Session | None = None

    @property
    def scopes(self) -> frozenset[Scope]:
        return self.caller.scopes

    @property
    def name(self) -> str:
        """The key's name, "" where there is none."""
        return self.caller.key or ""

    def need(self, scope: Scope) -> None:
        """Raises `ScopeRefused` for a key without this scope."""
        if scope not in self.scopes:
            raise ScopeRefused(f"This page needs the scope {scope}; the key {self.name!r} does not have it.")


def find_visitor(request: Request, services: Services) -> Visitor | None:
    """Who asks; None for somebody who has to log in."""
    sessions, address = services.sessions, caller_of(request.scope).address
    if not sessions.wanted:
        return Visitor(Caller(None, address, ALL), sessions.form_token(None))
    session = sessions.find(request.cookies.get(COOKIE, ""))
    if session is None:
        return None
    key = session.key
    return Visitor(Caller(key.name, address, key.scopes, key.owner), sessions.form_token(session), session)


async def _get_reader(request: Request, services: OpenServices) -> Visitor:
    """Somebody who may look; raises `LogInFirst` and `ScopeRefused`."""
    visitor = find_visitor(request, services)
    if visitor is None:
        back = request.scope["path"] + (f"?{request.url.query}" if request.url.query else "")
        to = f"?to={quote(back)}" if request.method == "GET" and back.rstrip("/") != "/console" else ""
        raise LogInFirst("Log in with a key.", headers={"Location": f"/console/login{to}"})
    visitor.need(Scope.READ)
    return visitor


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form; raises `BadRequest` for what is none, and `TooLarge`."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadRequest("This is no form.")
    try:
        fields = parse_qs(
            (await bodies.read(request)).decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError as exc:
        raise BadRequest("The form cannot be read.") from exc
    return {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}


def check_token(form: Mapping[str, str], token: str) -> None:
    """Raises `Forbidden` for a form that did not come from one of the visitor's own pages."""
    if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
        raise Forbidden("This form is too old, or came from another page. Load the page again, and send it again.")


def make_key(form: Mapping[str, str], digest: str) -> str:
    """The idempotency key of what a page asks for: the page sent twice is one task, with other content another one."""
    return f"console:{hashlib.sha256((form.get('once', '') + digest).encode()).hexdigest()}"


Reader = Annotated[Visitor, Depends(_get_reader)]
