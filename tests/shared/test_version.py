"""One version everywhere, and the revision that an image was built from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from shared.version import VERSION, revision
from tests.support.fakes import Network, Suite

ROOT = Path(__file__).parents[2]


def test_project_and_image_have_the_same_version():
    """What `/health` says is what the image is tagged with."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == [VERSION]


async def test_health_says_version_and_revision(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_REVISION", "9fc31975d0c2")

    async with Suite(network) as suite:
        health = (await suite.client.get("/health")).json()

    assert (health["version"], health["revision"]) == (VERSION, "9fc31975d0c2")


def test_a_checkout_does_not_know_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSTER_REVISION", raising=False)

    assert revision() == "unknown"
