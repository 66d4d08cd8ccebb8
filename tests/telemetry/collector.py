"""A collector that runs, and what it says that it has received: it decodes OTLP itself, and prints every field."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from load.processes.ports import free_port
from tests.telemetry.fetch import find_collector

_ATTRIBUTE = re.compile(r" +-> (?P<name>[\w.]+): (?P<type>[A-Za-z]+)\((?P<value>.*)\)$")
_FIELD = re.compile(r" *(?:-> )?(?P<name>[A-Z][\w ]*?) *: (?P<value>.*)$")
_SECTIONS = (
    "ResourceSpans #",
    "ResourceMetrics #",
    "Span #",
    "Metric #",
    "NumberDataPoints #",
    "HistogramDataPoints #",
)


@dataclass
class Received:
    """One span or one figure: its own fields, the attributes of the span or the data point, and of its process."""

    fields: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    resource: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.fields["Name"]

    @property
    def service(self) -> str:
        return self.resource["service.name"]

    @property
    def id(self) -> str:
        return self.fields["ID"]

    @property
    def parent(self) -> str:
        return self.fields["Parent ID"]

    @property
    def trace(self) -> str:
        return self.fields["Trace ID"]


@dataclass(frozen=True)
class Collector:
    """Where it listens, and the file that it prints into."""

    url: str
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def spans(self, trace: str | None = None) -> list[Received]:
        """Every span so far, or those of a trace."""
        found = [one for one in parse(self.text) if "Trace ID" in one.fields and "Status code" in one.fields]
        return [one for one in found if trace in (None, one.trace)]

    def figures(self) -> list[Received]:
        """Every data point so far, under its metric's name."""
        return [one for one in parse(self.text) if "DataType" in one.fields]

    def environment(self) -> dict[str, str]:
        """What sends a service's telemetry here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }


def parse(text: str) -> Iterator[Received]:
    """What was printed, one span or data point after the other."""
    resource: dict[str, str] = {}
    metric: dict[str, str] = {}
    one = Received()
    for line in text.splitlines():
        if line.startswith(("ResourceSpans #", "ResourceMetrics #")):
            yield one
            resource, metric = {}, {}
            one = Received(attributes=resource)
        elif line.startswith(("ScopeSpans #", "ScopeMetrics #")):
            one = Received()
        elif line.startswith("Span #"):
            yield one
            one = Received(resource=resource)
        elif line.startswith("Metric #"):
            yield one
            metric = {}
            one = Received(metric, resource=resource)
        elif line.startswith(("NumberDataPoints #", "HistogramDataPoints #")):
            if one.fields is not metric:
                yield one
            one = Received(dict(metric), resource=resource)
        elif (found := _ATTRIBUTE.match(line)) is not None:
            one.attributes[found["name"]] = found["value"]
        elif (found := _FIELD.match(line)) is not None:
            one.fields[found["name"]] = found["value"]
    yield one


@contextmanager
def collecting(folder: Path, *, port: int | None = None) -> Iterator[Collector]:
    """A collector for as long as the block; it hands on nothing."""
    port, log = port or free_port(), folder / "collector.log"
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(find_collector()), "start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]
    command += ["--debug-log", "traces", "--debug-log", "metrics", "--pid-file", str(folder / "pid")]
    command += ["--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        _wait_until_it_listens(f"http://127.0.0.1:{port}", process)
        yield Collector(f"http://127.0.0.1:{port}", log)
    finally:
        process.kill()
        process.wait(timeout=60)


def _wait_until_it_listens(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, f"The collector ended with {process.returncode}."
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError("The collector did not begin to listen.")
