"""Tries a model out for `doctor`: is it there, its forms, tools, context and speed. As a module it prints JSON."""

from __future__ import annotations

import asyncio
import sys
import time

import httpx
from pydantic import BaseModel, Field

from shared import logs
from shared.agent_loop.tool_mode import AWAIT_SHARE, ToolMode
from shared.errors import ModelFailed
from shared.models.choice import choose_model
from shared.models.model import LanguageModel, models_from
from shared.models.warming import first_call, look
from shared.settings import ModelSettings

CHECKUP_SECONDS = 20.0
LIST_SECONDS = 3.0
MAX_NAMES = 200


class Checkup(BaseModel):
    """What was seen of a model; what could not be seen stays empty."""

    name: str
    url: str
    silent: str = ""  # why it cannot be asked
    names: list[str] = Field(default_factory=list)  # of the models that its server has
    format: str = ""  # json_schema, json_object or none
    shaped: bool = False  # an answer had the form that was asked for
    tools: str = ""  # native, or string where they have to be told in words
    context: int | None = None  # tokens
    reading: float | None = None  # tokens a second
    writing: float | None = None


class _Ready(BaseModel):
    ready: bool


async def checkup(settings: ModelSettings, *, seconds: float = CHECKUP_SECONDS) -> Checkup | None:
    """The model that the settings name, tried out within so many seconds; None where they name none."""
    found, model = choose_model(settings), models_from(settings)
    if found is None or model is None or model.server is None:
        return None
    seen = Checkup(name=found.name, url=found.url)
    try:
        async with asyncio.timeout(seconds):
            await _try_out(model, seen, local=found.local, seconds=seconds)
    except ModelFailed as failure:
        seen.silent = failure.detail
    except TimeoutError:
        if seen.reading is None:
            seen.silent = f"It did not answer within {seconds:.0f} s."
    finally:
        await model.aclose()
    return seen


async def _try_out(model: LanguageModel, seen: Checkup, *, local: bool, seconds: float) -> None:
    server = model.server
    assert server is not None
    seen.names = await _names(server.http, server.url, server.headers)
    await look(server, local=local)
    await first_call(server, seconds=seconds)
    now = time.monotonic()
    seen.reading, seen.writing = server.pace.reading(now), server.pace.writing(now)
    seen.context = server.known.context
    try:
        await model.structured(
            instructions="Are you ready?", data="Say whether you are.", shape=_Ready, seconds=seconds, max_tokens=24
        )
        seen.shaped = True
    except ModelFailed:
        seen.shaped = False
    seen.format = server.known.format
    mode = ToolMode("auto")
    mode.begin(model)
    seen.tools = await mode.told(seconds=seconds / AWAIT_SHARE)
    await mode.close()


async def _names(http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> list[str]:
    """The models that the server says it has; raises ModelFailed if the server is unreachable, or the key is wrong."""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            response = await http.get(f"{url}/models", headers=headers)
        found = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, TimeoutError) as exc:
        raise ModelFailed(f"{url} cannot be reached: {exc or 'no response'}.") from exc
    except ValueError:
        return []
    if response.status_code in (401, 403):
        raise ModelFailed(f"{url} rejects the key (HTTP {response.status_code}): see MODEL_API_KEY.")
    listed = found.get("data") if isinstance(found, dict) else None
    return [str(one["id"]) for one in listed or () if isinstance(one, dict) and "id" in one][:MAX_NAMES]


def main() -> None:
    """Prints what was seen as a line of JSON, `null` without a model; the argument is the seconds that it may take."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else CHECKUP_SECONDS
    with logs.quiet():
        seen = asyncio.run(checkup(ModelSettings(), seconds=seconds))
    print(seen.model_dump_json() if seen is not None else "null")


if __name__ == "__main__":
    main()
