"""The generic agent: a name, instructions, a model, agents to ask and tools, by environment alone."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import JsonValue
from pydantic_core import to_json

from shared import logs
from shared.answering import Ask, Message, Skill, spoken
from shared.contracts import StepRequest
from shared.definition import Agent, Context, Reply
from shared.delegation import Loop
from shared.errors import MusterError
from shared.llm import LanguageModel, fenced, models_from
from shared.memory import Limits, Memory
from shared.peers import CoordinatorPeers, DirectPeers, NoPeers
from shared.prompting import delegating
from shared.remembering import Remembering
from shared.serve import advertised, arguments, listening, load_settings, serve
from shared.settings import ModelSettings
from shared.tools import McpTools
from workers.agent_settings import GenericSettings

if TYPE_CHECKING:
    from fastapi import FastAPI
