"""Who is measured: coordinators on a file or on PostgreSQL, alone or several, and DBOS on the same PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from load.agents.noop import ROLES
from load.peers import venvs
from load.peers.contenders import Contender
from load.peers.measurements import Measured
from load.peers.place import Place
from load.processes.caps import put
from load.processes.ports import free_port
from load.processes.postgres import Server
from load.processes.services import wait_for_agents
from load.processes.stage import Stage

READY_SECONDS = 60.0
FILE, ONE, TWO, LIMITED, LIMITED_TWO = "file", "PostgreSQL", "two processes", "capped", "two capped"
DBOS, DBOS_TUNED = "DBOS", "DBOS, tuned"
_PROCESSES = {FILE: 1, ONE: 1, TWO: 2, LIMITED: 1, LIMITED_TWO: 2}


def start(
    stage: Stage, server: Server, groups: Mapping[str, Sequence[Path]], *, at_once: int, names: Sequence[str]
) -> tuple[dict[str, Measured], str]:
    """Starts all of `names` and their agents; returns them, and the agents' URL, once ready.

    Of a name in `groups`, each process is in a control group of its own.
    """
    agents = f"http://127.0.0.1:{free_port()}"
    if {DBOS, DBOS_TUNED} & set(names):
        venvs.make(["dbos"])
    all_ = {name: _start_one(stage, server, name, agents, at_once) for name in names}
    coordinators = []
    for name, each in all_.items():
        for number, process in enumerate(each.processes):
            stage.wait(process, f"{each.place.build_url(f'web{number}')}/health", seconds=READY_SECONDS)
            if name in groups:
                put(process.pid, groups[name][number])
            if name in _PROCESSES:
                coordinators.append(each.place.build_url(f"web{number}"))
    where = [word for url in coordinators for word in ("--register", url)]
    process = stage.start("load.noop_agent", "--port", agents.rpartition(":")[2], *where)
    stage.wait(process, f"{agents}/health")
    for url in coordinators:
        wait_for_agents(url, *ROLES)
    return all_, agents


def list_urls(of: Measured) -> list[str]:
    return [of.place.build_url(f"web{number}") for number in range(len(of.processes))]


def _start_one(stage: Stage, server: Server, name: str, agents: str, at_once: int) -> Measured:
    files = stage.folder / name.replace(" ", "-")
    files.mkdir()
    place = Place("dbos" if name in (DBOS, DBOS_TUNED) else None, agents, files)
    url = f"sqlite:///{files}/muster.db" if name == FILE else server.make_database()
    processes = []
    for number in range(_PROCESSES.get(name, 1)):
        port = str(place.take_port(f"web{number}"))
        if place.folder is None:
            command, env = place.build_command("coordinator", "--port", port), {"DATABASE_URL": url}
        else:
            place.take_port("web")
            command = place.build_command(
                "uvicorn", "server:app", "--port", port, "--no-access-log", "--log-level", "warning"
            )
            env = {"DBOS_URL": url} | ({"DBOS_TUNED": "1"} if name == DBOS_TUNED else {})
        processes.append(stage.run(command, name=f"{name}-{number}".replace(" ", "-"), env={**place.env, **env}))
    return Measured(Contender(name, "", place.folder, lambda place: []), place, processes, "", at_once)
