"""What a service has loaded when it starts: `python -m load.start` measures what that saves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.fakes import ROOT

NEVER = {"rich", "pygments", "aiohttp", "pydantic_ai", "openai", "mcp", "a2a", "google", "typer", "yaml", "onnxruntime"}


def said(code: str) -> list[str]:
    """The words that Python code prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "imports",
    [
        "from shared.server.loading import load_libraries; load_libraries(); import coordinator.app, shared.server.run",
        "import workers.researcher, shared.worker.main",
        "import workers.analyzer, shared.worker.main",
        "import workers.reporter, shared.worker.main",
    ],
)
def test_a_start_loads_nothing_that_only_some_requests_need(imports):
    modules = set(said(f"import sys; {imports}; print(*sys.modules)"))

    assert {"fastapi", "httpx", "structlog", "uvicorn"} <= modules
    assert modules & NEVER == set()


def test_what_was_spared_is_there_for_whoever_wants_it():
    """An agent's author may use rich, a model is built where it is defined, and `/docs` has its document."""
    code = """
from shared.server.loading import load_libraries
load_libraries()
import fastapi.openapi.models, pydantic, rich.console
class Own(pydantic.BaseModel):
    x: int
print(fastapi.openapi.models.OpenAPI.__pydantic_complete__, Own.__pydantic_complete__)
print(fastapi.FastAPI().openapi()["openapi"])
"""
    assert said(code) == ["False", "True", "3.1.0"]
