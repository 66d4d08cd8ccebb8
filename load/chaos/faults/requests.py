"""Faults in requests: too large, slow, smuggled, paths for ids, plans that loop, odd values everywhere."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from load.chaos.fault import Fault, at_least, at_most, holds
from load.chaos.project import Project
from load.chaos.traffic import QUESTION
from load.figures.figure import Figure

SLOW_CONNECTIONS = 500
HEAD_SECONDS = 10.0
ROUNDS = 400
ODD_VALUES: tuple[Any, ...] = (
    None,
    "",
    "\x00",
    "\ud800",
    -1,
    0,
    1e308,
    10**30,
    True,
    [],
    {},
    [[]],
    "x" * 10_000,
    {"": {"": []}},
    "../..",
)
ROUTES = """/execute_task /register_agent /delegate /v1/chat/completions /a2a /mcp /tasks/x/cancel /tasks/x/rerun
/agents/x/execute"""
FIELDS = """task_description timeout_seconds plan agents context priority max_calls format name endpoint capabilities
messages model stream jsonrpc method params id from_step"""
PATHS = """..%2f..%2fetc%2fpasswd %2e%2e%2f a%00b ..%5c..%5c %2fetc%2fpasswd a%0d%0ab ....%2f%2f %c0%ae%c0%ae%2f ..;%2f
%252e%252e%252f file:%2f%2f%2fetc%2fpasswd ~root .%00.%2f"""
PLACES = """/tasks/{} /tasks/{}/report /tasks/{}/report.md /tasks/{}/events /tasks/{}/why /tasks/{}/sources/1 /agents/{}
/agents/{}/health /console/{}"""


def crowd_in(project: Project) -> list[Figure]:
    """Slow heads on 500 connections, and bodies that are too large, packed or without end."""
    alone = _time_calls(project)
    with _slow_connections(project, SLOW_CONNECTIONS) as slow:
        crowded = _time_calls(project)
        began = time.monotonic()
        large, _ = project.call("/execute_task", b"[" + b"1," * 1_500_000 + b"1]", seconds=15.0)
        answered = time.monotonic() - began
        head = _exchange(project, b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n")
        packed = gzip.compress(json.dumps(dict(QUESTION)).encode() + b" " * 50_000_000)
        bomb, _ = project.call("/execute_task", packed, headers={"Content-Encoding": "gzip"}, seconds=15.0)
        time.sleep(max(0.0, began + HEAD_SECONDS + 3 - time.monotonic()))
        still = sum(_is_open(one) for one in slow)
    return [
        at_most("calls beside 500 slow ones, against alone, p50", crowded / alone, 1.2, "x"),
        holds("body that is too large is 413", large == 413),
        at_most("and soon", answered, 10, "s"),
        holds("head that is too large is 431, or cut off", head[9:12] in (b"431", b"")),
        holds("packed bomb is 4xx", 400 <= bomb < 500),
        at_most("slow connections left after 13 s", still, 0),
    ]


def smuggle(project: Project) -> list[Figure]:
    """Two lengths, lines in headers, odd chunks: none may be taken for two requests."""
    body = b"0\r\n\r\nGET /stats HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /execute_task HTTP/1.1\r\nHost: x\r\n"
    size = str(len(body)).encode()
    odd = [
        head + b"Content-Length: " + size + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
        head + b"Transfer-Encoding: xchunked\r\n\r\n" + body,
        head + b"Transfer-Encoding : chunked\r\n\r\n" + body,
        head + b"Content-Length: 5\r\nContent-Length: " + size + b"\r\n\r\n" + body,
        head + b"Content-Length: -1\r\n\r\n" + body,
        head + b"Content-Length: +5\r\n\r\n" + body,
        head + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + body,
        head + b"X-Request-ID: a\rb\r\nContent-Length: 0\r\n\r\n",
        head + b"Idempotency-Key: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"GET /health\r\nHost: x HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n continued: yes\r\n\r\n",
    ]
    answers = [_exchange(project, one) for one in odd]
    taken = [answer for answer in answers if b"HTTP/1.1 2" in answer]
    twice = [answer for answer in answers if answer.count(b"HTTP/1.1 ") > 1]
    return [at_most(f"of {len(odd)} requests, taken", len(taken), 0), at_most("answered twice", len(twice), 0)]


def cross_paths(project: Project) -> list[Figure]:
    """Ids that are paths."""
    paths = [place.format(name) for name in PATHS.split() for place in PLACES.split()]
    answers = [project.call(path)[0] for path in paths]
    return [
        at_most(f"of {len(paths)} paths, answered with a file", answers.count(200), 0),
        at_most("with 5xx", sum(status >= 500 for status in answers), 0),
    ]


def loop_plan(project: Project) -> list[Figure]:
    """Plans whose steps need each other, or themselves, or are too many."""
    rings = [
        {"a": "a"},
        {"a": "b", "b": "a"},
        {"a": "b", "b": "c", "c": "a"},
        {f"s{n}": f"s{(n + 1) % 100}" for n in range(100)},
    ]
    plans = [[{"id": id, "capability": "research", "needs": [needs]} for id, needs in ring.items()] for ring in rings]
    plans.append([{"id": f"s{n}", "capability": "research"} for n in range(1_001)])
    refused = sum(project.call("/execute_task", {**QUESTION, "plan": plan})[0] == 422 for plan in plans)
    return [at_least(f"of {len(plans)} plans, refused", refused, len(plans))]


def ask_oddly(project: Project) -> list[Figure]:
    """Random bodies with odd values on every route that takes one, the same at each run."""
    draw = random.Random(13)
    statuses, slowest = [], 0.0
    for _ in range(ROUNDS):
        body = {draw.choice(FIELDS.split()): draw.choice(ODD_VALUES) for _ in range(draw.randint(0, 5))}
        raw = json.dumps(draw.choice((body, body, body, list(body.values()), draw.choice(ODD_VALUES)))).encode()
        if draw.random() < 0.2:
            raw = raw[: draw.randint(0, len(raw))] + draw.choice((b"", b"\xff\xfe", b"\x00", b"]" * 5_000))
        began = time.monotonic()
        try:
            statuses.append(project.call(draw.choice(ROUTES.split()), raw, seconds=15.0)[0])
        except OSError:
            statuses.append(0)
        slowest = max(slowest, time.monotonic() - began)
    broken = [status for status in statuses if status == 500 or status == 0]
    return [at_most(f"of {ROUNDS} requests, 500 or no answer", len(broken), 0), at_most("slowest", slowest, 5, "s")]


REQUESTS = {
    28: Fault("odd values in every field", "400 random bodies on nine routes", ask_oddly),
    29: Fault("slow heads, large bodies", "500 half-open connections, 3 MB, 1 MB of header, 50 MB packed", crowd_in),
    30: Fault("smuggled requests", "11 odd heads through a bare socket", smuggle),
    34: Fault("path traversal in ids", "13 names on nine routes", cross_paths),
    36: Fault("loops in plans", "five plans that cannot run", loop_plan),
}


def _connect(project: Project) -> socket.socket:
    parts = urlsplit(project.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=15.0)


def _exchange(project: Project, raw: bytes) -> bytes:
    """All that came back for these bytes within 3 s of silence."""
    said = b""
    with contextlib.suppress(OSError), _connect(project) as sock:
        sock.settimeout(3.0)
        key = "".join(f"{name}: {value}\r\n" for name, value in project.authorize().items()).encode()
        sock.sendall(raw.replace(b"\r\nHost: x\r\n", b"\r\nHost: x\r\n" + key, 1))
        while chunk := sock.recv(65_536):
            said += chunk
    return said


@contextlib.contextmanager
def _slow_connections(project: Project, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(_connect(project)) for _ in range(count)]
        for sock in slow:
            sock.sendall(b"POST /execute_task HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        yield slow


def _is_open(sock: socket.socket) -> bool:
    """Whether the other side has not closed the connection."""
    sock.setblocking(False)
    try:
        while said := sock.recv(65_536):
            if b"HTTP/1.1" in said:
                continue
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _time_calls(project: Project) -> float:
    """The median of what 100 small calls take, in seconds."""
    times = []
    for _ in range(100):
        began = time.monotonic()
        project.call("/agents")
        times.append(time.monotonic() - began)
    return sorted(times)[len(times) // 2]
