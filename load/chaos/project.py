"""A compose project that is broken on purpose: found by its labels, hurt from outside, and put back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from load.processes.ports import free_port
from load.processes.programs import ROOT

PREFIX = "muster-chaos-"  # and the number of the process whose project it is
WORKERS = ("analyzer", "reporter", "researcher")
COMMAND_SECONDS = 180.0
SERVING_SECONDS = 60.0
CALL_SECONDS = 5.0


class Project:
    """One project, its own or another's: all that is done to it goes by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def url(self) -> str:
        """Where the coordinator is published."""
        return f"http://{docker('port', self.find('coordinator'), '8000/tcp').splitlines()[0]}"

    def list_containers(self) -> list[str]:
        return docker("ps", "-aq", "-f", f"label=com.docker.compose.project={self.name}").split()

    def find(self, service: str) -> str:
        """The service's first container; exits where there is none."""
        labels = {"project": self.name, "service": service}
        filters = [part for key, value in labels.items() for part in ("-f", f"label=com.docker.compose.{key}={value}")]
        found = docker("ps", "-aq", *filters).split()
        return found[0] if found else sys.exit(f"The project {self.name!r} has no container of {service!r}.")

    # --- hurting

    def crash(self, service: str) -> None:
        """`kill -9` of the main process past Docker: what `docker kill` stops is not started again."""
        os.kill(int(docker("inspect", "-f", "{{.State.Pid}}", self.find(service))), signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self, service: str) -> Iterator[None]:
        docker("pause", self.find(service))
        try:
            yield
        finally:
            self.put_back()

    @contextlib.contextmanager
    def disconnected(self, service: str) -> Iterator[None]:
        docker("network", "disconnect", f"{self.name}_muster", self.find(service))
        try:
            yield
        finally:
            self.put_back()

    def put_back(self) -> None:
        """Nothing is paused, stopped or without its network afterwards, whoever did it."""
        for container in self.list_containers():
            known = json.loads(docker("inspect", container))[0]
            if known["State"]["Paused"]:
                docker("unpause", container)
            elif not known["State"]["Running"] and not known["State"]["Restarting"]:
                docker("start", container)
            network = f"{self.name}_muster"
            if network not in known["NetworkSettings"]["Networks"]:
                service = known["Config"]["Labels"]["com.docker.compose.service"]
                docker("network", "connect", "--alias", service, network, container)

    # --- looking

    def call(self, path: str, body: Any = None, *, headers: dict[str, str] | None = None, seconds: float = CALL_SECONDS,
             method: str | None = None) -> tuple[int, Any]:  # fmt: skip
        """The status and the JSON of an answer; raises OSError where there is none."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        key = {"Authorization": f"Bearer {os.environ['API_KEY']}"} if os.environ.get("API_KEY") else {}
        sent = {"Content-Type": "application/json", **key, **(headers or {})}
        request = urllib.request.Request(self.url + path, raw, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as exc:
            return exc.code, _read(exc.read())

    def list_healthy(self) -> list[str]:
        """Names of the agents that take steps; empty while the coordinator does not answer."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            _, found = self.call("/agents")
            return sorted(agent["name"] for agent in found["agents"] if agent["status"] == "healthy")
        return []

    def wait_serving(self) -> float:
        """Seconds until all agents take steps."""
        return wait(lambda: set(WORKERS) <= set(self.list_healthy()))


def start(image: str) -> Project:
    """A project of docker-compose.yml under a name and port of its own; what a killed run has left goes first."""
    for name in _list_left():
        _compose(name, image, "down", "--volumes", "--remove-orphans", "--timeout", "1")
    project = Project(f"{PREFIX}{os.getpid()}")
    try:
        _compose(project.name, image, "up", "-d", "--wait", PUBLISH_PORT=str(free_port()), MAX_CONCURRENT_TASKS="64")
    except BaseException:  # Ctrl-C, too
        remove(project, image)
        raise
    return project


def remove(project: Project, image: str) -> None:
    """Takes the project away with its volumes."""
    project.put_back()
    _compose(project.name, image, "down", "--volumes", "--remove-orphans", "--timeout", "1")


def wait(what: Callable[[], bool], *, seconds: float = SERVING_SECONDS) -> float:
    """Seconds until it is so; infinity where it never was."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - began


def docker(*arguments: str) -> str:
    """What `docker` printed; exits with what it said when it failed."""
    return _run("docker", *arguments)


def _list_left() -> list[str]:
    """Projects of runs whose process is gone."""
    names = docker("ps", "-a", "--format", '{{.Label "com.docker.compose.project"}}').split()
    return [name for name in sorted(set(names)) if name.startswith(PREFIX) and not _runs(name.removeprefix(PREFIX))]


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, ValueError):
        return False
    return True


def _compose(name: str, image: str, *arguments: str, **settings: str) -> None:
    _run("docker", "compose", "-p", name, "--env-file", os.devnull, *arguments, MUSTER_IMAGE=image, **settings)


def _run(*command: str, **settings: str) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ}
    done = subprocess.run(
        command, cwd=ROOT, env=kept | settings, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
