"""The command line of `python -m load.run`: what it takes, and what it refuses."""

from __future__ import annotations

import argparse
import ipaddress
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from shared.client.here import find_key, find_url

QUESTION = "What happens to a running task when the coordinator is killed?"
STEPS = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
SCENARIOS = {"steady": 30.0, "burst": 30.0, "soak": 600.0, "worker-dies": 30.0, "slow-worker": 40.0}  # seconds
STEP_SECONDS = 10.0
MOST_AT_ONCE = 5_000
MOST_TASKS = 1_000_000
MOST_SECONDS = 86_400.0  # of a whole run
MOST_RATE = 2_000.0

DESCRIPTION = """\
Puts a running coordinator under load and says where it breaks, why, and which setting moves that.

Without --scenario: callers that each have one task at any time, more of them step by step, until success falls under
--min-success or latency bends (p95 over 3x the first step's while tasks/s no longer grow). The knee is the least
concurrency that gave 95 % of the best rate. From it follows MAX_CONCURRENT_TASKS: tasks/s x latency.
A step that seems to break it is measured again before the verdict. Where the processor of this machine was full (90 %
of all cores, or 80 % of one for this program), that is said, and no limit under the default is suggested.

A task counts as a success when it completed: a partial answer, a refusal (429) and an error do not. Latencies are over
all tasks that the coordinator took, not over refusals, which take no time."""

EPILOG = """\
scenarios (tasks are sent by the clock, --rate a second, whatever becomes of those before; each is measured from when
it was meant to start):
  steady       a fixed rate
  burst        --burst tasks at once, then quiet for --quiet seconds, repeated
  soak         steady for long, with the coordinator's memory (from /metrics, if it tells) and the drift of p95
  worker-dies  steady; after a third of the time one process is killed (SIGKILL), named by --kill-pid or
               --kill-container; says how many tasks noticed and when it was over. Run two instances of the agent.
  slow-worker  steady; after half of the time an agent that takes --slow-ms for each step joins those that have
               --capability; says what it did to p99 and how many steps it got. It is removed at the end.

examples:
  python -m load.run                                        find the knee of the suite of this folder
  python -m load.run --steps 5,10,20 --seconds 5 --html load.html
  python -m load.run --scenario steady --rate 50 --json - | jq .verdict
  python -m load.run --scenario worker-dies --kill-container muster-researcher-1

Ctrl-C ends the run with what it has. Exit codes: 0 the first step (a scenario: the whole) reached --min-success,
1 it did not, 2 wrong options or no coordinator. Tasks cost what they cost: with a model behind the agents, money."""


class Parser(argparse.ArgumentParser):
    """A parser that refuses options in one sentence."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message.rstrip('.')}. See --help.", file=sys.stderr)
        sys.exit(2)


class Options(argparse.Namespace):
    """The options, checked."""

    url: str
    allow_remote: bool
    api_key: str | None
    scenario: str | None
    steps: tuple[int, ...]
    seconds: float
    timeout: float
    min_success: float
    max_tasks: int
    question: list[str]
    json: str | None
    html: Path | None
    rate: float
    burst: int
    quiet: float
    kill_pid: int | None
    kill_container: str | None
    capability: str
    slow_ms: float
    slow_host: str


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Returns the options; when they make no sense, ends the program with exit code 2 and one sentence."""
    parser = _build_parser()
    given = parser.parse_args(arguments, namespace=Options())
    try:
        given.url = given.url or find_url()
        given.api_key = given.api_key or find_key()
    except ValueError as exc:
        parser.error(str(exc))
    if given.seconds is None:
        given.seconds = SCENARIOS[given.scenario] if given.scenario else STEP_SECONDS
    given.question = given.question or [QUESTION]
    if wrong := find_refusal(given):
        parser.error(wrong)
    given.url = given.url.rstrip("/")
    return given


def find_refusal(given: Options) -> str | None:
    """Returns why these options are refused, or None."""
    try:
        parts = urlsplit(given.url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as exc:
        return f"--url {given.url} is no URL: {exc}"
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        return f"--url {given.url} must be an http:// or https:// URL with a host and nothing after the path"
    if not given.allow_remote and not _is_loopback(host):
        return f"--url {given.url} is another machine; add --allow-remote if its owner knows of the load to come"
    if given.kill_pid is not None or given.kill_container is not None:
        if given.scenario != "worker-dies":
            return "--kill-pid and --kill-container belong to --scenario worker-dies"
        if given.kill_pid is not None and given.kill_container is not None:
            return "name one victim: --kill-pid or --kill-container"
    elif given.scenario == "worker-dies":
        return "--scenario worker-dies needs a victim: --kill-pid PID or --kill-container NAME"
    if given.kill_pid is not None and (given.kill_pid <= 1 or given.kill_pid in (os.getpid(), os.getppid())):
        return f"--kill-pid {given.kill_pid} is not a worker"
    each = len(given.steps) if given.scenario is None else 1
    if each * (given.seconds + given.timeout) > MOST_SECONDS:
        return f"that could take more than {MOST_SECONDS / 3600:.0f} hours; ask for fewer steps or seconds"
    return next((no for path in (_get_json_path(given), given.html) if path and (no := _check_writable(path))), None)


def _get_json_path(given: Options) -> Path | None:
    return Path(given.json) if given.json and given.json != "-" else None


def _check_writable(path: Path) -> str | None:
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{path} cannot be written"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_steps(text: str) -> tuple[int, ...]:
    try:
        steps = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list like 5,10,20") from None
    if any(later <= earlier for earlier, later in zip((0, *steps), steps, strict=False)):
        raise argparse.ArgumentTypeError(f"{text} must rise from 1 or more")
    if steps[-1] > MOST_AT_ONCE or len(steps) > 100:
        raise argparse.ArgumentTypeError(f"at most {MOST_AT_ONCE:,} at once and 100 steps")
    return steps


class _Number:
    """A number within bounds, as an argument's type."""

    def __init__(self, least: float, most: float, kind: type[int] | type[float] = float) -> None:
        self.least, self.most, self.kind = least, most, kind

    def __call__(self, text: str) -> float:
        try:
            value = self.kind(text)
        except ValueError:
            value = math.nan
        if not self.least <= value <= self.most:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number from {self.least:g} to {self.most:,.0f}")
        return value


def _build_parser() -> Parser:
    parser = Parser(
        prog="python -m load.run",
        usage="python -m load.run [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=120),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--url", help="the coordinator (default: COORDINATOR_URL, else on this machine at PUBLISH_PORT, else 8000)")
    add("--allow-remote", action="store_true", help="the coordinator may be on another machine")
    add("--api-key", help="bearer token (default: API_KEY, API_KEY_FILE or secrets/api_key, which ps cannot show)")
    add("--scenario", choices=SCENARIOS, help="one of those below instead of the search for the knee")
    add("--steps", type=_parse_steps, default=STEPS, metavar="N,N,…", help="callers at once (default: 5,10,20 … 1280)")
    add("--seconds", type=_Number(0.5, MOST_SECONDS), help="of each step (default: 10), or of the whole scenario")
    add("--timeout", type=_Number(0.1, 3_600), default=30.0, help="seconds that each task has (default: %(default)g)")
    add(
        "--min-success",
        type=_Number(1, 100),
        default=80.0,
        metavar="PERCENT",
        help="that must complete (default: %(default)g)",
    )
    add("--max-tasks", type=_Number(1, MOST_TASKS, int), default=100_000, help="sent at most (default: %(default)s)")
    add("--question", action="append", help="what to ask; several take turns (default: one about the documentation)")
    add("--json", metavar="FILE", help="write everything as JSON; - is standard output")
    add("--html", type=Path, metavar="FILE", help="write a page with charts")
    some = parser.add_argument_group("for scenarios")
    add = some.add_argument
    add("--rate", type=_Number(0.1, MOST_RATE), default=20.0, help="tasks a second (default: %(default)g)")
    add("--burst", type=_Number(1, MOST_AT_ONCE, int), default=50, help="tasks at once (default: %(default)s)")
    add("--quiet", type=_Number(0.1, 3_600), default=5.0, help="seconds between bursts (default: %(default)g)")
    add("--kill-pid", type=int, metavar="PID", help="process to kill in worker-dies")
    add("--kill-container", metavar="NAME", help="container whose main process to kill in worker-dies, as root")
    add("--capability", default="research", help="of the slow agent (default: %(default)s)")
    add("--slow-ms", type=_Number(0, 600_000), default=2_000.0, help="that its steps take (default: %(default)g)")
    add("--slow-host", default="127.0.0.1", help="address where the coordinator reaches it (default: %(default)s)")
    return parser
