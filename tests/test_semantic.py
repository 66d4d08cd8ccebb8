"""What SEMANTIC promises where the packages that it needs are not there, or it is not set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.report import Evidence
from shared.settings import SemanticSettings
from workers import analyzer, researcher
from workers.semantic import minilm
from workers.semantic.passages import ordered
from workers.semantic.reranker import NotInstalled

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("worker", [researcher, analyzer])
async def test_a_service_that_lacks_its_packages_refuses_to_start(worker, tmp_path, monkeypatch):
    """The sentence says what is missing, and what to do."""
    monkeypatch.setattr(minilm, "PACKAGES", ("pydantic", "not_there"))
    agent = worker.agent(tmp_path, semantic=SemanticSettings(semantic=True))

    with pytest.raises(NotInstalled, match=r"not installed: not_there\. Install .* requirements-semantic\.txt"):
        async with agent.open():
            pass


def test_nothing_of_it_is_loaded_where_it_is_not_set():
    code = f"import sys, workers.researcher, workers.analyzer; print(set(sys.modules) & set({minilm.PACKAGES!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)

    assert run.stdout == "set()\n"


def test_every_package_that_is_asked_for_is_pinned():
    pinned = (ROOT / "requirements-semantic.txt").read_text(encoding="utf-8")

    assert [name for name in minilm.PACKAGES if f"\n{name.replace('_', '-')}==" not in pinned] == []


def test_words_and_meaning_count_together():
    words, both, neither = (
        Evidence(id=name, title="", location="", excerpt="", provider="local", score=score)
        for name, score in (("words", 0.8), ("both", 0.6), ("neither", 0.2))
    )

    found = ordered([words, both, neither], [0.1, 0.6, 0.2])

    assert [one.id for one in found] == ["both", "words", "neither"]
    assert found[0].score == 0.8
