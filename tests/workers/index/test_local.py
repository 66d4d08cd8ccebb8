"""A folder of documents answers questions: best first, with places to look, and true to the folder as it changes."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared import logs
from shared.errors import WorkerFault
from shared.limits.envelope import Envelope
from workers.index import store
from workers.providers import local
from workers.providers.local import Local
from workers.providers.provider import SearchRequest
from workers.reading import files

TIDES = """# Tides

## Spring tides

A spring tide comes shortly after a new or full moon. The sun and the moon then pull in one line.
Its range is larger than usual.

## Neap tides

A neap tide comes after a quarter moon. Its range is small.
"""
BOATS = """<title>Boats</title><main><h1>Boats</h1><p>A boat floats on the tide.</p>
<h2 id="knots">Knots</h2><p>The bowline makes a loop that does not slip. Sailors moor boats with it.</p></main>"""


@dataclass
class Step:
    """A context that remembers what it was told."""

    seconds: float = 30.0
    http: object = None
    state: object = None
    log: object = field(default_factory=logs.get)
    ask: object = None
    envelope: Envelope = field(default_factory=lambda: Envelope(task="t", step="s", attempt=1, milliseconds=30_000))
    told: list[tuple[str, float | None]] = field(default_factory=list)

    def seconds_left(self) -> float:
        return self.seconds

    async def progress(self, message: str, fraction: float | None = None) -> None:
        self.told.append((message, fraction))

    async def say(self, text: str) -> None: ...


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def time_enough(monkeypatch) -> None:
    """Other programs may be what makes a look for changes, or reading them, take long."""
    monkeypatch.setattr(local, "LOOK_SECONDS", 30.0)
    monkeypatch.setattr(local, "READ_SECONDS", 30.0)


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tides.md").write_text(TIDES, encoding="utf-8")
    (folder / "boats.html").write_text(BOATS, encoding="utf-8")
    return folder


async def ask(docs: Path, tmp_path: Path, question: str, **wish):
    async with local.open_local(docs, tmp_path / "state") as provider:
        return await provider.search(SearchRequest(question, wish.pop("limit", 8), **wish), Step())


async def test_evidence_says_what_and_where(docs, tmp_path):
    """The passage, its title, section, place with anchor, excerpt and score; and what was searched."""
    found = await ask(docs, tmp_path, "When does a spring tide come?")

    first = found.evidence[0]
    assert first.location == "tides.md#spring-tides"
    assert (first.title, first.heading, first.provider) == ("Tides", "Spring tides", "local")
    assert first.excerpt.startswith("A spring tide comes shortly after a new or full moon.")
    assert first.text.endswith("Its range is larger than usual.")
    assert first.question == "When does a spring tide come?"
    assert 0.9 <= first.score <= 1
    assert found.searched == f"4 passages in 2 documents below {docs}"
    assert found.notes == []


async def test_same_passage_has_the_same_id_in_every_step(docs, tmp_path):
    one = await ask(docs, tmp_path, "spring tide")
    other = await ask(docs, tmp_path, "What comes after a new moon?")

    assert one.evidence[0].id == other.evidence[0].id
    assert len({each.id for each in one.evidence}) == len(one.evidence)


@pytest.mark.parametrize(
    "question", ["C++", "AND", "a-b", "x.y", '""', "NEAR(", "tide*", "body:tide", "'; DROP TABLE page; --", "(", "^"]
)
async def test_no_question_is_syntax(docs, tmp_path, question):
    found = await ask(docs, tmp_path, question)

    assert found.searched.startswith("4 passages")


@pytest.mark.parametrize("question", ["zebra quux", "¿?", "...", "🐙"])
async def test_finding_nothing_is_a_result(docs, tmp_path, question):
    found = await ask(docs, tmp_path, question)

    assert found.evidence == []
    assert found.searched == f"4 passages in 2 documents below {docs}"


async def test_one_common_word_is_thin_evidence(docs, tmp_path):
    """Scores are low and the words that nobody has are told, rather than junk at full score."""
    found = await ask(docs, tmp_path, "Which boat insurance pays after collisions with ferries abroad?")

    assert all(each.score < 0.4 for each in found.evidence)
    assert "insurance" in [word.word for word in found.words if not word.passages]


async def test_only_chosen_documents_are_searched(docs, tmp_path):
    found = await ask(docs, tmp_path, "tide moon boat", documents=("*.html", "nothing/*"))

    assert {each.location.partition("#")[0] for each in found.evidence} == {"boats.html"}
    assert found.searched == f"2 passages in 1 document below {docs}"
    assert [(each.what, each.why) for each in found.missing] == [
        ("nothing/*", f"there is no document at this path below {docs}")
    ]


async def test_sibling_steps_share_no_passage(docs, tmp_path):
    """Each passage goes to the question that ranks it best; asked by different instances, in whatever order."""
    for number in range(30):
        (docs / f"log{number}.md").write_text(f"# Log {number}\n\nThe spring tide lifts boat {number} at the quay.\n")
    siblings = ("spring tide", "boat at the quay", "spring tide")

    found = [
        await ask(docs, tmp_path / str(index), question, siblings=siblings, index=index, limit=50)
        for index, question in enumerate(siblings)
    ]

    ids = [{each.id for each in each_found.evidence} for each_found in found]
    assert ids[0]
    assert ids[1]
    assert not ids[0] & ids[1]
    assert ids[2] == set()  # the same question again: the lower index has it all


async def test_first_sources_are_of_several_pages(tmp_path):
    """A page that would fill the list gets three of the first eight places."""
    folder = tmp_path / "docs"
    folder.mkdir()
    many = "\n".join(f"## Tide {number}\n\nThe tide of day {number} is high.\n" for number in range(12))
    (folder / "many.md").write_text("# High tide\n\n" + many)
    for number in range(6):
        (folder / f"one{number}.md").write_text(f"# Harbour {number}\n\nHere the tide is high on day {number}.\n")

    found = await ask(folder, tmp_path, "high tide")

    pages = [each.location.partition("#")[0] for each in found.evidence]
    assert len(pages) == 8
    assert pages.count("many.md") == 3
    assert [each.score for each in found.evidence] == sorted((each.score for each in found.evidence), reverse=True)


async def test_one_document_alone_may_fill_the_list(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    parts = "\n".join(f"## Day {number}\n\nThe tide of day {number} is high.\n" for number in range(12))
    (folder / "one.md").write_text("# Log\n\n" + parts)

    found = await ask(folder, tmp_path, "high tide", limit=6)

    assert len(found.evidence) == 6


async def test_repeated_text_is_shown_once(docs, tmp_path):
    (docs / "copy.md").write_text(TIDES)

    found = await ask(docs, tmp_path, "spring tide")

    assert len({each.text for each in found.evidence}) == len(found.evidence)


async def test_saved_file_is_found_by_the_next_question(docs, tmp_path):
    """A file just saved is found by the next question."""
    async with local.open_local(docs, tmp_path / "state") as provider:
        await provider.search(SearchRequest("tide", 8), Step())
        (docs / "tides.md").write_text("# Whales\n\nA whale sings at night.\n")
        (docs / "boats.html").unlink()
        (docs / "new.txt").write_text("A walrus sleeps on the ice.\n")
        found = await provider.search(SearchRequest("whale walrus", 8), Step())

    assert {each.location for each in found.evidence} == {"tides.md#whales", "new.txt"}
    assert found.searched == f"2 passages in 2 documents below {docs}"
    assert found.notes == []


async def test_looking_takes_a_part_of_the_time_only(docs, tmp_path):
    """Questions that come one after another share a look, for four times as long as it took."""
    clock = Clock()
    async with local.open_local(docs, tmp_path / "state", now=clock) as provider:
        await provider.search(SearchRequest("tide", 8), Step())
        provider.progress.look_seconds = 1.0
        (docs / "new.txt").write_text("A walrus sleeps on the ice.\n")
        sooner = await provider.search(SearchRequest("walrus", 8), Step())
        clock.seconds += 1.0 * local.PAUSE
        later = await provider.search(SearchRequest("walrus", 8), Step())

    assert sooner.evidence == []
    assert [each.location for each in later.evidence] == ["new.txt"]


async def test_a_look_that_takes_long_is_not_waited_for(docs, tmp_path, monkeypatch):
    """The index answers, and says as of when; a question later finds what was saved."""
    async with local.open_local(docs, tmp_path / "state") as provider:
        await provider.search(SearchRequest("tide", 8), Step())
        look, slow = files.look, threading.Event()
        monkeypatch.setattr(files, "look", lambda folder: slow.wait(20) and look(folder))
        monkeypatch.setattr(local, "LOOK_SECONDS", 0.2)
        (docs / "new.txt").write_text("A walrus sleeps on the ice.\n")
        began = time.monotonic()
        found = await provider.search(SearchRequest("spring tide", 8), Step())
        took = time.monotonic() - began
        slow.set()
        await provider.refreshing()
        later = await provider.search(SearchRequest("walrus", 8), Step())

    assert found.evidence
    assert re.fullmatch(r"As of \d\d:\d\d; checking for changes takes longer than 0\.2 s\.", found.notes[-1])
    assert took < 10
    assert [each.location for each in later.evidence] == ["new.txt"]


async def test_absent_folder_is_answered_from_the_index(docs, tmp_path):
    """Nothing is wiped, the note says so, also after a start of the service; back again, it is looked at again."""
    await ask(docs, tmp_path, "tide")
    docs.rename(tmp_path / "away")
    away = await ask(docs, tmp_path, "spring tide")
    (tmp_path / "away").rename(docs)
    back = await ask(docs, tmp_path, "spring tide")

    assert away.evidence[0].location == back.evidence[0].location == "tides.md#spring-tides"
    assert away.notes == [
        f"As the folder was before this process started; KNOWLEDGE_DIR={docs} cannot be read "
        "(No such file or directory)."
    ]
    assert back.notes == []


async def test_unlistable_folder_keeps_its_documents(docs, tmp_path, monkeypatch):
    """A folder that cannot be listed keeps its documents and is named."""
    (docs / "share").mkdir()
    (docs / "share/walrus.md").write_text("# Walrus\n\nA walrus sleeps on the ice.\n")
    await ask(docs, tmp_path, "tide")
    closed(monkeypatch, docs / "share")

    found = await ask(docs, tmp_path, "walrus")

    assert [each.location for each in found.evidence] == ["share/walrus.md#walrus"]
    assert found.notes == ["share/ cannot be listed (Permission denied)."]


async def test_unreadable_file_is_tried_at_each_look(docs, tmp_path, monkeypatch):
    """A document that could not be opened is named, and read as soon as it can be, though its size and time are the
    same: here it is away between the look and the reading."""
    walrus, away = docs / "walrus.md", tmp_path / "away.md"
    walrus.write_text("# Walrus\n\nA walrus sleeps on the ice.\n")
    look = files.look

    def vanishing(folder):
        seen = look(folder)
        walrus.rename(away)
        return seen

    with monkeypatch.context() as patch:
        patch.setattr(files, "look", vanishing)
        before = await ask(docs, tmp_path, "tide")
    away.rename(walrus)

    after = await ask(docs, tmp_path, "walrus")

    assert before.notes == ["walrus.md cannot be read (No such file or directory)."]
    assert [each.location for each in after.evidence] == ["walrus.md#walrus"]


async def test_name_outside_utf8_is_a_document(docs, tmp_path):
    """A name that is not UTF-8 is a document like others."""
    (docs / os.fsdecode(b"caf\xe9.md")).write_text("# Walrus\n\nA walrus sleeps on the ice.\n")

    found = await ask(docs, tmp_path, "walrus")

    assert [each.location for each in found.evidence] == ["caf\\xe9.md#walrus"]


async def test_unchanged_files_are_not_read_again(docs, tmp_path):
    state = tmp_path / "state"
    await ask(docs, tmp_path, "tide")
    with closing(sqlite3.connect(state / "index.db")) as connection:
        before = store.paths(connection)
    os.utime(docs / "boats.html", ns=(1, 1))

    await ask(docs, tmp_path, "tide")

    with closing(sqlite3.connect(state / "index.db")) as connection:
        after = store.paths(connection)
    assert after["tides.md"] == before["tides.md"]
    assert after["boats.html"] != before["boats.html"]


async def test_unreadable_documents_are_named(docs, tmp_path):
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")

    found = await ask(docs, tmp_path, "tide")

    assert found.notes == ["broken.pdf is a broken PDF."]
    assert found.evidence


@pytest.mark.parametrize("content", [b"this is no database, " * 500, b""])
async def test_broken_index_is_built_anew(docs, tmp_path, content):
    await ask(docs, tmp_path, "tide")
    (tmp_path / "state/index.db").write_bytes(content)

    found = await ask(docs, tmp_path, "spring tide")

    assert found.evidence[0].location == "tides.md#spring-tides"


async def test_damaged_index_is_rebuilt_by_a_question(docs, tmp_path):
    """Nothing in the folder has changed, so only the question meets the damage."""
    for number in range(40):
        (docs / f"log{number}.md").write_text(f"# Log {number}\n\n" + f"The ebb of day {number} is low. " * 60)
    await ask(docs, tmp_path, "tide")
    index = tmp_path / "state/index.db"
    whole = index.read_bytes()
    with closing(sqlite3.connect(index)) as connection:
        sound = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name IN ('page', 'fact')").fetchall()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    kept = {1, *(page for (page,) in sound)}
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    index.write_bytes(b"".join(part if n in kept else b"\xff" * size for n, part in enumerate(parts, start=1)))

    found = await ask(docs, tmp_path, "spring tide")

    assert found.evidence[0].location == "tides.md#spring-tides"


async def test_index_of_another_version_or_folder_is_built_anew(docs, tmp_path):
    await ask(docs, tmp_path, "tide")
    with closing(sqlite3.connect(tmp_path / "state/index.db")) as connection:
        connection.execute(f"PRAGMA user_version = {store.VERSION + 1}")
    again = await ask(docs, tmp_path, "spring tide")
    other = tmp_path / "other"
    other.mkdir()
    (other / "whale.md").write_text("# Whale\n\nA whale sings.\n")

    moved = await ask(other, tmp_path, "whale tide")

    assert again.evidence
    assert [each.location for each in moved.evidence] == ["whale.md#whale"]
    assert moved.searched == f"1 passage in 1 document below {other}"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("a file")])
async def test_missing_folder_names_the_setting_and_the_path(tmp_path, make):
    make(tmp_path / "docs")

    with pytest.raises(WorkerFault) as caught:
        await ask(tmp_path / "docs", tmp_path, "tide")

    assert f"KNOWLEDGE_DIR={tmp_path / 'docs'}" in caught.value.detail
    assert caught.value.type == "bad_setting"


async def test_state_dir_that_cannot_be_written_is_named(docs, tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")

    with pytest.raises(WorkerFault) as caught:
        await ask(docs, tmp_path, "tide")

    assert f"STATE_DIR={tmp_path / 'state'}" in caught.value.detail


async def test_folder_that_appears_later_is_found(tmp_path):
    async with local.open_local(tmp_path / "docs", tmp_path / "state") as provider:
        with pytest.raises(WorkerFault):
            await provider.search(SearchRequest("tide", 8), Step())
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs/tides.md").write_text(TIDES)

        found = await provider.search(SearchRequest("spring tide", 8), Step())

    assert found.evidence


async def test_steps_wait_for_the_first_index(many, tmp_path, monkeypatch):
    """Two steps wait for one run of the indexer; the event loop is free meanwhile."""
    monkeypatch.setattr(local, "REPORT_SECONDS", 0.02)
    steps = [Step(), Step()]
    ticks = 0
    async with local.open_local(many, tmp_path / "state") as provider:
        searches = asyncio.gather(*(provider.search(SearchRequest("tide", 5), step) for step in steps))
        while not searches.done():
            await asyncio.sleep(0.01)
            ticks += 1
        found = await searches

    assert [len(each.evidence) for each in found] == [5, 5]
    assert all(any(message.startswith("indexed ") for message, _ in step.told) for step in steps)
    assert all(fraction is None or 0 <= fraction <= 1 for step in steps for _, fraction in step.told)
    assert ticks > 5


async def test_step_without_time_searches_what_is_indexed(many, tmp_path):
    """A first indexing longer than the step is no failure of the step once something is there."""
    async with local.open_local(many, tmp_path / "state") as provider:
        await asyncio.to_thread(_wait_for, lambda: provider.progress.done >= 60)
        found = await provider.search(SearchRequest("tide", 5), Step(seconds=local.SPARE_SECONDS))

    assert found.evidence
    assert [each.why.split(" (")[0] for each in found.missing] == ["not indexed yet"]


async def test_service_ends_while_indexing(many, tmp_path):
    async with local.open_local(many, tmp_path / "state") as provider:
        assert isinstance(provider, Local)
        began = time.monotonic()

    assert time.monotonic() - began < 2


def test_two_processes_started_at_once_share_one_index(many, tmp_path):
    """Both answer, and each document was indexed by one of them only."""
    run = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.workers.index.test_local import SearchRequest, Step, local
async def main():
    async with local.open_local(Path(sys.argv[2]), Path(sys.argv[3])) as provider:
        found = await provider.search(SearchRequest("tide", 5), Step())
        print(len(found.evidence), found.searched)
asyncio.run(main())
"""
    root = str(Path(__file__).parents[3])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", run, root, str(many), str(tmp_path / "state")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    ended = [process.communicate(timeout=50) for process in processes]

    assert [out.strip() for out, _ in ended] == [f"5 600 passages in 300 documents below {many}"] * 3, ended
    with closing(sqlite3.connect(tmp_path / "state/index.db")) as connection:
        assert connection.execute("SELECT count(*), max(id) FROM page").fetchone() == (300, 300)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def closed(monkeypatch, folder: Path) -> None:
    """Takes the permission to list a folder away; `chmod 000` means nothing to root, as whom tests may run."""
    scandir = os.scandir

    def denied(path):
        if path == str(folder):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)


def _wait_for(true):
    while not true():
        time.sleep(0.005)


@pytest.fixture
def many(tmp_path) -> Path:
    """Three hundred pages, each different enough to take its time."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        said = "".join(f"<p>Line {line} of log {number} says how high the tide was.</p>" for line in range(60))
        (folder / f"{number}.html").write_text(f"<title>Log {number}</title><h1>Log {number}</h1><h2>A</h2>{said}")
    return folder
