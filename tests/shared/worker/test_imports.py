"""Imports that users have copied from older READMEs go on working."""

from __future__ import annotations

import pytest

OLD = """
from shared.contracts import Missing, StepRequest
from shared.definition import Agent, Context, Reply
from shared.errors import WorkerFault
from shared.serve import serve_worker
from shared.settings import WorkerSettings
from shared.worker import create_worker_app
"""
NOW = """
from shared.worker import Agent, Context, Missing, Reply, StepRequest, Usage
from shared.worker import WorkerFault, create_worker_app, note, serve_worker
"""


@pytest.mark.parametrize("text", [OLD, NOW])
def test_a_workers_imports(text: str) -> None:
    names: dict[str, object] = {}
    exec(text, names)

    agent = names["Agent"](name="n", description="d", capabilities=("c",), run=None)  # type: ignore[operator]
    assert agent.name == "n"
    assert names["Reply"] is not None
    assert callable(names["serve_worker"])
    assert callable(names["create_worker_app"])
