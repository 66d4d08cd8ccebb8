"""Asked on the command line: the answer first, then sources; on a terminal with links, elsewhere as Markdown."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coordinator.cli.outcome import in_folder
from coordinator.cli.printed import WIDEST, print_report
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.rendering.links import source_link
from shared.report.model import ADMITTED, AskedWord, Cited, NumberedSource, Report
from tests.support.fakes import MOON, REPORTER, RESEARCHER, ROOT, Network, Suite, agent, serving

STEPS = f"{MOON}\n\n1. It rises.\n2. It falls."


def judging(answered: bool) -> Any:
    async def run(step: StepRequest, ctx: Context) -> Reply:
        passages = [e for output in step.upstream.values() for e in output["evidence"]]
        finding = {"id": "f", "statement": STEPS, "topic": "", "support": "moderate", "answers": answered}
        finding |= {"evidence": [passages[0]["id"]]}
        words = [{"word": "tides", "weight": 1.0, "passages": 1}]
        said = {"answered": answered, "confidence": 0.9, "words": words}
        return Reply({"question": "", "findings": [finding], "sources": passages} | said)

    return agent("analyzer", "analyze", run)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with (
        Suite(Network(), RESEARCHER, judging(True), REPORTER) as suite,
        serving(suite.app, lifespan=False) as url,
    ):
        yield url


@pytest.fixture
async def admitting() -> AsyncIterator[str]:
    async with (
        Suite(Network(), RESEARCHER, judging(False), REPORTER) as suite,
        serving(suite.app, lifespan=False) as url,
    ):
        yield url


async def asked(url: str, folder: Path, *more: str, terminal: int | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `ask`; `terminal` is the width of one that both go to."""
    command = [sys.executable, "-m", "coordinator.cli", "ask", "--url", url, *more, "Why are there tides?"]
    environ = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")} | {"TERM": "xterm-256color"}
    environ["PYTHONPATH"] = str(ROOT)
    if terminal is None:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, terminal, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = await asyncio.to_thread(_read_all, ours)
    return await process.wait(), said, ""


def _read_all(terminal: int) -> str:
    found = b""
    try:
        while piece := os.read(terminal, 65_536):
            found += piece
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(terminal)
    return found.decode()


async def test_into_a_pipe_goes_markdown_and_nothing_else(url: str, tmp_path: Path) -> None:
    """Its first line is the answer; progress goes to stderr."""
    code, out, err = await asked(url, tmp_path)

    assert code == 0
    assert out.startswith(f"{MOON}\n\n1. It rises.\n2. It falls.\n\n— [Tides]({url}/tasks/")
    assert "\x1b" not in out + err
    assert "task.finished" in err
    assert "completed in" in err


async def test_environment_for_other_machines_is_not_in_the_way(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not matter for a coordinator on this machine; for others, what is wrong is named."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))

    assert (await asked(url, tmp_path))[0] == 0

    code, _, err = await asked("https://coordinator.invalid", tmp_path)
    assert (code, "SSL_CERT_FILE" in err, "Traceback" in err) == (2, True, False)


async def test_terminal_output_has_its_width_and_links(url: str, tmp_path: Path) -> None:
    """On a terminal it is formatted in its width with links."""
    code, said, _ = await asked(url, tmp_path, terminal=44)

    assert code == 0
    assert re.search(rf"\x1b\]8;[^;]*;{re.escape(url)}/tasks/\w+/sources/1\x1b\\", said)
    plain = re.sub(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[0-9;?]*[A-Za-z]", "", said)
    lines = [line.rstrip() for line in plain.replace("\r\n", "\n").split("\n")]
    start = lines.index("There are tides because the moon pulls the")
    assert lines[start + 1 : start + 4] == ["sea.", "1. It rises.", "2. It falls."]
    assert lines.index("Sources ".ljust(44, "─")) > start


async def test_an_admission_is_told_by_the_exit_code_too(admitting: str, tmp_path: Path) -> None:
    code, out, _ = await asked(admitting, tmp_path)
    on_terminal, said, _ = await asked(admitting, tmp_path, terminal=80)

    assert (code, on_terminal) == (3, 3)
    assert re.match(r"\*\*.* not seem to answer this\.", out)
    assert re.search(r"\x1b\[1;33m[^\x1b]* not seem to answer this\.", said)


async def test_a_task_that_failed_ends_the_command_so(tmp_path: Path) -> None:
    async with Suite(Network()) as suite, serving(suite.app, lifespan=False) as url:
        code, _, err = await asked(url, tmp_path, "--timeout", "0.3")

    assert code == 1
    assert "failed in" in err or "timed_out in" in err


async def test_saved_page_links_back_to_the_coordinator(url: str, tmp_path: Path) -> None:
    """A page that is saved leads back to the coordinator."""
    await asked(url, tmp_path, "--html", "report.html")

    assert re.search(rf'href="{re.escape(url)}/tasks/\w+/sources/1"', (tmp_path / "report.html").read_text())


async def test_foreign_report_is_printed_unchanged(tmp_path: Path) -> None:
    """A report of somebody else is printed as it is."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        return Reply("# Mine\n\n*All* of it.")

    other = agent("other", "report", run)
    async with Suite(Network(), RESEARCHER, judging(True), other) as suite, serving(suite.app, lifespan=False) as url:
        code, out, _ = await asked(url, tmp_path)

    assert (code, out) == (0, "# Mine\n\n*All* of it.\n")


def test_files_of_the_folder_are_linked_and_no_others(tmp_path: Path) -> None:
    """The demo's suite is gone when somebody clicks: its links lead to the documents themselves."""
    (tmp_path / "docs" / "a#b").mkdir(parents=True)
    for name in ("docs/a b.md", "docs/a#b/c.md", "secret"):
        (tmp_path / name).write_text("x")
    link = in_folder(tmp_path / "docs")

    def linked(location: str) -> str:
        return link(NumberedSource(id="s", number=1, title="T", location=location))

    assert linked("a b.md#part") == (tmp_path / "docs" / "a b.md").as_uri()
    assert linked("a#b/c.md") == (tmp_path / "docs" / "a#b" / "c.md").as_uri()
    assert [linked(where) for where in ("../secret", "/etc/passwd", "", "gone.md", "a\0b")] == [""] * 5
    assert linked("https://a.test/x") == "https://a.test/x"


def printed(report: Report, *, width: int, colours: Any = None) -> str:
    console = Console(width=width, color_system=colours, force_terminal=True, soft_wrap=True)
    with console.capture() as said:
        print_report(report, console, source_link("http://m.test/sources/"))
    return said.get()


def test_no_line_is_longer_than_the_terminal() -> None:
    row = "coordinator | Port: 8000 | Meaning: a very long explanation of what listens here"
    listed = f"- {'item ' * 40}\n  - {'x' * 90}"
    text = f"{'word ' * 60}\n\n    {'code ' * 40}\n\n{listed}\n\n-q — {'said ' * 40}\n\n{row}\n{row}"
    source = NumberedSource(id="s", number=1, title="T" * 90, heading="H " * 60, location="l" * 200)
    report = Report(
        title="",
        question="",
        answered=True,
        summary=[Cited(statement=text, citations=[1])],
        sources=[source],
        notes=["n " * 90],
    )

    for width, most in ((30, 30), (80, 80), (300, WIDEST)):
        assert max(len(line) for line in printed(report, width=width).splitlines()) <= most


def test_where_there_are_no_links_the_address_is_shown() -> None:
    source = NumberedSource(id="s", number=1, title="Tides", location="tides.md")
    report = Report(
        title="", question="", answered=True, summary=[Cited(statement=MOON, citations=[1])], sources=[source]
    )

    assert "http://m.test/sources/1" in printed(report, width=80)


def test_what_a_source_says_is_text_on_a_terminal() -> None:
    """Neither markup nor anything that a terminal obeys."""
    evil = "[/] [red]tides[/red] \x1b[2J\x9b31m\u202e [link=file:///x]y[/link]"
    passage = Cited(statement=f"{evil}\n\n{evil}", citations=[1], question=evil)
    source = NumberedSource(id="s", number=1, title=evil, heading=evil, location=evil, excerpt=evil, modified=evil)
    report = Report(
        title=evil,
        question=evil,
        answered=False,
        words=[AskedWord(word=evil), AskedWord(word="x", searched=evil)],
        summary=[Cited(statement=evil, citations=[]), passage],
        sources=[source],
        notes=[evil],
    )
    said = printed(report, width=200, colours="standard")

    assert "[red]tides[/red]" in said
    assert re.findall("\x1b\\[2J|[\x9b\u202e]|file:///x\x1b", said) == []
    assert ADMITTED not in said  # its own words are said
