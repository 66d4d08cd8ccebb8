"""A stack of containers under a name of its own: brought up, looked at, hurt, and taken away with its volumes."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from load.processes.ports import free_port
from tests.support.docker import ROOT, Done, docker, inspected, kill_from_the_host, pause, run

SERVICES = ("coordinator", "researcher", "analyzer", "reporter")
WORKERS = SERVICES[1:]
IN_PRODUCTION = (*SERVICES, "coordinator-2", "postgres", "caddy")
V2 = ("docker", "compose")
V1 = ("docker-compose",)
UP_SECONDS = 60.0
AGAIN_SECONDS = 45.0  # 8 are promised and measured; tests wait longer, for machines that do other things besides
open_stacks: list[Stack] = []  # for the report of a failed test


class Stack:
    """One Compose project. `with Stack(image) as stack` starts nothing and removes everything at the end.

    `override` is merged over the file as a second one; `env` is all that Compose sees besides the image and the port.
    """

    def __init__(
        self,
        image: str,
        *,
        file: str = "docker-compose.yml",
        override: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = V2,
    ) -> None:
        self.image = image
        self.name = f"muster-test-{secrets.token_hex(4)}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {"MUSTER_IMAGE": image, "PUBLISH_PORT": str(self.port)} | dict(env or {})
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.env_file = self.folder / "env"  # instead of the developer's own .env
        self.env_file.touch()
        self.program = tuple(program)
        self._files = [str(ROOT / file)]
        if override is not None:
            self.override(override)

    def __enter__(self) -> Self:
        open_stacks.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        open_stacks.remove(self)
        for id in docker(
            "ps", "-q", "-f", f"label=com.docker.compose.project={self.name}", "-f", "status=paused"
        ).split():
            docker("unpause", id, check=False)
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def override(self, override: Mapping[str, Any]) -> Path:
        """What Compose reads from now on besides the file itself: JSON is YAML. Returns the file."""
        path = self.folder / f"override-{len(self._files)}.yml"
        path.write_text(json.dumps(override))
        self._files.append(str(path))
        return path

    def compose(self, *args: str, check: bool = True, seconds: float = 180.0) -> Done:
        """`docker compose args` for this project; raises `Refused`."""
        files = [part for file in self._files for part in ("-f", file)]
        # one way to name a project and an empty .env that both versions of Compose know
        head = (*self.program, "-p", self.name, "--env-file", str(self.env_file), *files)
        return run(*head, *args, check=check, seconds=seconds, env=self.env)

    def up(self, *args: str, seconds: float = UP_SECONDS) -> Self:
        """`up -d --wait`: back when every health check is green."""
        self.compose("up", "-d", "--wait", "--wait-timeout", str(int(seconds)), *args, seconds=seconds + 120)
        return self

    # --- looking

    def client(self, seconds: float = 60.0) -> httpx.Client:
        """An HTTP client of the coordinator's."""
        return httpx.Client(base_url=self.url, timeout=seconds)

    def containers(self, service: str, *, stopped: bool = True) -> list[str]:
        """The ids of a service's containers, in the order of their numbers."""
        filters = [f"label=com.docker.compose.project={self.name}", f"label=com.docker.compose.service={service}"]
        flags = [part for filter in filters for part in ("-f", filter)]
        shown = '{{.Label "com.docker.compose.container-number"}} {{.ID}}'
        lines = docker("ps", *(["-a"] if stopped else []), *flags, "--format", shown).splitlines()
        return [line.split()[1] for line in sorted(lines, key=lambda line: int(line.split()[0]))]

    def container(self, service: str) -> str:
        """The id of a service's first container."""
        return self.containers(service)[0]

    def state(self, container: str) -> dict[str, Any]:
        """Docker's word on a container: Status, Running, Pid, ExitCode, OOMKilled, Health …"""
        state: dict[str, Any] = inspected(container)["State"]
        return state

    def restarts(self, container: str) -> int:
        """How often Docker has started a container again by itself."""
        count: int = inspected(container)["RestartCount"]
        return count

    def pid(self, container: str) -> int:
        """The container's main process, as the host numbers it; 0 if it does not run."""
        pid: int = self.state(container)["Pid"]
        return pid

    def logs(self, service: str = "", *, tail: int = 1_000) -> str:
        """What a service has said, or all of them."""
        return self.compose("logs", "--no-color", f"--tail={tail}", *([service] if service else []), check=False).stdout

    def agents(self) -> list[dict[str, Any]]:
        """The coordinator's list of agents; empty while it cannot be reached."""
        with contextlib.suppress(httpx.HTTPError), self.client(5.0) as client:
            answer = client.get("/agents")
            if answer.status_code == 200:
                found: list[dict[str, Any]] = answer.json()["agents"]
                return found
        return []

    def healthy(self) -> list[str]:
        """The names of the agents that take steps now, one for each instance."""
        return sorted(agent["name"] for agent in self.agents() if agent["status"] == "healthy")

    def wait_for(self, what: Callable[[], Any], *, seconds: float = AGAIN_SECONDS, why: str = "") -> float:
        """Waits until `what()` is true and returns the seconds that took; fails after `seconds`."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < seconds, f"{why or what} did not come true within {seconds} s"
            time.sleep(0.05)
        return time.monotonic() - began

    def wait_serving(self, names: Sequence[str] = WORKERS, *, seconds: float = AGAIN_SECONDS) -> float:
        """Waits until the coordinator answers and exactly these agents take steps; returns the seconds that took."""
        wanted = sorted(names)
        return self.wait_for(lambda: self.healthy() == wanted, seconds=seconds, why=f"healthy {wanted}")

    def serves_anew(self, service: str, *, since: float) -> bool:
        """Whether a service answers from a process that began after `since` (monotonic), and all workers take steps."""
        path = "/health" if service == "coordinator" else f"/agents/{service}/health"
        with contextlib.suppress(httpx.HTTPError), self.client(5.0) as client:
            answer = client.get(path)
            uptime = answer.json().get("uptime_seconds") if answer.status_code == 200 else None
            return uptime is not None and uptime < time.monotonic() - since and self.healthy() == sorted(WORKERS)
        return False

    # --- hurting

    def crash(self, container: str) -> None:
        """`kill -9` of the container's main process from the host; Docker is not told."""
        pid = self.pid(container)
        assert pid, f"{container} does not run"
        kill_from_the_host(pid, self.image)

    @contextlib.contextmanager
    def paused(self, container: str) -> Iterator[None]:
        """The container's processes stand still meanwhile."""
        pause(container)
        try:
            yield
        finally:
            docker("unpause", container)

    @contextlib.contextmanager
    def disconnected(self, container: str, service: str) -> Iterator[None]:
        """The container is off the bridge network meanwhile; its name comes back with it."""
        network = f"{self.name}_muster"
        docker("network", "disconnect", network, container)
        try:
            yield
        finally:
            docker("network", "connect", "--alias", service, network, container)

    def exec(self, service: str, *command: str, check: bool = True) -> str:
        """What a command printed in a service's first container."""
        done = run("docker", "exec", self.container(service), *command, check=check)
        return done.stdout.strip()
