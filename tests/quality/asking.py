"""Asks a Muster: starts the services of any checkout over a folder, and brings back what they answer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from load.processes.ports import free_port
from tests.quality.scoring import Answer

READY_SECONDS = 60.0
INDEX_SECONDS = 240.0
ANSWER_SECONDS = 60.0
AGENTS = {"researcher", "analyzer", "reporter"}


class Muster:
    """The four services over one folder; `index_seconds` is from their start to the first whole answer."""

    def __init__(self, client: httpx.Client, began: float) -> None:
        self.client = client
        self._until = began + READY_SECONDS
        self._wait_ready()
        self.ask("What is this about?", seconds=INDEX_SECONDS)
        while self._indexing() and time.monotonic() < began + INDEX_SECONDS:
            time.sleep(0.2)
        self.index_seconds = time.monotonic() - began

    def ask(self, question: str, *, seconds: float = ANSWER_SECONDS) -> Answer:
        """The answer, and how long it took."""
        began = time.monotonic()
        body = {"task_description": question, "timeout_seconds": seconds}
        reply = self.client.post("/execute_task", json=body, timeout=seconds + 10)
        took = time.monotonic() - began
        reply.raise_for_status()
        return answer(reply.json(), took)

    def _indexing(self) -> bool:
        """Whether the researcher is still reading; a Muster that cannot say so answers only after it has read."""
        reply = self.client.get("/agents/researcher/index")
        return reply.status_code == 503 or (reply.status_code == 200 and not reply.json()["complete"])

    def _wait_ready(self) -> None:
        while time.monotonic() < self._until:
            try:
                agents = self.client.get("/agents", params={"status": "healthy"}).json()["agents"]
                if {agent["name"] for agent in agents} >= AGENTS:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise TimeoutError("The services did not become ready.")


@contextmanager
def muster(checkout: Path, documents: Path, settings: dict[str, str] | None = None) -> Iterator[Muster]:
    """The Muster in the folder `checkout`, run with this Python, over a folder of documents; ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="muster-quality-") as state:
        port = free_port(4)
        environ = os.environ | {"KNOWLEDGE_DIR": str(documents), "STATE_DIR": state, "DATABASE_URL": "memory:"}
        environ |= {"LOG_LEVEL": "ERROR", "PYTHONPATH": str(checkout), **(settings or {})}
        command = [sys.executable, "-m", "coordinator.cli", "run", "--port", str(port)]
        began = time.monotonic()
        with (Path(state) / "services.log").open("w+") as log:
            process = subprocess.Popen(command, cwd=checkout, env=environ, stdout=log, stderr=subprocess.STDOUT)
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                    yield Muster(client, began)
            except (TimeoutError, httpx.HTTPError) as exc:
                log.seek(0)
                raise RuntimeError(f"{checkout} failed over {documents}: {exc}\n{log.read()[-2000:]}") from exc
            finally:
                process.terminate()
                process.wait(30)


def answer(task: dict[str, Any], seconds: float) -> Answer:
    """What a task's view says, by the steps of the three agents; a step that failed leaves its part empty."""
    outputs: dict[str, list[dict[str, Any]]] = {}
    for step in task["results"]:
        outputs.setdefault(step["capability"], []).append(step["output"] or {})
    report = next(iter(outputs.get("report", ())), {}).get("document", {})
    return Answer(
        summary=tuple(one["statement"] for one in report.get("summary", ())),
        more=tuple(one["statement"] for section in report.get("sections", ()) for one in section["findings"]),
        sources=tuple(one["location"] for one in report.get("sources", ())),
        passages=tuple(one["text"] for found in outputs.get("research", ()) for one in found.get("evidence", ())),
        answered=report.get("answered"),
        seconds=seconds,
    )
