"""Agents that answer oddly, as containers of the project's image: added, steered and asked for what they saw."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from load.chaos.engine import Refused, docker, read_log, wait
from load.chaos.project import LABEL, Project

SOURCE = Path(__file__).parent / "odd_agent.py"
JOIN_SECONDS = 30.0


class Odd:
    """One such agent; plans ask for it by its capability, `<name>-work`."""

    def __init__(self, project: Project, container: str, name: str) -> None:
        self.project = project
        self.container = container
        self.name = name
        self._url = f"http://{docker('port', container, '8000/tcp').splitlines()[0]}"

    def turn(self, mode: str, *, seconds: float = 0.0) -> None:
        """Answers steps in this way from now on; `seconds` is how long a good answer takes."""
        self._call("/mode", {"mode": mode, "seconds": seconds})

    def see(self) -> Counter[str]:
        """What came since it was started: steps, canaries, connections that are open, that were closed …"""
        return Counter(self._call("/seen"))

    def plan(self, *, timeout: float, mode: str | None = None, **more: Any) -> dict[str, Any]:
        """A task of one step that only this agent can do; it answers it in this mode."""
        step = {"id": "odd", "capability": f"{self.name}-work", "input": {"mode": mode} if mode else None}
        return {"task_description": "Is it done?", "timeout_seconds": timeout, "plan": [step], **more}

    def view(self) -> dict[str, Any]:
        """What the coordinator's list says about it; empty where it is not in there."""
        return next((agent for agent in self.project.list_agents() if agent["name"] == self.name), {})

    def is_healthy(self) -> bool:
        return self.view().get("status") == "healthy"

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        raw = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, raw, method="GET" if body is None else "PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextlib.contextmanager
def odd_agents(
    project: Project, *hosts: str, name: str = "", restart: str = "no", **registration: Any
) -> Iterator[list[Odd]]:
    """One agent at each host name while the block runs; all of one `name`, or each of its host's."""
    with contextlib.ExitStack() as stack:
        odd = []
        for host in hosts:
            settings = {
                "COORDINATOR": project.inner_url,
                "NAME": name or f"chaos-{host}",
                "ENDPOINT": f"http://chaos-{host}:8000",
                "REGISTRATION": json.dumps(registration),
            }
            added = stack.enter_context(added_container(project, host, SOURCE.read_text(), settings, restart=restart))
            odd.append(Odd(project, added, settings["NAME"]))
        if wait(lambda: _count_healthy(project, odd) >= len(odd), seconds=JOIN_SECONDS) == float("inf"):
            raise Refused(f"Odd agents at {', '.join(hosts)} are not healthy: {read_log(odd[0].container)}")
        try:
            yield odd
        finally:
            project.withdraw_odd_agents()


@contextlib.contextmanager
def added_container(
    project: Project, host: str, source: str, settings: Mapping[str, str], *, restart: str = "no"
) -> Iterator[str]:
    """A container of the project's image that runs this Python; the others reach it as `chaos-<host>`."""
    env = {**settings, "API_KEY": project.api_key or ""}
    options = [
        "--network",
        project.network,
        "--network-alias",
        f"chaos-{host}",
        "--restart",
        restart,
        "--init",
        "--no-healthcheck",
    ]
    options += ["--label", f"{LABEL}={project.name}", "--publish", "127.0.0.1::8000", "--memory", "192m"]
    options += [part for key in env for part in ("--env", key)]  # the values come with the command's own
    command = ("python", "-c", source, "--host", "0.0.0.0", "--port", "8000")
    container = docker("run", "-d", *options, project.image, *command, **env)
    try:
        yield container
    finally:
        docker("rm", "--force", container)


def _count_healthy(project: Project, odd: list[Odd]) -> int:
    names = {one.name for one in odd}
    return sum(agent["name"] in names and agent["status"] == "healthy" for agent in project.list_agents())
