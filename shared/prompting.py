"""PURE: the system prompt of an agent: its instructions, what it may call, and what the user's own prompt adds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from shared.actions import PREFIX
from shared.models.fence import DATA_RULE
from shared.models.turns import ToolSpec

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARACTERS = 64  # of a function, for OpenAI
_TASK = {"type": "string", "description": "What to do, with everything the agent needs to know."}
_TASKS = {"type": "object", "properties": {"task": _TASK}, "required": ["task"], "additionalProperties": False}


def tool_name(agent: str) -> str:
    """The name of the tool that delegates to an agent, as models may call it."""
    return _NOT_IN_A_NAME.sub("_", f"{PREFIX}{agent}")[:_NAME_CHARACTERS]


def tool_names(agents: Iterable[str]) -> dict[str, str]:
    """Agents by the names of their tools; a number tells those apart that would have the same."""
    found: dict[str, str] = {}
    for agent in dict.fromkeys(agents):
        name, number = tool_name(agent), 1
        while name in found:
            number += 1
            name = f"{tool_name(agent)[: _NAME_CHARACTERS - 4]}_{number}"
        found[name] = agent
    return found


def delegating(agent: str, description: str, *, tool: str | None = None) -> ToolSpec:
    """The tool that delegates to an agent, under its own name or another one."""
    return ToolSpec(tool or tool_name(agent), f"Delegates a task to agent {agent}. {description}".strip(), _TASKS)


def instructed(name: str, instructions: str, *, specs: Sequence[ToolSpec], native: bool, system: str) -> str:
    """The system prompt; with `native` the tools travel beside it, else it says how to write a call."""
    parts = [f"## Agent System Prompt\nYou are {name}.\n{instructions.strip()}"]
    if specs:
        parts.append(DATA_RULE)
    if specs and not native:
        listed = "\n".join(f"- {s.name}: {s.description} Arguments: {json.dumps(s.schema)}" for s in specs)
        how = '{"tool_calls": [{"id": "1", "name": "<name>", "arguments": {}}]}'
        parts.append(
            f"## Available Tools\n{listed}\n\nTo call some, answer with this JSON and nothing else:\n{how}\n"
            "You will be told the results. When you need none, answer in plain words."
        )
    if system.strip():
        parts.append(
            f"## User-Provided System Prompt\n{system.strip()}\n\n"
            "Where it contradicts the agent's prompt above, the agent's prompt takes precedence."
        )
    return "\n\n".join(parts)
