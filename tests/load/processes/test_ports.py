"""Ports for processes that are about to start."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from load.processes import ports
from load.processes.ports import free_port

TAKE_FIFTY = """
import sys
from pathlib import Path
from load.processes.ports import free_port
for _ in range(50):
    print(free_port(counter=Path(sys.argv[1])))
"""


def test_no_two_processes_get_the_same_port(tmp_path):
    """`bind` to port 0 gave a port that an outgoing connection or another test took before the server could."""
    counter = tmp_path / "counter"
    counter.write_text(str(free_port(250)))
    command = [sys.executable, "-c", TAKE_FIFTY, str(counter)]
    takers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    taken = [port for taker in takers for port in taker.communicate()[0].split()]

    assert len(set(taken)) == 200


def test_the_kernel_gives_none_to_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as given:
        assert free_port() < int(ports.EPHEMERAL.read_text().split()[0]) <= given.getsockname()[1]


@pytest.mark.parametrize("before", ["{next}", "", "not a number", "99999", "1"])
def test_ports_in_use_are_passed_over(tmp_path, monkeypatch, before):
    counter, first = tmp_path / "counter", free_port(4)
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports.random, "randint", lambda low, high: low)
    counter.write_text(before.format(next=first))

    with socket.create_server(("127.0.0.1", first + 1)):
        assert free_port(2, counter=counter) == first + 2


def test_after_the_last_port_comes_the_first(tmp_path, monkeypatch):
    counter, first = tmp_path / "counter", free_port(2)
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "_find_last", lambda: first + 1)
    counter.write_text(str(first))

    assert [free_port(counter=counter) for _ in range(3)] == [first, first + 1, first]


def test_a_machine_without_free_ports_is_told(tmp_path, monkeypatch):
    first = free_port()
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "_find_last", lambda: first + 1)

    with pytest.raises(RuntimeError, match="No 3 ports in a row are free"):
        free_port(3, counter=tmp_path / "counter")
