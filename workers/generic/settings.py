"""The generic agent's settings: its name, the agents it may ask, its tools."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Self

from dotenv import dotenv_values
from pydantic import Field, model_validator

from shared.contracts import NAME
from shared.settings import WorkerSettings
from shared.urls import is_http_url

_NAME = re.compile(NAME)
_CARD = re.compile(r"/\.well-known/agent(-card)?(\.json)?/?\Z")


class GenericSettings(WorkerSettings):
    """What `python -m workers.agent` reads besides: KAOS's names where KAOS has one."""

    agent_name: str | None = Field(None, description="The generic agent's name; required.")
    agent_description: Annotated[str, Field(max_length=500)] = Field(
        "AI Agent", description="What the generic agent is for; shown in its card and to other agents' models."
    )
    agent_instructions: str = Field(
        "You are a helpful assistant.", description="The instructions of the generic agent's model."
    )
    agent_capabilities: str = Field(
        "",
        description="The generic agent's capabilities, comma-separated; unset: plans ask for it by name only.",
    )
    agent_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        8_000, description="The generic agent's port, unless `--port` sets one."
    )
    agent_sub_agents: str = Field(
        "", description="Agents that it may ask: `name:url,name:url`; overrides `PEER_AGENTS`."
    )
    peer_agents: str = Field(
        "", description="Names of these agents, comma-separated, each with its URL in `PEER_AGENT_<NAME>_CARD_URL`."
    )
    mcp_servers: str = Field(
        "", description="MCP servers, comma-separated, each with its URL in `MCP_SERVER_<NAME>_URL`."
    )
    agentic_loop_max_steps: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="Most replies of the model to one question."
    )
    memory_context_limit: Annotated[int, Field(ge=0, le=1_000)] = Field(
        6, description="Messages that are passed on with a delegation."
    )
    memory_context_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        2_000, description="Tokens of a session's earlier turns that the model is shown again."
    )

    @model_validator(mode="after")
    def _can_begin(self) -> Self:
        if not self.agent_name:
            raise ValueError("AGENT_NAME must be set: the agent's name")
        for setting, names in (("AGENT_NAME", [self.agent_name]), ("AGENT_CAPABILITIES", self.capabilities)):
            if wrong := [name for name in names if not _NAME.match(name)]:
                raise ValueError(
                    f"{setting}: {wrong[0]!r} is not a valid name: letters, digits, '.', '_' and '-', at most 63"
                )
        if len(self.capabilities) > 64:
            raise ValueError("AGENT_CAPABILITIES: at most 64")
        self.peers(), self.tool_servers()
        return self

    @property
    def name(self) -> str:
        """The agent's name, which is set."""
        return self.agent_name or ""

    @property
    def capabilities(self) -> tuple[str, ...]:
        return _parse_list(self.agent_capabilities)

    def peers(self) -> dict[str, str | None]:
        """The base URL of each agent that it may ask, None for one that only the coordinator knows.

        Raises ValueError for an unknown name and for an invalid URL.
        """
        if self.agent_sub_agents.strip():
            pairs = [entry.partition(":") for entry in _parse_list(self.agent_sub_agents)]
            return {name.strip(): _base(url, "AGENT_SUB_AGENTS", entry=name) for name, _, url in pairs}
        environ = _environ()
        return {name: self._peer(name, environ) for name in _parse_list(self.peer_agents)}

    def tool_servers(self) -> dict[str, str]:
        """The endpoint of each MCP server by its name; raises ValueError."""
        environ, found = _environ(), dict[str, str]()
        for name in _parse_list(self.mcp_servers):
            settings = (f"MCP_SERVER_{name}_URL".upper(), f"MCP_SERVER_{_upper(name)}_URL")
            url = next((environ[setting] for setting in settings if environ.get(setting)), None)
            if url is None:
                raise ValueError(f"{settings[1]} must be set: MCP_SERVERS names {name!r}")
            base = _base(url, settings[1])
            found[name] = base if base.endswith("/mcp") else f"{base}/mcp"
        return found

    def _peer(self, name: str, environ: Mapping[str, str]) -> str | None:
        setting = f"PEER_AGENT_{_upper(name)}_CARD_URL"
        if url := environ.get(setting):
            return _base(url, setting)
        if self.coordinator_url is None:
            raise ValueError(f"{setting} must be set: PEER_AGENTS names {name!r}, and there is no COORDINATOR_URL")
        return None


def _parse_list(text: str) -> tuple[str, ...]:
    """`a, b` or `[a,b]`, each once."""
    entries = (entry.strip().strip("\"'") for entry in text.strip().removeprefix("[").removesuffix("]").split(","))
    return tuple(dict.fromkeys(entry for entry in entries if entry))


def _upper(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _environ() -> dict[str, str]:
    """The environment over `.env`, in capitals: the names of settings that carry an agent's name are known only now."""
    found = {**dotenv_values(".env"), **os.environ}
    return {name.upper(): value for name, value in found.items() if value}


def _base(url: str, setting: str, *, entry: str = "") -> str:
    """A base URL, also from a card's; raises ValueError."""
    url = url.strip()
    if not is_http_url(url):
        where = f"{entry}: " if entry else ""
        raise ValueError(f"{setting}: {where}{url!r} is not an http:// or https:// URL with a host")
    return _CARD.sub("", url).rstrip("/")
