"""The runners of others' kits load: a kit that is not on this machine must not hide that its runner is broken."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize("runner", ["run_kaos", "run_mcp", "run_tck", "run_versions"])
def test_runner_loads(runner: str) -> None:
    assert importlib.import_module(f"tests.conformance.{runner}").main
