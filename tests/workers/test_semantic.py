"""What SEMANTIC promises where the packages that it needs are not there, or it is not set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.report.model import Evidence
from workers.semantic import minilm
from workers.semantic.passages import reorder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("worker", ["researcher", "analyzer"])
def test_a_service_that_lacks_its_packages_refuses_to_start(worker, tmp_path):
    """In a sentence that says what is missing and what to do, with the exit code of a start that no retry mends."""
    code = (
        "import runpy; from workers.semantic import minilm; minilm.PACKAGES = ('pydantic', 'not_there')\n"
        f"runpy.run_module('workers.{worker}', run_name='__main__', alter_sys=True)"
    )
    environment = os.environ | {"SEMANTIC": "true", "STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "--port", "0"]

    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=30, check=False)

    assert run.returncode == 2
    assert run.stderr.startswith("SEMANTIC is set, but these packages are not installed: not_there. Install them with ")
    assert "Traceback" not in run.stdout + run.stderr


def test_nothing_loads_where_it_is_off():
    """Nothing of it is loaded where it is not set."""
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

    found = reorder([words, both, neither], [0.1, 0.6, 0.2])

    assert [one.id for one in found] == ["both", "words", "neither"]
    assert found[0].score == 0.8
