"""Uploads at real processes with bad luck: killed in the middle, a full disk, far too large, hung up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.processes import Coordinator, Disk

pytestmark = pytest.mark.timeout(180)
MEGABYTE = b"x" * 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def coordinator(tmp_path: Path, folder: Path) -> Iterator[Coordinator]:
    with Coordinator(tmp_path / "coordinator", uploads_dir=folder) as coordinator:
        yield coordinator.start().ready()


def half_sent(coordinator: Coordinator, folder: Path) -> socket.socket:
    """A connection on which half of a document has come, of which a part is written."""
    connection = socket.create_connection(("127.0.0.1", coordinator.port))
    head = f"PUT /documents/half.md HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {2 * len(MEGABYTE)}\r\n\r\n"
    connection.sendall(head.encode() + MEGABYTE)
    wait_for(lambda: any(path.stat().st_size for path in folder.glob(".part-*")))
    return connection


def wait_for(seen: object, *, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not seen():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_kill_in_the_middle_leaves_nothing(coordinator: Coordinator, folder: Path) -> None:
    """What was answered is there after the restart, whole; what was half sent is gone."""
    httpx.put(f"{coordinator.url}/documents/whole.md", content=MEGABYTE, timeout=60).raise_for_status()
    with half_sent(coordinator, folder):
        coordinator.kill()
        left = names(folder)
        coordinator.start().ready()

    assert (len(left), names(folder)) == (2, ["whole.md"])
    assert (folder / "whole.md").read_bytes() == MEGABYTE


def test_caller_who_hangs_up_leaves_nothing(coordinator: Coordinator, folder: Path) -> None:
    half_sent(coordinator, folder).close()

    wait_for(lambda: names(folder) == [])


def test_endless_upload_is_refused_in_constant_memory(coordinator: Coordinator, folder: Path) -> None:
    """One that does not say how large it is, and never ends, is answered and cut off."""
    process = psutil.Process(coordinator.process.pid)
    before = process.memory_info().rss
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", coordinator.port)) as connection:
        connection.sendall(b"PUT /documents/a.md HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.settimeout(30)
        try:
            while sent < 2_000:
                connection.sendall(b"f4240\r\n" + MEGABYTE + b"\r\n")
                sent += 1
        except OSError:
            pass  # it was cut off
        answer = receive(connection)

    assert sent < 200
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""  # the system may drop it with the connection
    assert names(folder) == []
    assert process.memory_info().rss - before < 50_000_000
    assert httpx.get(f"{coordinator.url}/health", timeout=30).status_code == 200


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except OSError:
        return b""


def test_two_gigabytes_are_refused_from_their_head(coordinator: Coordinator, folder: Path) -> None:
    """Before a byte of it was sent."""
    with socket.create_connection(("127.0.0.1", coordinator.port)) as connection:
        connection.settimeout(60)
        connection.sendall(
            b"PUT /documents/a.md HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2147483648\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413")
    assert names(folder) == []


def test_full_disk_refuses_documents_only(tmp_path: Path) -> None:
    """A part of it is kept free; when it is full all the same, that is said, and there is nothing half."""
    with Disk(tmp_path / "disk", size="8m") as disk:
        made = Coordinator(tmp_path / "coordinator", uploads_dir=disk.path / "uploads", through=disk.through)
        with made as coordinator, httpx.Client(base_url=coordinator.start().ready().url, timeout=60) as client:
            stored = client.put("/documents/a.md", content=MEGABYTE)
            too_much = client.put("/documents/b.md", content=6 * MEGABYTE)
            disk.fill()
            full = client.put("/documents/c.md", content=iter([b"x" * 300_000]))
            listed, ready = client.get("/documents").json(), client.get("/ready")
            left = names(disk.seen / "uploads")
            disk.free()
            again = client.put("/documents/c.md", content=MEGABYTE)

    assert [stored.status_code, too_much.status_code, full.status_code, again.status_code] == [201, 507, 507, 201]
    assert "full" in full.json()["detail"]
    assert (left, [one["name"] for one in listed["documents"]], ready.status_code) == (["a.md"], ["a.md"], 200)
