"""`python -m load.run`: puts a running coordinator under load and says where it breaks, why, and what moves that."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console

from load.agents.slow import NotJoined
from load.display import page
from load.display.terminal import Display, show
from load.driving.calls import Sender, build_headers, open_session
from load.driving.options import Options, parse
from load.driving.sending import Collected, DriveLimits, send_by_the_clock
from load.findings.findings import BenchFindings
from load.scenarios.bench import Bench
from load.scenarios.schedules import SCENARIOS
from load.scenarios.stepwise import search
from load.scenarios.victim import NoVictim

SPARE_FILES = 64  # descriptors that are not connections
HELLO_SECONDS = 5.0


class Refused(Exception):
    """There is nothing to measure; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    console = Console(stderr=options.json == "-", soft_wrap=True)
    try:
        _allow_connections(options.burst if options.scenario == "burst" else max(options.steps))
        found = uvloop.run(_run(options, console))
    except (Refused, NoVictim, NotJoined) as exc:
        print(f"python -m load.run: {exc}", file=sys.stderr)
        return 2
    show(console, found, min_success=options.min_success)
    if options.json == "-":
        print(json.dumps(found.as_json(), indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(page.render_page(found, options), encoding="utf-8")
        console.print(f"[dim]The charts: {options.html}[/]", highlight=False)
    return 0 if found.ok else 1


async def _run(options: Options, console: Console) -> BenchFindings:
    limits = DriveLimits(options.max_tasks)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, limits.stop.set)
    axis = "at once" if options.scenario is None else "time"
    title = f"{options.scenario or 'knee'} · {options.url}"
    async with open_session() as http:
        sender = Sender(
            http,
            options.url,
            questions=options.question,
            timeout_seconds=options.timeout,
            api_key=options.api_key,
        )
        await _say_hello(http, sender, options, limits)
        with Display(console, title=title, axis=axis, min_success=options.min_success) as display:
            bench = Bench(options, http, sender, display, limits)
            found = await (SCENARIOS[options.scenario] if options.scenario else search)(bench)
    if limits.stop.is_set():
        why = "Stopped early. Tasks that were under way go on in the coordinator until their deadline."
        return replace(found, notes=[*found.notes, why])
    if limits.used_up:
        return replace(found, notes=[*found.notes, f"Stopped after --max-tasks {options.max_tasks:,}."])
    return found


async def _say_hello(http: aiohttp.ClientSession, sender: Sender, options: Options, limits: DriveLimits) -> None:
    """Sends one task that is not measured, to warm up; raises `Refused` without an answer or with a wrong key."""
    try:
        timeout = aiohttp.ClientTimeout(total=HELLO_SECONDS)
        async with http.get(f"{options.url}/stats", headers=build_headers(options.api_key), timeout=timeout) as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise Refused(
            f"No coordinator answers at {options.url} ({type(exc).__name__}). Start one with `make run`, or name "
            f"another with --url."
        ) from exc
    if status == 401:
        raise Refused(f"The coordinator at {options.url} wants a key: set API_KEY or give --api-key.")
    if status != 200:
        raise Refused(
            f"{options.url}/stats answers HTTP {status}: that is not a coordinator; set its address with --url."
        )
    await send_by_the_clock(sender.send, [0.0], limits, Collected())
    limits.sent = 0


def _allow_connections(count: int) -> None:
    """Allows as many open files as this user may have, one for each task; raises `Refused` if those are too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < count + SPARE_FILES:
        raise Refused(f"{count} tasks at once need {count + SPARE_FILES} open files; `ulimit -Hn` allows {hard}.")


if __name__ == "__main__":
    sys.exit(main())
