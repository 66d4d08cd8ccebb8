"""Real processes for tests: started on free ports, waited for, killed by their own id, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import httpx

from load.processes.ports import free_port
from load.processes.programs import build_command, build_environment, start_program

READY_SECONDS = 30.0
STOP_SECONDS = 15.0

# Importing takes a second; a warm process is forked from one that has imported everything and run nothing.
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        "coordinator.app",
        "shared.server.run",
        "shared.worker.app",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.http.httptools_impl",
        "uvicorn.lifespan.on",
        "tests.support.processes",
    ]
)


class _Process(Protocol):
    @property
    def pid(self) -> int | None: ...
    def wait(self, seconds: float) -> int | None: ...


class _Warm:
    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        self._process = _FORKED.Process(target=target, args=args, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def wait(self, seconds: float) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode


class _Cold:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class Running:
    """A process that was started here; `with` ends it."""

    def __init__(self, process: _Process, *, out: Path, err: Path) -> None:
        self._process = process
        self._out, self._err = out, err
        assert process.pid is not None
        self.pid = process.pid
        self.code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self.out + self.err

    @property
    def alive(self) -> bool:
        return self.wait(0) is None

    def wait(self, seconds: float = STOP_SECONDS) -> int | None:
        """The exit code (negative: the signal), or None if it still runs after so many seconds."""
        if self.code is None:
            self.code = self._process.wait(seconds)
        return self.code

    def kill(self) -> None:
        """`kill -9`, and waits for the end."""
        self.tell(signal.SIGKILL)
        assert self.wait() is not None

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        self.tell(signal.SIGTERM)
        return self.wait()

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def start(
    module: str,
    *args: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    warm: bool = True,
    through: Sequence[str] = (),
    python: str = sys.executable,
) -> Running:
    """`python -m module args` (or `python file.py args`), run in `folder`; its output is appended to files there.

    `through` is a command that runs the command after it; neither that is warm, nor another `python`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(module).stem if module.endswith(".py") else module.rpartition(".")[2]
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    if warm and not through and python == sys.executable:
        process: _Process = _Warm(_run_module, module, args, str(folder), build_environment(env), str(out), str(err))
    else:
        command = [*through, *build_command(module, *args, python=python)]
        process = _Cold(start_program(command, folder=folder, env=env, out=out, err=err))
    for path in (out, err):
        path.touch()
    return Running(process, out=out, err=err)


class Service:
    """A web service over one folder: may be started, killed and started again, always at the same address.

    `warm` ones are forked from a process that has imported everything: the same code, started in 0.1 s, not 1.2 s.
    """

    def __init__(
        self, module: str, folder: Path, *, env: Mapping[str, str], warm: bool = True, through: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._module, self._env, self._warm, self._through = module, env, warm, through
        self._running: Running | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.kill()

    @property
    def process(self) -> Running:
        assert self._running is not None, "start() comes first"
        return self._running

    def start(self, *, failpoint: str = "") -> Self:
        assert self._running is None or not self._running.alive, "it runs already"
        env = {**self._env, **({"MUSTER_FAILPOINT": failpoint} if failpoint else {})}
        port = ("--port", str(self.port))
        self._running = start(self._module, *port, folder=self.folder, env=env, warm=self._warm, through=self._through)
        return self

    def ready(self, seconds: float = READY_SECONDS) -> Self:
        """Waits until it takes requests."""
        wait_until_it_answers(f"{self.url}/ready", self.process, seconds)
        return self

    def kill(self) -> None:
        self.process.kill()

    def terminate(self) -> None:
        self.process.tell(signal.SIGTERM)


class Coordinator(Service):
    """A coordinator over one journal: a file, or the address of a database; `module` is what starts it."""

    def __init__(
        self,
        folder: Path,
        *,
        warm: bool = True,
        journal: Path | str | None = None,
        through: Sequence[str] = (),
        module: str = "coordinator",
        **settings: object,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = journal or folder / "muster.db"
        url = self.journal if isinstance(self.journal, str) else f"sqlite:///{self.journal}"
        env = {"DATABASE_URL": url, "LOG_FORMAT": "json"}
        env |= {name.upper(): str(value) for name, value in settings.items()}
        super().__init__(module, folder, env=env, warm=warm, through=through)

    def use(self, journal: Path | str) -> None:
        """From its next start on, it has another journal."""
        self.journal = journal
        self._env = {**self._env, "DATABASE_URL": journal if isinstance(journal, str) else f"sqlite:///{journal}"}


def wait_until_it_answers(url: str, process: Running, seconds: float = READY_SECONDS) -> None:
    """Waits for a 200; fails with the process's last words when it ends before or takes too long."""
    until = time.monotonic() + seconds
    with httpx.Client(timeout=2.0) as client:
        while time.monotonic() < until:
            assert process.alive, f"It ended with code {process.code}: {process.err[-2000:]} {process.out[-2000:]}"
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            time.sleep(0.01)
    raise AssertionError(f"{url} did not answer within {seconds} s: {process.err[-2000:]} {process.out[-2000:]}")


# --- a small disk ---------------------------------------------------------------------------------


class Disk:
    """A tmpfs of so many bytes, mounted at `path`: by root, or by anybody in a namespace of its own.

    Processes that are to use it are started `through` it; this process sees it at `seen`.
    """

    def __init__(self, path: Path, *, size: str, read_only: bool = False) -> None:
        self.path = self.seen = path
        self.through: list[str] = []
        self._mount = ["mount", "-t", "tmpfs", "-o", f"size={size}{',ro' if read_only else ''}", "tmpfs", str(path)]
        self._holder: subprocess.Popen[bytes] | None = None
        self._filler: threading.Thread | None = None
        self._freed = threading.Event()

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        if subprocess.run(self._mount, capture_output=True, check=False).returncode == 0:
            return self
        script = f"{' '.join(self._mount)} && echo mounted && exec sleep infinity"
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        assert self._holder.stdout.readline() == b"mounted\n", self._holder.stderr.read()
        pid = str(self._holder.pid)
        self.through = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", pid]
        self.seen = Path(f"/proc/{pid}/root{self.path}")
        return self

    def __exit__(self, *_: object) -> None:
        self.free()
        if self._holder is None:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
            return
        self._holder.kill()
        self._holder.communicate()

    def fill(self) -> None:
        """Leaves no room for another byte until `free`, whatever others give back meanwhile."""
        self._fill()
        self._freed.clear()
        self._filler = threading.Thread(target=self._keep_full, daemon=True)
        self._filler.start()

    def free(self) -> None:
        """Gives back what `fill` took."""
        self._freed.set()
        if self._filler is not None:
            self._filler.join()
            (self.seen / "ballast").unlink()
            self._filler = None

    def _keep_full(self) -> None:
        while not self._freed.wait(0.005):
            self._fill()

    def _fill(self) -> None:
        with (self.seen / "ballast").open("ab", buffering=0) as file:
            for size in (65_536, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass


# --- agents ---------------------------------------------------------------------------------------


class Agents:
    """One process with two agents that note every execution in a file: `plain` is bare ASGI, `worker` our chassis.

    A step's input says what it does, as an object or as its JSON, which a chat can send: `{"delay_ms": 40,
    "fail_first": true, "hang": true, "size": 1000}`; its output is what `output_of` says. `plain` asks `worker` for
    help where `"delegate"` gives it the key that it signs with.
    """

    def __init__(self, folder: Path, coordinator_url: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._coordinator_url = coordinator_url
        self.record = folder / "executions.txt"
        self.plain_url = f"http://127.0.0.1:{free_port()}"
        self.worker_url = f"http://127.0.0.1:{free_port()}"
        self.process: Running | None = None

    def __enter__(self) -> Self:
        out = self._folder / "agents.out"
        out.touch()
        self.record.touch()
        args = (self.plain_url, self.worker_url, self._coordinator_url, str(self.record), str(out))
        self.process = Running(_Warm(_run_agents, *args), out=out, err=out)
        for url in (self.plain_url, self.worker_url):
            wait_until_it_answers(f"{url}/health", self.process)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()

    def register(self, *, seconds: float = 15.0) -> None:
        """Registers `plain` by hand, as a curl would, and waits until both are healthy."""
        body = {"name": "plain", "endpoint": self.plain_url, "capabilities": ["plain"]}
        until = time.monotonic() + seconds
        with httpx.Client(base_url=self._coordinator_url, timeout=5.0) as client:
            assert client.post("/register_agent", json=body).status_code in (200, 201)
            while time.monotonic() < until:
                found = client.get("/agents", params={"status": "healthy"}).json()["agents"]
                if {agent["name"] for agent in found} >= {"plain", "worker"}:
                    return
                time.sleep(0.05)
        raise AssertionError("The agents did not become healthy.")

    def executions(self) -> list[tuple[float, str, str]]:
        """When (monotonic), task and step of everything that was begun."""
        return [(at, task, step) for at, task, step, _ in self.attempts()]

    def attempts(self) -> list[tuple[float, str, str, int]]:
        """The same with the number of the attempt."""
        lines = [line.split() for line in self.record.read_text().splitlines()]
        return [(float(at), task, step, int(attempt)) for at, task, step, attempt in lines]


def output_of(task_id: str, step_id: str, size: int = 0) -> dict[str, str]:
    """What the test agents answer for a step."""
    return {"made": f"{task_id}/{step_id}", "padding": "x" * size}


def _run_agents(plain_url: str, worker_url: str, coordinator_url: str, record: str, out: str) -> None:
    _speak_to(out, out)
    os.environ["LOG_LEVEL"] = "WARNING"
    asyncio.run(_serve_agents(plain_url, worker_url, coordinator_url, Path(record)))


async def _serve_agents(plain_url: str, worker_url: str, coordinator_url: str, record: Path) -> None:
    import uvicorn

    from shared.agent import Agent, Context, Reply
    from shared.contracts import StepRequest
    from shared.errors import WorkerFault
    from shared.settings import WorkerSettings
    from shared.worker.app import create_worker_app

    failed: set[tuple[str, str]] = set()
    with record.open("a", buffering=1) as lines:

        def note(task_id: str, step_id: str, attempt: int) -> None:
            lines.write(f"{time.monotonic()} {task_id} {step_id} {attempt}\n")

        async def work(task_id: str, step_id: str, given: dict[str, Any]) -> dict[str, str] | None:
            await asyncio.sleep(given.get("delay_ms", 0) / 1000)
            if given.get("hang"):
                await asyncio.sleep(3600)
            if given.get("fail_first") and (task_id, step_id) not in failed:
                failed.add((task_id, step_id))
                return None
            return output_of(task_id, step_id, given.get("size", 0))

        async def run(step: StepRequest, ctx: Context) -> Reply:
            note(step.task_id, step.step_id, step.attempt)
            made = await work(step.task_id, step.step_id, _parse_given(step.input))
            if made is None:
                raise WorkerFault("The first time fails.", retryable=True)
            await ctx.progress("done", 1.0)
            return Reply(output=made)

        async def plain(scope: Any, receive: Any, send: Any) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            answer: dict[str, Any] = {"status": "healthy"}
            if scope["method"] == "POST":
                step = json.loads(body)
                given = _parse_given(step.get("input"))
                note(step["task_id"], step["step_id"], step["attempt"])
                if key := given.get("delegate"):
                    await _delegate(f"{coordinator_url}/delegate", key, step)
                made = await work(step["task_id"], step["step_id"], given)
                answer = {key: step[key] for key in ("task_id", "step_id", "attempt")}
                answer |= {"status": "completed", "output": made}
                if made is None:
                    error = {"type": "agent_error", "detail": "The first time fails.", "retryable": True}
                    answer |= {"status": "failed", "error": error}
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

        settings = WorkerSettings(coordinator_url=coordinator_url)
        agent = Agent("worker", "Does what its input says.", ("worker",), run, max_concurrency=512)
        worker = create_worker_app(agent, settings=settings, endpoint=worker_url)
        servers = [
            uvicorn.Server(
                uvicorn.Config(
                    app,
                    port=int(url.rpartition(":")[2]),
                    lifespan=lifespan,
                    http="httptools",
                    log_config=None,
                    access_log=False,
                )
            )
            for app, url, lifespan in ((plain, plain_url, "off"), (worker, worker_url, "on"))
        ]
        await asyncio.gather(*(server.serve() for server in servers))


async def _delegate(url: str, key: Mapping[str, str], step: Mapping[str, Any]) -> None:
    """Asks until there is an answer: whoever carries the step may have died, and then it is carried again."""
    from shared.agent_loop.peers import ASKED_AS
    from shared.limits.envelope import HEADER, Envelope, seal

    body = b'{"agent": "worker", "task": "Help me."}'
    envelope = Envelope(step["task_id"], step["step_id"], step["attempt"], 30_000)
    headers = {HEADER: seal(envelope, key=bytes.fromhex(key["key"]), body=body), ASKED_AS: key["instance"]}
    async with httpx.AsyncClient(timeout=30.0) as http:
        for _ in range(60):
            with contextlib.suppress(httpx.TransportError):
                answer = await http.post(url, content=body, headers={**headers, "Content-Type": "application/json"})
                if answer.status_code < 500:
                    return
            await asyncio.sleep(0.5)


def _parse_given(given: Any) -> dict[str, Any]:
    if isinstance(given, str) and given.startswith("{"):
        given = json.loads(given)
    return given if isinstance(given, dict) else {}


# --- in the new process ---------------------------------------------------------------------------


def _run_module(module: str, args: tuple[str, ...], folder: str, env: dict[str, str], out: str, err: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    _speak_to(out, err)
    sys.argv = [module, *args]
    if module.endswith(".py"):
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _speak_to(out: str, err: str) -> None:
    for path, stream in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


@contextlib.contextmanager
def suite(folder: Path, **settings: object) -> Iterator[tuple[Coordinator, Agents]]:
    """A warm coordinator that is ready, and its two agents, registered and healthy."""
    with Coordinator(folder / "coordinator", **settings) as coordinator:  # type: ignore[arg-type]
        coordinator.start().ready()
        with Agents(folder / "agents", coordinator.url) as agents:
            agents.register()
            yield coordinator, agents
