"""A compose project that is broken on purpose: found by its labels, hurt from outside, and put back."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from load.chaos.engine import CannotPlay, Refused, as_root, docker, find_pid, inspect, list_pids, run, wait
from load.chaos.limits import limit_cores, restore

WORKERS = ("analyzer", "reporter", "researcher")
CALL_SECONDS = 5.0
DROP = "-p tcp --dport 8000 -j DROP"  # of iptables
SECRET = "chaos" * 8  # of agents that chaos registers with one
READ_METRICS = """
import os, urllib.request as http
headers = {"Authorization": "Bearer " + os.environ["KEY"]}
print(http.urlopen(http.Request("http://127.0.0.1:8000/metrics", headers=headers), timeout=5).read().decode())
"""
LABEL = "muster.chaos"  # of containers that a fault adds; its value is the project's name


class Project:
    """One project, its own or another's: all that is done to it goes by its name."""

    def __init__(self, name: str, *, api_key: str | None = None, file: str | None = None) -> None:
        self.name = name
        self.api_key = api_key
        self.file = file  # of a project of its own

    @cached_property
    def url(self) -> str:
        """Where the coordinator, or what stands before several, is published."""
        published = next(iter(self.find_all("caddy")), None) or self.find("coordinator")
        return f"http://{docker('port', published, '8000/tcp').splitlines()[0]}"

    @cached_property
    def inner_url(self) -> str:
        """Where agents reach a coordinator, whichever of several is there."""
        return f"http://{'coordinators' if len(self.coordinators) > 1 else 'coordinator'}:8000"

    @cached_property
    def coordinators(self) -> list[str]:
        return [*self.find_all("coordinator"), *self.find_all("coordinator-2")]

    @cached_property
    def network(self) -> str:
        """The network on which coordinators and workers meet."""
        return str(next(iter(inspect(self.find("reporter"))[0]["NetworkSettings"]["Networks"])))

    @cached_property
    def image(self) -> str:
        image: str = inspect(self.find("coordinator"))[0]["Image"]
        return image

    @cached_property
    def expected(self) -> Counter[str]:
        """How many of each worker there are when all is well."""
        return Counter({service: len(self.find_all(service)) for service in WORKERS})

    def list_containers(self) -> list[str]:
        return docker("ps", "-aq", "-f", f"label=com.docker.compose.project={self.name}").split()

    def list_services(self) -> list[str]:
        shown = '{{.Label "com.docker.compose.service"}}'
        lines = docker("ps", "-a", "-f", f"label=com.docker.compose.project={self.name}", "--format", shown)
        return sorted(set(lines.split()))

    def find_all(self, service: str) -> list[str]:
        """The service's containers, in the order of their numbers."""
        labels = {"project": self.name, "service": service}
        filters = [part for key, value in labels.items() for part in ("-f", f"label=com.docker.compose.{key}={value}")]
        shown = '{{.Label "com.docker.compose.container-number"}} {{.ID}}'
        lines = docker("ps", "-a", *filters, "--format", shown).splitlines()
        return [line.split()[1] for line in sorted(lines, key=lambda line: int(line.split()[0]))]

    def find(self, service: str) -> str:
        """The service's first container; raises `Refused` where there is none."""
        found = self.find_all(service)
        if not found:
            raise Refused(f"The project {self.name!r} has no container of {service!r}.")
        return found[0]

    # --- hurting

    def crash(self, *containers: str) -> None:
        """`kill -9` of the first process past Docker: what `docker kill` stops is not started again."""
        for container in containers:
            if pid := find_pid(container):
                as_root(container, f"kill -9 {pid}")

    @contextlib.contextmanager
    def stopped(self, container: str) -> Iterator[None]:
        """All its processes stand still meanwhile (SIGSTOP); raises `CannotPlay`."""
        pids = " ".join(map(str, list_pids(container)))
        as_root(container, f"kill -STOP {pids}")
        try:
            yield
        finally:
            as_root(container, f"kill -CONT {pids} || true")

    @contextlib.contextmanager
    def disconnected(self, container: str) -> Iterator[None]:
        """It is off the network meanwhile, and has its name again afterwards."""
        docker("network", "disconnect", self.network, container)
        try:
            yield
        finally:
            self._connect(container)

    @contextlib.contextmanager
    def deaf_to_calls(self, container: str) -> Iterator[None]:
        """It can call, and what is sent to it does not arrive; raises `CannotPlay`."""
        enter = f"nsenter --target {find_pid(container)} --net iptables"
        rule = f"INPUT {DROP}"
        as_root(container, f"{enter} -A {rule}")
        try:
            yield
        finally:
            as_root(container, f"{enter} -D {rule}")

    @contextlib.contextmanager
    def throttled(self, container: str, cores: float) -> Iterator[None]:
        """It has only this much of the processors meanwhile."""
        with self._updated(container, limit_cores(cores, inspect(container)[0]["HostConfig"])):
            yield

    @contextlib.contextmanager
    def squeezed(self, container: str, megabytes: int) -> Iterator[None]:
        """It may use only this much memory meanwhile; raises `CannotPlay` where it had no limit to go back to."""
        if not inspect(container)[0]["HostConfig"]["Memory"]:
            raise CannotPlay("Docker cannot take a memory limit away again, and this container has none")
        with self._updated(container, ("--memory", f"{megabytes}m", "--memory-swap", f"{megabytes}m")):
            yield

    @contextlib.contextmanager
    def _updated(self, container: str, options: Sequence[str]) -> Iterator[None]:
        before = inspect(container)[0]["HostConfig"]
        docker("update", *options, container)
        try:
            yield
        finally:
            docker("update", *restore(before), container)

    def put_back(self) -> None:
        """Nothing is paused, stopped, without its network or added afterwards, whoever did it."""
        if added := docker("ps", "-aq", "-f", f"label={LABEL}={self.name}").split():
            docker("rm", "--force", *added)
        for known in inspect(*self.list_containers()):
            container, state = known["Id"], known["State"]
            if state["Paused"]:
                docker("unpause", container)
            elif not state["Running"] and not state["Restarting"]:
                docker("start", container)
            self._connect(container)

    def release(self) -> None:
        """What a run has left that was killed: processes that stand still, calls that are dropped, odd agents."""
        for known in inspect(*self.list_containers()):
            container, pid = known["Id"], known["State"]["Pid"]
            if pid:
                pids = " ".join(map(str, list_pids(container)))
                enter = f"nsenter --target {pid} --net iptables"
                with contextlib.suppress(CannotPlay):
                    as_root(container, f"kill -CONT {pids}; {enter} -D INPUT {DROP} || true")
        self.withdraw_odd_agents()

    def withdraw_odd_agents(self) -> None:
        """Agents that chaos has registered are gone from the registry."""
        headers = {"Muster-Secret": SECRET}
        with contextlib.suppress(OSError):
            for agent in self.list_agents():
                if agent["name"].startswith("chaos-"):
                    self.call(f"/agents/{agent['agent_id']}", method="DELETE", headers=headers)

    def _connect(self, container: str) -> None:
        known = inspect(container)[0]
        service: str = known["Config"]["Labels"]["com.docker.compose.service"]
        if service != "postgres" and self.network not in known["NetworkSettings"]["Networks"]:
            names = [service, "coordinators"] if service.startswith("coordinator") else [service]
            aliases = [part for name in names for part in ("--alias", name)]
            docker("network", "connect", *aliases, self.network, container)

    # --- looking

    def call(
        self,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
        method: str | None = None,
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer; raises OSError where there is none."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **self.authorize(), **(headers or {})}
        request = urllib.request.Request(self.url + path, raw, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, _read(exc.read())
        except http.client.HTTPException as exc:
            raise OSError(f"The answer broke off: {exc!r}") from exc

    def authorize(self) -> dict[str, str]:
        """The header that the coordinator wants to see."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def read_metrics(self) -> Counter[str]:
        """Each series of `/metrics` with its value, of all coordinators together; raises `Refused`."""
        found: Counter[str] = Counter()
        for container in self.coordinators:
            read = ("docker", "exec", "-e", "KEY", container, "python", "-c", READ_METRICS)
            for name, _, value in (line.rpartition(" ") for line in run(*read, KEY=self.api_key or "").splitlines()):
                if name[:1] != "#":
                    found[name] += float(value)  # type: ignore[assignment]  # typeshed counts in whole numbers
        return found

    def list_agents(self) -> list[dict[str, Any]]:
        """The registered instances; empty while the coordinator does not answer."""
        with contextlib.suppress(OSError, KeyError, TypeError):
            found: list[dict[str, Any]] = self.call("/agents")[1]["agents"]
            return found
        return []

    def list_healthy(self) -> list[str]:
        """Names of the instances that take steps."""
        return sorted(agent["name"] for agent in self.list_agents() if agent["status"] == "healthy")

    def is_serving(self) -> bool:
        """Whether all workers take steps."""
        return self.expected <= Counter(self.list_healthy())

    def wait_serving(self) -> float:
        """Seconds until all workers take steps."""
        return wait(self.is_serving)

    def run_task(self, body: Mapping[str, Any], *, seconds: float) -> tuple[dict[str, Any], float]:
        """A task's TaskView when it has ended, empty where there was none, and how long the answer took."""
        began = time.monotonic()
        try:
            _, said = self.call("/execute_task", body, seconds=seconds)
        except OSError:
            said = None
        view = said.get("task", said) if isinstance(said, dict) else None
        return view if isinstance(view, dict) else {}, time.monotonic() - began


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
