"""KAOS's cluster on one machine: manifests become our agents as processes, behind one gateway, with a model and tools.

What is applied goes through `coordinator.cli render`'s own translation; its services are started here instead of by
Compose. The model answers whole, whether it is asked to stream or not.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from coordinator.cli.manifests.compose import compose
from coordinator.cli.manifests.kaos import read
from load.processes.ports import free_port
from tests.support.fakes import ROOT

READY_SECONDS = 60.0
_DEFAULT = re.compile(r"\$\{[^:}]+:-([^}]*)\}")
_DROPPED = {"host", "content-length", "transfer-encoding", "connection"}


class Cluster:
    """What `kubectl` talks to. `url` is the gateway, and where manifests are applied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._documents: dict[str, list[tuple[str, Any]]] = {}  # by namespace
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._urls: dict[str, str] = {}
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{free_port()}"
        self._model = f"{self.url}/model"

    def start(self) -> None:
        """The coordinator, which every agent registers with."""
        self._run("coordinator", ["coordinator"], {"DATABASE_URL": f"sqlite:///{self._folder}/muster.db"})

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()

    def apply(self, text: str, namespace: str) -> None:
        """Starts what a manifest describes."""
        with self._lock:
            documents = self._documents.setdefault(namespace, [])
            documents += [("stdin", document) for document in yaml.safe_load_all(text)]
            wrong: list[str] = []
            made = compose(read(documents, lambda p: wrong.append(str(p)) if p.fatal else None))
            if wrong:
                raise ValueError("; ".join(wrong))
            for name, service in made["services"].items():
                if name not in self._processes and name.startswith(("agent-", "mcpserver-")):
                    kind = "workers.agent" if name.startswith("agent-") else "tests.conformance.kaos_tools"
                    self._run(name, [kind], self._environment(service["environment"]))

    def is_ready(self, name: str) -> bool:
        """What KAOS's readiness probes ask: an agent's `/ready`, a tool server's port; a model is there always."""
        if name.startswith("modelapi-"):
            return True
        if name not in self._urls:
            return False
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{self._urls[name]}{'/ready' if name.startswith('agent-') else '/mcp'}", timeout=2)
            return answer.status_code == 200 if name.startswith("agent-") else answer.status_code < 500
        return False

    def where(self, path: str) -> str | None:
        """The address that a path of the gateway leads to; the coordinator knows KAOS's paths of agents itself."""
        _, kind, name, *rest = [*path.strip("/").split("/"), "", "", ""]
        if kind == "agent":
            return f"{self._urls['coordinator']}{path}"
        below = f"{self._urls.get(f'mcpserver-{name}', '')}/{'/'.join(rest).rstrip('/')}"
        return below if kind == "mcp" and f"mcpserver-{name}" in self._urls else None

    def _run(self, name: str, module: list[str], environment: dict[str, str]) -> None:
        port, folder = free_port(), self._folder / name
        folder.mkdir()
        self._urls[name] = f"http://127.0.0.1:{port}"
        clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        with (folder / "log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *module, "--port", str(port)],
                cwd=folder,
                env=clean | {"PYTHONPATH": str(ROOT)} | environment,
                stdout=log,
                stderr=log,
            )

    def _environment(self, given: dict[str, str]) -> dict[str, str]:
        """A service's environment, with the addresses that its processes have here."""
        found = {name: _DEFAULT.sub(r"\1", str(value)).replace("$$", "$") for name, value in given.items()}
        for service, url in self._urls.items():
            found = {n: re.sub(rf"http://{re.escape(service)}:\d+(?![\w.-])", url, v) for n, v in found.items()}
        return found | ({"MODEL_API_URL": self._model} if "MODEL_API_URL" in found else {})


def app(cluster: Cluster) -> Starlette:
    """The gateway, the model, and what `kubectl` asks."""
    client = httpx.AsyncClient(timeout=120)

    async def apply(request: Request) -> Response:
        try:
            await run_in_threadpool(cluster.apply, (await request.body()).decode(), request.path_params["namespace"])
        except ValueError as exc:
            return PlainTextResponse(str(exc), 400)
        return PlainTextResponse("applied")

    async def ready(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(cluster.is_ready, request.path_params["name"]))

    async def model(request: Request) -> Response:
        message = {"role": "assistant", "content": "Hello. This is a mock response."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16}
        return JSONResponse({"id": "1", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage})

    async def gateway(request: Request) -> Response:
        if request.url.path.endswith("/health/liveliness"):  # LiteLLM's
            return PlainTextResponse("I'm alive!")
        url = cluster.where(request.url.path)
        if url is None:
            return PlainTextResponse("no healthy upstream", 503)
        headers = {k: v for k, v in request.headers.items() if k not in _DROPPED}
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            answer = await client.request(request.method, url + query, headers=headers, content=await request.body())
        except httpx.HTTPError as exc:
            return PlainTextResponse(str(exc), 503)
        kept = {k: v for k, v in answer.headers.items() if k not in _DROPPED | {"content-encoding"}}
        return Response(answer.content, answer.status_code, headers=kept)

    return Starlette(
        routes=[
            Route("/_apply/{namespace}", apply, methods=["POST"]),
            Route("/_ready/{name}", ready),
            Route("/model/v1/chat/completions", model, methods=["POST"]),
            Route("/{path:path}", gateway, methods=["GET", "POST", "DELETE"]),
        ]
    )


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A cluster whose coordinator is ready; everything ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        port = int(cluster.url.rpartition(":")[2])
        server = uvicorn.Server(uvicorn.Config(app(cluster), port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, name="gateway")
        thread.start()
        try:
            cluster.start()
            until = time.monotonic() + READY_SECONDS
            while not _answers(f"{cluster._urls['coordinator']}/ready"):
                if time.monotonic() > until:
                    raise SystemExit("The coordinator did not start.")
                time.sleep(0.1)
            yield cluster
        finally:
            cluster.stop()
            server.should_exit = True
            thread.join()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).is_success
    return False
