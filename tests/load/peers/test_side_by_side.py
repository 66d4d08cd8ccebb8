"""The comparison with others: every peer is whole, what is computed of rounds, and what the page says."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from load.bare.server import listen
from load.peers.aims import list_figures
from load.peers.contenders import CONTENDERS, Contender
from load.peers.limits.disk import measure_syncs
from load.peers.measurements import Measured, compute_ratio, compute_spread
from load.peers.place import SOURCE, Place
from load.peers.report import MeasuredRun, build_table, list_faster, write
from load.peers.rounds import measure, open_client

RUN = MeasuredRun(2, 1, 1, 64, True, 2, 1_000, 7.0, 1.0, ["Prefect was left out: x is not installed."])
BY_NAME = {contender.name: contender for contender in CONTENDERS}
FOLDERS = sorted({contender.folder for contender in CONTENDERS if contender.folder})


def measured(name: str, *, rates: list[float], cpu_us: list[float], added: float = 0.01) -> Measured:
    place = Place(None, "http://127.0.0.1:1", Path("/nowhere"))
    each = Measured(BY_NAME[name], place, [], "thing 1.2", at_once=64)
    each.rates, each.cpu_us, each.durations, each.added = rates, cpu_us, [0.1, 0.2], [added] * 10
    return each


OURS = measured("Muster", rates=[200, 400], cpu_us=[2_000, 2_200])
PLAIN = measured("FastAPI + httpx", rates=[100, 100], cpu_us=[6_000, 6_600], added=0.008)
DBOS = measured("DBOS", rates=[50, 40], cpu_us=[9_000, 9_000], added=0.05)
LIMIT = measured("bare sockets (asyncio)", rates=[4_000, 4_000], cpu_us=[100, 100], added=0.001)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_peer_is_pinned_with_hashes(folder):
    pins = (SOURCE / folder / "requirements.txt").read_text()

    wanted = [line for line in pins.splitlines() if re.match(r"\w[^#]*==", line)]
    assert wanted
    assert all(line.endswith("\\") for line in wanted)  # its hashes follow
    assert pins.count("--hash=sha256:") >= len(wanted)


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_peer_asks_for_is_what_is_pinned(folder):
    asked = re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", (SOURCE / folder / "requirements.in").read_text(), re.MULTILINE)
    pins = (SOURCE / folder / "requirements.txt").read_text()

    assert [name for name, version in asked if f"{name}=={version} " not in pins] == []


def test_every_contender_has_its_programs():
    """The files that its commands name are there."""
    wrong = []
    for contender in CONTENDERS:
        place = Place(contender.folder, "http://127.0.0.1:1", Path("/nowhere"))
        if contender.folder in (None, "restate"):
            continue
        for command in contender.commands(place):
            names = [word.split(":")[0] for word in command if re.fullmatch(r"[a-z_]+:[a-z]+", word)]
            wrong += [name for name in names if not (place.source / f"{name}.py").exists()]

    assert wrong == []


def test_rounds_are_compared_side_by_side():
    """Not the medians of each: a round in which everything was slow says as much as another."""
    assert compute_ratio([10, 100], [5, 50]) == 2
    assert math.isnan(compute_ratio([], []))
    assert compute_spread([3, 1, 2]) == (2, 1, 3)


def test_aims_are_ratios_of_the_same_run():
    found = {figure.name: figure for figure in list_figures([OURS, PLAIN, DBOS])}

    assert found["CPU a task, against FastAPI + httpx"].value == pytest.approx(1 / 3, rel=0.01)
    assert found["tasks a second, against DBOS"].value == 7
    assert found["tasks a second, against DBOS"].ok is False
    assert found["added time, p50, against FastAPI + httpx"].ok is True
    assert "tasks a second, against LangGraph" not in found


def test_who_is_faster_is_named():
    """Limits are not: they do less."""
    assert list_faster([OURS, PLAIN, DBOS, LIMIT]) == [
        "FastAPI + httpx (thing 1.2): adds 8.0 ms at p50 where we add 10.0; adds 8.0 ms at p99 where we add 10.0. "
        "Keeps: nothing."
    ]


def test_the_page_and_the_chart(tmp_path):
    write(tmp_path, [OURS, PLAIN, DBOS, LIMIT], list_figures([OURS, PLAIN, DBOS]), RUN)

    page = (tmp_path / "RESULTS.md").read_text()
    assert "| **Muster** | 300 [200–400] | 2.10 [2.00–2.20] | 0.33 |" in page
    assert "Prefect was left out" in page
    assert "4 commits in a row, as a lone task of Muster's needs them, are 4 ms" in page
    assert "Other programs kept the machine busy (load average 7.0 before the start)" in page
    assert "| tasks a second, against DBOS | 7.00 x | ≥ 10 | missed |" in page
    svg = ElementTree.fromstring((tmp_path / "results.svg").read_text())
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}circle")) == 8
    assert not [word for word in ("src=", "href=", "@import", "url(") if word in (tmp_path / "results.svg").read_text()]


def test_who_was_measured_otherwise_is_marked():
    slow = measured("Prefect", rates=[2.0], cpu_us=[170_000])
    slow.at_once, slow.added = 4, []

    assert "| Prefect (at 4 at once) | 2.0 [2.0–2.0] |" in build_table([PLAIN, slow])
    assert "– / –" in build_table([PLAIN, slow])


def test_the_disk_is_measured(tmp_path):
    assert measure_syncs(tmp_path, 0.05) > 0
    assert list(tmp_path.iterdir()) == []


async def test_a_round_counts_what_completed_and_what_failed(tmp_path):
    """Every third answer is none; agents took 20 ms of each task."""
    served = 0

    def handle(method: bytes, target: bytes, body: bytes) -> bytes:
        nonlocal served
        served += method == b"POST"
        names = ("research", "analyze", "report")
        steps = [{"step_id": name, "output": {"seconds": 0.0}} for name in names]
        status = "partial" if served % 3 == 0 else "completed"
        return json.dumps({"status": status, "results": steps}).encode()

    server = await listen(handle, 0)
    port = server.sockets[0].getsockname()[1]
    contender = Contender("x", "nothing", None, lambda place: [])
    each = Measured(contender, Place(None, "", tmp_path, {"web": port}), [], "", at_once=8)

    async with server:
        await measure([each], f"http://127.0.0.1:{port}", rounds=2, seconds=0.1, latency_seconds=0.2)
        async with open_client(each) as http:
            await http.request("GET", "/health")

    assert len(each.rates) == len(each.cpu_us) == 2
    assert each.failed == served // 3
    assert len(each.durations) + len(each.added) < served
    assert len(each.added) >= 4
    assert len(each.rests) == 2  # before each round
    assert each.rest_percent == 0  # it has no process
