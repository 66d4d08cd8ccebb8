"""The log never holds up the work: what cannot be written is dropped, counted and told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from load.processes.ports import free_port
from shared.logs.output import LogOutput
from tests.support.fakes import eventually
from tests.support.processes import Disk

ROOT = Path(__file__).parents[3]
LINE = "a line of the log " * 5 + "\n"
FULL_PIPE = 20_000  # lines: more than the largest pipe takes


def describe(lines: int) -> str:
    return f"{lines} missing\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, LogOutput]]:
    """The end to read from, without waiting, and the output at the other end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(writing, "w") as stream:
        yield reading, LogOutput(stream, describe)
    os.close(reading)


def read_all(reading: int) -> str:
    pieces = []
    try:
        while piece := os.read(reading, 65_536):
            pieces.append(piece)
    except BlockingIOError:
        pass
    return b"".join(pieces).decode()


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, LogOutput]) -> None:
    reading, output = pipe
    for number in range(10):
        output.write(f"{number} é \udcff {'x' * 5_000}\n")

    lines = read_all(reading).splitlines()

    assert [line[:3] for line in lines] == [f"{n} é" for n in range(10)]
    assert output.dropped == 0


def test_reader_that_stands_still_costs_lines(pipe: tuple[int, LogOutput]) -> None:
    """A full pipe drops lines; the next line that can be written is followed by their number."""
    reading, output = pipe
    for _ in range(FULL_PIPE):
        output.write(LINE)
    dropped = output.dropped
    kept = read_all(reading).splitlines(keepends=True)

    output.write("again\n")

    assert dropped > 0
    assert kept.count(LINE) == FULL_PIPE - dropped
    assert read_all(reading).split("\n")[-3:] == ["again", f"{dropped} missing", ""]


def test_cut_line_is_ended_before_the_next(pipe: tuple[int, LogOutput]) -> None:
    reading, output = pipe
    output.write("x" * 10_000_000 + "\n")
    cut = read_all(reading)

    output.write("again\n")

    assert set(cut) == {"x"}
    assert read_all(reading) == "\nagain\n1 missing\n"


def test_reader_that_is_gone_costs_lines() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = LogOutput(stream, describe)
        output.write(LINE)

    assert output.dropped == 1


def test_full_disk_costs_lines(tmp_path: Path) -> None:
    with Disk(tmp_path / "disk", size="64k") as disk, (disk.seen / "log").open("w") as stream:
        output = LogOutput(stream, describe)
        disk.fill()
        output.write(LINE)
        disk.free()
        output.write("again\n")
        told = (disk.seen / "log").read_text()

    assert output.dropped == 1
    assert told.splitlines()[-2:] == ["again", "1 missing"]


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[str]:
    """The URL of a coordinator whose log goes into a pipe that is never read."""
    port = free_port()
    command = [sys.executable, "-m", "coordinator", "--port", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": "memory:"}
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        yield f"http://127.0.0.1:{port}"
        running.kill()


async def test_service_works_while_nobody_reads_its_log(unread: str) -> None:
    """Every request is answered, and the metric counts the lines that are missing."""
    async with httpx.AsyncClient(base_url=unread, timeout=30) as client:

        async def dropped() -> bool:
            try:
                for _ in range(50):
                    assert (await client.get("/tasks/" + "x" * 4_000)).status_code in (404, 422)
                metrics = (await client.get("/metrics")).text
            except httpx.ConnectError:
                return False
            line = next(line for line in metrics.splitlines() if line.startswith("muster_log_lines_dropped"))
            return float(line.split()[1]) > 0

        await eventually(dropped, seconds=60)
        assert (await client.get("/health")).status_code == 200
