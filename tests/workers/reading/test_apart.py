"""Documents are read in a process apart: a bad one costs itself only, and nothing stays when the service is gone."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from shared.documents.types import MAX_BYTES
from tests.workers.reading.documents import packed
from workers.reading import files, opened
from workers.reading.apart import reader as apart
from workers.reading.apart.reader import ReaderProcess

ROOT = Path(__file__).parents[3]
LONG = "A *tide* is `high` at [Brest](brest).\n\n" * 50_000  # takes seconds


@pytest.fixture(autouse=True)
def time_enough(monkeypatch):
    """Other programs may be what makes a document take long."""
    monkeypatch.setattr(apart, "READ_SECONDS", 60.0)
    monkeypatch.setattr(apart, "MAX_SECONDS", 120.0)


def read(folder: Path) -> dict[str, str]:
    """What was said of each document below the folder: its note, or its first block."""
    with ReaderProcess() as reader:
        return {file.path: said(one) for file, one in reader.read(files.look(folder).files)}


def said(one: opened.Opened) -> str:
    return one.document.note or one.document.sections[0].blocks[0].text


def test_documents_come_in_order_with_their_names_as_titles(tmp_path):
    for number in range(20):
        (tmp_path / f"{number:02}.txt").write_text(f"Tide {number} is high.")

    with ReaderProcess() as reader:
        found = list(reader.read(files.look(tmp_path).files))

    assert [file.path for file, _ in found] == [f"{number:02}.txt" for number in range(20)]
    assert [one.document.title for _, one in found][:2] == ["00.txt", "01.txt"]
    assert [said(one) for _, one in found][19] == "Tide 19 is high."


def test_bad_files_are_named_and_the_others_are_read(tmp_path):
    (tmp_path / "a.txt").write_text("The tide is high.")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"The tide is low."))
    (tmp_path / "damaged.txt.gz").write_bytes(gzip.compress(os.urandom(5_000))[:-2_000])
    (tmp_path / "wrong.txt.gz").write_bytes(bytes([31, 139, 8, 0, 0, 0, 0, 0, 0, 255]) + b"\xff" * 50)
    (tmp_path / "none.txt.gz").write_bytes(b"not packed at all")
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"x" * (MAX_BYTES + 1)))
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\0\0\0\1")
    (tmp_path / "program").write_bytes(b"\x7fELF\0\0\0\1")
    (tmp_path / "picture.html").write_bytes(b"GIF89a\0\1\0\1\xf0")
    with open(tmp_path / "large.md", "wb") as stream:
        stream.truncate(MAX_BYTES + 1)

    assert read(tmp_path) == {
        "a.txt": "The tide is high.",
        "b.txt.gz": "The tide is low.",
        "damaged.txt.gz": "cannot be unpacked (EOFError)",
        "wrong.txt.gz": "cannot be unpacked (error)",
        "none.txt.gz": "cannot be unpacked (BadGzipFile)",
        "bomb.txt.gz": "is larger than 20 MB unpacked",
        "binary.txt": "is not text",
        "program": "is not text",
        "picture.html": "is not text",
        "large.md": "is larger than 20 MB",
    }


def test_deep_nesting_ends_nobody(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 200_000 + "<p>Deep down is a tide.</p>")
    (tmp_path / "b.md").write_text("> " * 5_000 + "deep\n\n" + "- " * 3_000 + "deep")
    (tmp_path / "c.txt").write_text("The tide is high.")

    assert read(tmp_path)["c.txt"] == "The tide is high."


def test_what_is_too_deep_or_too_large_says_so(tmp_path):
    (tmp_path / "a.ipynb").write_text('{"cells":' + "[" * 100_000)
    (tmp_path / "b.docx").write_bytes(packed({"word/document.xml": "<a>" + "<b/>" * 9_000_000 + "</a>"}))
    (tmp_path / "c.md").write_text("---\ntitle: " + "[" * 5_000 + "\n---\nThe tide is high.")

    assert read(tmp_path) == {
        "a.ipynb": "is nested too deeply",
        "b.docx": "needs more memory to read than is available",
        "c.md": "The tide is high.",
    }


def test_vanished_file_is_tried_again(tmp_path):
    """A file that is gone since the look is tried again."""
    (tmp_path / "a.txt").write_text("The tide is high.")
    seen = files.look(tmp_path).files
    (tmp_path / "a.txt").unlink()

    with ReaderProcess() as reader:
        [(_, one)] = reader.read(seen)

    assert one == opened.unread("cannot be read (No such file or directory)", again=True)


def test_slow_document_times_out_next_is_read(tmp_path, monkeypatch):
    """The kernel ends it, whatever a library is doing."""
    monkeypatch.setattr(apart, "_seconds", lambda file: 0.3 if file.path == "a.md" else 30.0)
    (tmp_path / "a.md").write_text(LONG)
    (tmp_path / "b.txt").write_text("The tide is high.")

    found = read(tmp_path)

    assert found == {"a.md": "takes longer than 0 s to read", "b.txt": "The tide is high."}


def test_a_process_that_does_not_run_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "READ_SECONDS", 3.0)
    monkeypatch.setattr(apart, "LATE_SECONDS", 0.1)
    many(tmp_path)
    with ReaderProcess() as reader:
        found = reader.read(files.look(tmp_path).files)
        next(found)
        os.kill(reader.pid, signal.SIGSTOP)

        rest = [said(one) for _, one in found]

    assert len(rest) == 29
    assert sum(one.startswith("takes longer") for one in rest) == 1


def test_documents_survive_who_kills_the_process(tmp_path):
    """It is started again, and the document that was being read is not to blame."""
    many(tmp_path)
    with ReaderProcess() as reader:
        found = reader.read(files.look(tmp_path).files)
        next(found)
        first = reader.pid
        os.kill(first, signal.SIGKILL)

        rest = [said(one) for _, one in found]

        assert reader.pid != first
    assert rest == [f"Tide {number} is high." for number in range(1, 30)]


def test_a_document_that_ends_each_process_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "AHEAD", 0)
    many(tmp_path)
    bad = files.look(tmp_path).files[3]

    class Ending(ReaderProcess):
        """Its process falls whenever it is to read the bad document."""

        def _ask(self, file):
            process = self._started()
            if file == bad:
                process.send_signal(signal.SIGSEGV)
                process.wait()
            super()._ask(file)

    with Ending() as reader:
        found = {file.path: said(one) for file, one in reader.read(files.look(tmp_path).files)}

    assert found.pop(bad.path) == "crashes the process that reads it (SIGSEGV)"
    assert all(each.startswith("Tide") for each in found.values())


def test_memory_is_limited(tmp_path):
    """A file that becomes hundreds of megabytes is given up, and the next document is read."""
    (tmp_path / "a.ipynb").write_text('{"cells": [' + "{}, " * 4_900_000 + "{}]}")
    (tmp_path / "b.txt").write_text("The tide is high.")

    found = read(tmp_path)

    assert found["a.ipynb"] == "needs more memory to read than is available"
    assert found["b.txt"] == "The tide is high."


def test_stopping_ends_the_process_at_once(tmp_path):
    (tmp_path / "a.md").write_text(LONG)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()

    with ReaderProcess(stop) as reader:
        assert list(reader.read(files.look(tmp_path).files)) == []
        pid = reader.pid

    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("text", [LONG, "The tide is high."])
def test_no_process_stays_when_the_service_is_killed(tmp_path, text):
    """Busy with a document, or waiting for the next."""
    (tmp_path / "a.md").write_text(text)
    run = """
import sys, time
from pathlib import Path
from workers.reading import files, opened
from workers.reading.apart.reader import ReaderProcess
with ReaderProcess() as reader:
    reader._ask(files.look(Path(sys.argv[1])).files[0])
    print(reader.pid, flush=True)
    time.sleep(60)
"""
    service = subprocess.Popen(
        [sys.executable, "-c", run, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    with service:
        reading = psutil.Process(int(service.stdout.readline()))
        service.kill()

    _, alive = psutil.wait_procs([reading], timeout=5)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_the_process_gets_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("API_KEY", "secret")
    (tmp_path / "a.txt").write_text("The tide is high.")
    with ReaderProcess() as reader:
        found = reader.read(files.look(tmp_path).files)
        reader._started()
        environ = psutil.Process(reader.pid).environ()
        list(found)

    assert "API_KEY" not in environ


def many(folder: Path) -> None:
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(f"Tide {number} is high.")


def test_the_process_loads_no_library_of_a_service():
    """It would cost 0.3 s and 30 MB each time a folder is read."""
    command = [sys.executable, "-X", "importtime", "-m", "workers.reading.apart.process"]

    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, check=False)

    assert "workers.reading.readers" in run.stderr
    assert [name for name in ("fastapi", "httpx", "structlog") if f" {name}\n" in run.stderr] == []
