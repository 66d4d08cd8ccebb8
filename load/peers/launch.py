"""Contenders and their agents, started on their cores and ready."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from load.agents.noop import ROLES
from load.peers import venvs
from load.peers.contenders import Contender
from load.peers.measurements import Measured
from load.peers.place import Place
from load.processes.ports import free_port
from load.processes.services import wait_for_agents
from load.processes.stage import Stage

MEASURED, LOADING = 0, 1  # cores
READY_SECONDS = 90.0


def choose_able(contenders: Sequence[Contender]) -> tuple[list[Contender], list[str]]:
    """Returns the contenders whose programs are on the PATH, and a sentence for each of the others."""
    lacking = {c.name: [need for need in c.needs if shutil.which(need) is None] for c in contenders}
    notes = [f"{name} was left out: {', '.join(needs)} is not installed." for name, needs in lacking.items() if needs]
    return [c for c in contenders if not lacking[c.name]], notes


def start(stage: Stage, contenders: Sequence[Contender], *, at_once: int) -> tuple[list[Measured], str]:
    """Makes the venvs and starts all contenders and their agents; returns them, and the agents' URL, once ready."""
    venvs.make(contender.folder for contender in contenders if contender.folder)
    stage.pin(0, LOADING)
    agents = f"http://127.0.0.1:{free_port()}"
    all_ = [_start_one(stage, contender, agents, at_once) for contender in contenders]
    for each in all_:
        for port, path in each.contender.ready:
            stage.wait(each.processes[-1], each.place.build_url(port) + path, seconds=READY_SECONDS)
        each.contender.then(each.place)
    coordinators = [each.place.build_url() for each in all_ if each.contender.kind == "muster"]
    where = [word for url in coordinators for word in ("--register", url)]
    process = stage.start("load.noop_agent", "--port", agents.rpartition(":")[2], *where, core=LOADING)
    stage.wait(process, f"{agents}/health")
    for url in coordinators:
        wait_for_agents(url, *ROLES)
    return all_, agents


def _start_one(stage: Stage, contender: Contender, agents: str, at_once: int) -> Measured:
    files = stage.folder / f"files-{contender.name.replace(' ', '-')}"
    files.mkdir()
    place = Place(contender.folder, agents, files)
    env = {**place.env, **contender.env(place)}
    name = contender.folder or contender.kind
    processes = [stage.run(command, name=name, env=env, core=MEASURED) for command in contender.commands(place)]
    return Measured(contender, place, processes, place.read_versions(*contender.packages), at_once)


def print_failures(stage: Stage, all_: Sequence[Measured]) -> None:
    """Prints the end of the logs of those whose tasks failed."""
    for each in all_:
        if each.failed:
            said = "\n".join(stage.read_log(process) for process in each.processes)
            print(f"{each.name}: {each.failed} tasks failed; the end of its logs:\n{said}", file=sys.stderr)
