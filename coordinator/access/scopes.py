"""PURE: what a key may open: five scopes, and which of them each route asks for."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Scope(StrEnum):
    """One word of a key's permission. None includes another."""

    EXECUTE = "execute"  # run and cancel tasks, chat, speak A2A and MCP, call agents through the gateway
    READ = "read"  # look at tasks, agents, conversations and figures
    REGISTER = "register"  # register agents, send their heartbeats, withdraw them, and delegate for them
    UPLOAD = "upload"  # send and remove documents
    ADMIN = "admin"  # withdraw any agent, and read who did what


ALL = frozenset(Scope)
WORKER = frozenset({Scope.REGISTER})
_ANY_OF_TWO = frozenset({Scope.EXECUTE, Scope.READ})
_DESCRIPTIONS = ("/v1/models", "/.well-known/", "/docs", "/openapi.json")  # what a caller needs to know to call


def accepted(method: str, path: str) -> frozenset[Scope]:
    """The scopes of which a key needs one for this route."""
    if path in ("/register_agent", "/reach_agent", "/delegate"):
        return WORKER
    if method in ("DELETE", "PATCH") and path.startswith("/agents/") and path.count("/") == 2:
        return frozenset({Scope.REGISTER, Scope.ADMIN})
    if path == "/documents" or path.startswith("/documents/"):
        return frozenset({Scope.READ, Scope.UPLOAD} if method in READING else {Scope.UPLOAD})
    if method not in READING:
        return frozenset({Scope.EXECUTE})
    if path == "/audit":
        return frozenset({Scope.ADMIN})
    return _ANY_OF_TWO if path.startswith(_DESCRIPTIONS) else frozenset({Scope.READ})


def is_for_people(method: str, path: str) -> bool:
    """Whether a request is for the console, which has a log-in of its own."""
    return path == "/console" or path.startswith("/console/") or (path == "/" and method in READING)


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes that these words name; raises `ValueError` with a sentence for a wrong one, or for none at all."""
    known = {scope.value for scope in Scope}
    found = [word.strip() for word in words if word.strip()]
    for word in found:
        if word not in known:
            raise ValueError(f"{word!r} is not a scope. Scopes are {', '.join(sorted(known))}.")
    if not found:
        raise ValueError("A key needs at least one scope.")
    return frozenset(Scope(word) for word in found)
