"""KAOS's answers as the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from shared.server.openapi import Described


class KaosSkill(Described):
    name: str
    description: str
    inputSchema: dict[str, JsonValue]


class KaosCard(Described):
    name: str
    description: str
    url: str
    skills: list[KaosSkill]
    capabilities: list[str]


class NewerKaosCard(Described):
    name: str
    description: str
    url: str
    skills: list[KaosSkill]
    capabilities: dict[str, bool]
    protocolVersion: str
    supportedProtocols: list[str]
    version: str


class Tools(Described):
    agent: str
    tools: list[dict[str, JsonValue]]
    total: int


class MemoryEvent(Described):
    event_id: str
    timestamp: datetime
    event_type: str
    content: JsonValue
    metadata: dict[str, JsonValue]
    session_id: str


class EventPage(Described):
    agent: str
    events: list[MemoryEvent]
    total: int
    next_cursor: str | None


class SessionPage(Described):
    agent: str
    sessions: list[str]
    total: int
    next_cursor: str | None
