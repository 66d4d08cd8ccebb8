"""What nobody should send: each is refused with a problem that names the field, nothing breaks, nothing is stored."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import httpx
import pytest

from coordinator.agents import registry
from shared.contracts import Registration, StepResult, TaskRequest
from tests.support.fakes import Network, Suite, agent, serving

ASKED = {"task_description": "Why are there tides?"}
STEP = {"id": "a", "capability": "research"}
AGENT = {"name": "echo", "endpoint": "http://echo:8000", "capabilities": ["echo"]}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a refusal, after checking that it is a whole problem+json (RFC 9457)."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:muster:problem:")
    assert all(isinstance(body[member], str) and body[member] for member in ("type", "title", "detail", "instance"))
    return body


def pointers(body: dict[str, Any]) -> list[str]:
    assert all(error["detail"] for error in body["errors"])
    return [error["pointer"] for error in body["errors"]]


async def stored(suite: Suite) -> list[str]:
    """Everything that refused input might have left behind."""
    tasks = (await suite.client.get("/tasks")).json()["tasks"]
    agents = (await suite.client.get("/agents")).json()["agents"]
    return [t["task_description"] for t in tasks] + [a["name"] for a in agents]


# --- bodies that are no JSON --------------------------------------------------------------------------

NOT_JSON = {
    "nothing": b"",
    "half an object": b'{"task_description": "tides"',
    "two objects": b"{}{}",
    "single quotes": b"{'task_description': 'tides'}",
    "a trailing comma": b'{"task_description": "tides",}',
    "a comment": b'{"task_description": "tides" /* sic */}',
    "NaN": b'{"task_description": "tides", "timeout_seconds": NaN}',
    "Infinity": b'{"task_description": "tides", "timeout_seconds": Infinity}',
    "a number that overflows": b'{"task_description": "tides", "context": {"deep": [1e999]}}',
    "a number of 5,000 digits": b'{"task_description": "tides", "context": %s}' % (b"9" * 5_000),
    "a lone surrogate": rb'{"task_description": "tides \ud800"}',
    "a lone surrogate as a key": rb'{"task_description": "tides", "\udfff": 1}',
    "bytes that are no UTF-8": b'{"task_description": "\xff\xfe"}',
    "Latin-1": '{"task_description": "Gezeiten über Föhr"}'.encode("latin-1"),
    "UTF-16": '{"task_description": "tides"}'.encode("utf-16"),
    "a raw control character": b'{"task_description": "ti\x01des"}',
    "a deep nest": b'{"task_description": "tides", "context": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "form data": b"task_description=tides&timeout_seconds=30",
    "HTML": b"<!doctype html>",
}


@pytest.mark.parametrize("path", ["/execute_task", "/register_agent"])
@pytest.mark.parametrize("name", NOT_JSON)
async def test_a_body_that_is_no_json_is_400(coordinator: Suite, path: str, name: str) -> None:
    answer = await coordinator.client.post(path, content=NOT_JSON[name])

    assert problem(answer, 400)["type"] == "urn:muster:problem:bad_request"
    assert await stored(coordinator) == []


# --- tasks of the wrong shape -------------------------------------------------------------------------

WRONG_TASKS: dict[str, tuple[Any, str]] = {
    "a list": ([ASKED], ""),
    "a string": ("tides", ""),
    "null": (None, ""),
    "nothing in it": ({}, "/task_description"),
    "description empty": ({"task_description": ""}, "/task_description"),
    "description blank": ({"task_description": " \n\t\u00a0"}, "/task_description"),
    "description null": ({"task_description": None}, "/task_description"),
    "description a number": ({"task_description": 42}, "/task_description"),
    "description a list": ({"task_description": ["tides"]}, "/task_description"),
    "description of 100,001 characters": ({"task_description": "x" * 100_001}, "/task_description"),
    "a field that is not known": (ASKED | {"timeout": 30}, "/timeout"),
    "a field that needs escaping": (ASKED | {"a/b~c": 1}, "/a~1b~0c"),
    "timeout 0": (ASKED | {"timeout_seconds": 0}, "/timeout_seconds"),
    "timeout -1": (ASKED | {"timeout_seconds": -1}, "/timeout_seconds"),
    "timeout of a week": (ASKED | {"timeout_seconds": 604_800}, "/timeout_seconds"),
    "timeout a string": (ASKED | {"timeout_seconds": "30"}, "/timeout_seconds"),
    "timeout true": (ASKED | {"timeout_seconds": True}, "/timeout_seconds"),
    "timeout a list": (ASKED | {"timeout_seconds": [30]}, "/timeout_seconds"),
    "priority 10": (ASKED | {"priority": 10}, "/priority"),
    "priority -1": (ASKED | {"priority": -1}, "/priority"),
    "priority a string": (ASKED | {"priority": "high"}, "/priority"),
    "priority 5.0": (ASKED | {"priority": 5.0}, "/priority"),
    "priority true": (ASKED | {"priority": True}, "/priority"),
    "max_calls 0": (ASKED | {"max_calls": 0}, "/max_calls"),
    "max_calls beyond every integer": (ASKED | {"max_calls": 10**30}, "/max_calls"),
    "max_tokens a string": (ASKED | {"max_tokens": "many"}, "/max_tokens"),
    "format pdf": (ASKED | {"format": "pdf"}, "/format"),
    "webhook a number": (ASKED | {"webhook_url": 7}, "/webhook_url"),
    "agents a string": (ASKED | {"agents": "echo"}, "/agents"),
    "agents empty": (ASKED | {"agents": []}, "/agents"),
    "agents with a number": (ASKED | {"agents": ["echo", 7]}, "/agents/1"),
    "an agent that is not known": (ASKED | {"agents": ["echo", "ghost"]}, "/agents/1"),
    "an agent twice": (ASKED | {"agents": ["echo", "echo"]}, "/agents/1"),
    "201 agents": (ASKED | {"agents": [f"a{i}" for i in range(201)]}, "/agents"),
    "plan and agents": (ASKED | {"plan": [STEP], "agents": ["echo"]}, ""),
    "plan an object": (ASKED | {"plan": {"a": STEP}}, "/plan"),
    "plan empty": (ASKED | {"plan": []}, "/plan"),
    "plan of 1,001 steps": (ASKED | {"plan": [STEP | {"id": f"s{i}"} for i in range(1_001)]}, "/plan"),
    "a step of nothing": (ASKED | {"plan": [STEP, {}]}, "/plan/1/id"),
    "a step without target": (ASKED | {"plan": [{"id": "a"}]}, "/plan/0"),
    "a step with two targets": (ASKED | {"plan": [STEP | {"agent": "echo"}]}, "/plan/0"),
    "a step's agent that is not known": (ASKED | {"plan": [{"id": "a", "agent": "ghost"}]}, "/plan/0/agent"),
    "a step's field that is not known": (ASKED | {"plan": [STEP | {"need": ["b"]}]}, "/plan/0/need"),
    "a step id with a slash": (ASKED | {"plan": [STEP | {"id": "a/b"}]}, "/plan/0/id"),
    "a step id that ends in a line break": (ASKED | {"plan": [STEP | {"id": "a\n"}]}, "/plan/0/id"),
    "a step id that is empty": (ASKED | {"plan": [STEP | {"id": ""}]}, "/plan/0/id"),
    "a step id of 64 characters": (ASKED | {"plan": [STEP | {"id": "a" * 64}]}, "/plan/0/id"),
    "two steps of one id": (ASKED | {"plan": [STEP, STEP]}, "/plan/1/id"),
    "a need that is not there": (ASKED | {"plan": [STEP | {"needs": ["b"]}]}, "/plan/0/needs/0"),
    "a step that needs itself": (ASKED | {"plan": [STEP | {"needs": ["a"]}]}, "/plan/0/needs"),
    "steps in a circle": (
        ASKED
        | {
            "plan": [
                STEP | {"id": "start"},
                STEP | {"id": "b", "needs": ["start", "d"]},
                STEP | {"id": "c", "needs": ["b"]},
                STEP | {"id": "d", "needs": ["c"]},
            ]
        },
        "/plan/1/needs",
    ),
    "needs a string": (ASKED | {"plan": [STEP | {"needs": "b"}]}, "/plan/0/needs"),
    "a step's timeout 0": (ASKED | {"plan": [STEP | {"timeout_seconds": 0}]}, "/plan/0/timeout_seconds"),
    "on_failure retry": (ASKED | {"plan": [STEP | {"on_failure": "retry"}]}, "/plan/0/on_failure"),
}


@pytest.mark.parametrize("name", WRONG_TASKS)
async def test_task_of_wrong_shape_is_422_naming_field(coordinator: Suite, name: str) -> None:
    """A task of the wrong shape is 422 and names the field."""
    body, pointer = WRONG_TASKS[name]
    await coordinator.register("echo", "http://echo", "research")

    answer = await coordinator.client.post("/execute_task", content=json.dumps(body))

    refused = problem(answer, 422)
    assert refused["type"] == "urn:muster:problem:invalid"
    assert pointer in pointers(refused)
    assert await stored(coordinator) == ["echo"]


async def test_every_wrong_field_is_named_at_once(coordinator: Suite) -> None:
    body = {"task_description": "", "timeout_seconds": "soon", "priority": 11, "colour": "blue"}

    refused = problem(await coordinator.client.post("/execute_task", json=body), 422)

    assert sorted(pointers(refused)) == ["/colour", "/priority", "/task_description", "/timeout_seconds"]


FINE_TASKS = {
    "timeout null": {"timeout_seconds": None},
    "timeout of a day": {"timeout_seconds": 86_400},
    "timeout of a millisecond": {"timeout_seconds": 0.001},
    "everything null that may be": dict.fromkeys(
        (
            *("plan", "agents", "context", "max_calls", "max_tokens", "webhook_url", "timeout_seconds"),
            *("format", "priority"),
        )
    ),
    "a step whose nulls are defaults": {"plan": [STEP | {"needs": None, "on_failure": None, "input": None}]},
    "1,000 steps": {"plan": [STEP | {"id": f"s{i}"} for i in range(1_000)]},
    "100,000 characters": {"task_description": "x" * 100_000},
    "emoji, right to left and combining": {"task_description": "🌊 עברית é \u202e?"},
    "a NUL": {"task_description": "ti\x00des"},
    "context of any JSON": {"context": [None, {"": [True, -0.0, 1e308, 2**64, "\u0000"]}]},
}


@pytest.mark.parametrize("name", FINE_TASKS)
async def test_odd_tasks_within_the_limits_are_accepted(coordinator: Suite, name: str) -> None:
    """What is odd but within the limits is a task."""
    body = ASKED | FINE_TASKS[name]

    answer = await coordinator.client.post("/execute_task", json=body, headers={"Prefer": "respond-async"})

    assert answer.status_code == 202, answer.text
    assert answer.json()["task_description"] == body["task_description"]
    await coordinator.client.post(answer.headers["location"] + "/cancel")


# --- bodies that are too large ------------------------------------------------------------------------


async def test_a_body_of_more_than_two_megabytes_is_413(coordinator: Suite) -> None:
    body = json.dumps(ASKED | {"context": "x" * 2_000_000}).encode()

    async def chunks() -> Any:
        for at in range(0, len(body), 65_536):
            yield body[at : at + 65_536]

    announced = await coordinator.client.post("/execute_task", content=body)
    unannounced = await coordinator.client.post("/execute_task", content=chunks())

    assert "content-length" not in unannounced.request.headers
    for answer in (announced, unannounced):
        assert problem(answer, 413)["type"] == "urn:muster:problem:too_large"
    assert await stored(coordinator) == []


@pytest.mark.parametrize("size", [2_000_001, 7_900_000, 9_000_000])
@pytest.mark.parametrize("announced", [True, False])
async def test_client_that_sends_too_much_gets_an_answer(coordinator: Suite, size: int, announced: bool) -> None:
    """A client that sends too much gets the answer and no reset."""
    async with serving(coordinator.app, lifespan=False) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        length = f"content-length: {size}" if announced else "transfer-encoding: chunked"
        writer.write(f"POST /execute_task HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n".encode())
        await _send(writer, size, chunked=not announced)

        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)

        writer.close()
    assert head.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in head


async def _send(writer: asyncio.StreamWriter, size: int, *, chunked: bool) -> None:
    """Sends a body the way a blocking client does: all of it, before it looks for an answer."""
    for at in range(0, size, 65_536):
        piece = b"x" * min(65_536, size - at)
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")


# --- agents of the wrong shape ------------------------------------------------------------------------

WRONG_AGENTS: dict[str, tuple[dict[str, Any], str]] = {
    "name missing": ({"name": ...}, "/name"),
    "name empty": ({"name": ""}, "/name"),
    "name a number": ({"name": 7}, "/name"),
    "name with a space": ({"name": "my agent"}, "/name"),
    "name with a slash": ({"name": "a/b"}, "/name"),
    "name with a line break": ({"name": "a\nb"}, "/name"),
    "name that ends in a line break": ({"name": "echo\n"}, "/name"),
    "name that begins with a dot": (
        {
            "name": "..",
        },
        "/name",
    ),
    "name with an umlaut": ({"name": "fön"}, "/name"),
    "name of 64 characters": ({"name": "a" * 64}, "/name"),
    "endpoint missing": ({"endpoint": ...}, "/endpoint"),
    "endpoint empty": ({"endpoint": ""}, "/endpoint"),
    "endpoint null": ({"endpoint": None}, "/endpoint"),
    "endpoint without scheme": ({"endpoint": "localhost:9000"}, "/endpoint"),
    "endpoint a path": ({"endpoint": "/execute"}, "/endpoint"),
    "endpoint file": ({"endpoint": "file:///etc/passwd"}, "/endpoint"),
    "endpoint gopher": ({"endpoint": "gopher://echo:70/1"}, "/endpoint"),
    "endpoint ftp": ({"endpoint": "ftp://echo/"}, "/endpoint"),
    "endpoint javascript": ({"endpoint": "javascript:alert(1)"}, "/endpoint"),
    "endpoint without host": ({"endpoint": "http://:8000"}, "/endpoint"),
    "endpoint link-local": ({"endpoint": "http://169.254.1.1"}, "/endpoint"),
    "endpoint metadata": ({"endpoint": "http://169.254.169.254/latest/meta-data"}, "/endpoint"),
    "endpoint metadata by name": ({"endpoint": "http://metadata.google.internal"}, "/endpoint"),
    "endpoint metadata as a number": ({"endpoint": "http://2852039166"}, "/endpoint"),
    "endpoint metadata in hexadecimal": ({"endpoint": "http://0xa9fea9fe"}, "/endpoint"),
    "endpoint metadata mapped into IPv6": ({"endpoint": "http://[::ffff:169.254.169.254]"}, "/endpoint"),
    "endpoint link-local in IPv6": ({"endpoint": "http://[fe80::1]"}, "/endpoint"),
    "endpoint everywhere": ({"endpoint": "http://0.0.0.0:8000"}, "/endpoint"),
    "endpoint with user and password": ({"endpoint": "http://user:password@echo"}, "/endpoint"),
    "endpoint with user": ({"endpoint": "http://user@echo"}, "/endpoint"),
    "endpoint with a query": ({"endpoint": "http://echo?a=b"}, "/endpoint"),
    "endpoint with a fragment": ({"endpoint": "http://echo#a"}, "/endpoint"),
    "endpoint with port 0": ({"endpoint": "http://echo:0"}, "/endpoint"),
    "endpoint with port 65536": ({"endpoint": "http://echo:65536"}, "/endpoint"),
    "endpoint with port x": ({"endpoint": "http://echo:x"}, "/endpoint"),
    "endpoint with half an address": ({"endpoint": "http://[::1"}, "/endpoint"),
    "endpoint no library can read": ({"endpoint": "http://xn--"}, "/endpoint"),
    "endpoint with a space": ({"endpoint": "http://ec ho"}, "/endpoint"),
    "endpoint with a line break": ({"endpoint": "http://echo\r\nx: y"}, "/endpoint"),
    "endpoint with a delete character": ({"endpoint": "http://echo\x7f"}, "/endpoint"),
    "endpoint with a host no name may be": ({"endpoint": "http://xn--\u2603--"}, "/endpoint"),
    "endpoint with a label of 64 characters": ({"endpoint": f"http://{'é' * 64}"}, "/endpoint"),
    "endpoint of 2,001 characters": ({"endpoint": "http://echo/" + "x" * 2_000}, "/endpoint"),
    "capabilities missing": ({"capabilities": ...}, "/capabilities"),
    "capabilities null": ({"capabilities": None}, "/capabilities"),
    "capabilities a string": ({"capabilities": "echo"}, "/capabilities"),
    "capabilities with a number": ({"capabilities": ["echo", 7]}, "/capabilities/1"),
    "capabilities with an empty one": ({"capabilities": [""]}, "/capabilities/0"),
    "65 capabilities": ({"capabilities": [f"c{i}" for i in range(65)]}, "/capabilities"),
    "protocol smtp": ({"protocol": "smtp"}, "/protocol"),
    "max_concurrency 0": ({"max_concurrency": 0}, "/max_concurrency"),
    "max_concurrency a string": ({"max_concurrency": "4"}, "/max_concurrency"),
    "max_concurrency true": ({"max_concurrency": True}, "/max_concurrency"),
    "instance with a slash": ({"instance": "a/b"}, "/instance"),
    "metadata a list": ({"metadata": []}, "/metadata"),
    "description a number": ({"description": 7}, "/description"),
}


@pytest.mark.parametrize("name", WRONG_AGENTS)
async def test_agent_of_wrong_shape_is_422_naming_field(coordinator: Suite, name: str) -> None:
    """An agent of the wrong shape is 422 and names the field."""
    changes, pointer = WRONG_AGENTS[name]
    body = {field: value for field, value in (AGENT | changes).items() if value is not ...}

    answer = await coordinator.client.post("/register_agent", json=body)

    assert pointer in pointers(problem(answer, 422))
    assert await stored(coordinator) == []


async def test_unknown_registration_fields_are_ignored(coordinator: Suite) -> None:
    """Fields of a later version are ignored when an agent registers."""
    answer = await coordinator.client.post("/register_agent", json=AGENT | {"contract": 2, "colour": "blue"})

    assert answer.status_code == 201


async def test_null_in_a_registration_is_its_default(coordinator: Suite) -> None:
    """A client that sends every field it knows may send null for what it does not say."""
    nulls = dict.fromkeys(
        ("description", "instance", "protocol", "max_concurrency", "version", "draining", "metadata"), None
    )

    answer = await coordinator.client.post("/register_agent", json=AGENT | nulls)

    assert answer.status_code == 201, answer.text
    (seen,) = (await coordinator.client.get("/agents")).json()["agents"]
    assert (seen["description"], seen["protocol"], seen["version"]) == ("", "muster", "")


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST", "api.localhost", "127.0.0.1"])
async def test_webhook_to_this_machine_is_refused(coordinator: Suite, host: str) -> None:
    """It would never be sent, so it is not taken."""
    answer = await coordinator.client.post("/execute_task", json=ASKED | {"webhook_url": f"http://{host}:8080/done"})

    assert pointers(problem(answer, 422)) == ["/webhook_url"]


async def test_loopback_and_private_agents_follow_the_policy(network: Network) -> None:
    """Loopback and private agents are refused where the policy says so."""
    async with Suite(network, private_agents=False) as suite:
        for host in ("127.0.0.1", "localhost", "[::1]", "10.0.0.1", "192.168.1.1", "172.16.0.1", "[fd00::1]"):
            answer = await suite.client.post("/register_agent", json=AGENT | {"endpoint": f"http://{host}:8000"})
            assert pointers(problem(answer, 422)) == ["/endpoint"]
        assert await stored(suite) == []


async def test_agent_over_the_limit_is_refused_others_beat(coordinator: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """One agent too many is refused and the others still beat."""
    monkeypatch.setattr(registry, "MAX_AGENTS", 3)

    def body(i: int) -> dict[str, Any]:
        return AGENT | {"name": f"echo-{i}", "instance": f"i{i}"}

    for i in range(3):
        assert (await coordinator.client.post("/register_agent", json=body(i))).status_code == 201

    refused = await coordinator.client.post("/register_agent", json=body(3))
    beat = await coordinator.client.post("/register_agent", json=body(0))

    assert problem(refused, 429)["type"] == "urn:muster:problem:overloaded"
    assert beat.status_code == 200


# --- headers, parameters, paths -----------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "clé", "x" * 256])
async def test_a_bad_idempotency_key_is_400(coordinator: Suite, key: str) -> None:
    answer = await coordinator.client.post(
        "/execute_task", json=ASKED, headers=[("Idempotency-Key", key.encode("latin-1"))]
    )

    assert "Idempotency-Key" in problem(answer, 400)["detail"]
    assert await stored(coordinator) == []


async def test_an_idempotency_key_with_another_body_is_422(suite: Suite) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await suite.ask("Why are there tides?", headers=headers)

    answer = await suite.ask("Why are there waves?", headers=headers)

    assert first.status_code == 200
    assert "a different body" in problem(answer, 422)["detail"]
    assert len((await suite.client.get("/tasks")).json()["tasks"]) == 1


@pytest.mark.parametrize("id", ["-1", "x", "1.5", "1e3", str(2**63), "9" * 5_000, ""])
async def test_a_bad_last_event_id_is_422(suite: Suite, id: str) -> None:
    task = await suite.execute()

    answer = await suite.client.get(f"/tasks/{task.task_id}/events", headers={"Last-Event-ID": id})

    assert pointers(problem(answer, 422)) == ["/header/last-event-id"]


BAD_CURSORS = ["x", "%", "=", "", "eA==", "eAB5AHo=", "é", "AAAA" * 1_000]
NAN, TEXT = "bmFuAHg=", "eAB5"  # a time that is none


@pytest.mark.parametrize(
    ("path", "cursor"),
    [(p, c) for p in ("/tasks", "/agents") for c in BAD_CURSORS] + [("/tasks", NAN), ("/tasks", TEXT)],
)
async def test_a_bad_cursor_is_400(coordinator: Suite, path: str, cursor: str) -> None:
    answer = await coordinator.client.get(path, params={"cursor": cursor})

    assert "cursor" in problem(answer, 400)["detail"]


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/tasks?limit=0", "/query/limit"),
        ("/tasks?limit=201", "/query/limit"),
        ("/tasks?limit=x", "/query/limit"),
        ("/tasks?status=done", "/query/status"),
        ("/tasks?since=yesterday", "/query/since"),
        ("/tasks?agent=a%2Fb", "/query/agent"),
        ("/agents?status=ill", "/query/status"),
        ("/agents?limit=-1", "/query/limit"),
        ("/audit?before=0", "/query/before"),
        (f"/audit?before={2**63}", "/query/before"),
        ("/tasks/x/report.pdf", "/path/suffix"),
    ],
)
async def test_a_bad_parameter_is_422_and_named(coordinator: Suite, path: str, pointer: str) -> None:
    assert pointers(problem(await coordinator.client.get(path), 422)) == [pointer]


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00", "0"])
async def test_any_time_there_ever_was_can_be_asked_for(coordinator: Suite, since: str) -> None:
    assert (await coordinator.client.get("/tasks", params={"since": since})).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tasks/unknown"),
        ("GET", "/tasks/unknown/events"),
        ("GET", "/tasks/unknown/report"),
        ("GET", "/tasks/unknown/report.html"),
        ("POST", "/tasks/unknown/cancel"),
        ("GET", "/tasks/%00"),
        ("GET", "/tasks/%FF%FE"),
        ("GET", "/tasks/%ED%A0%80"),
        ("GET", "/agents/unknown"),
        ("DELETE", "/agents/unknown"),
        ("POST", "/agents/unknown/v1/chat"),
        ("GET", "/nowhere"),
        ("GET", "/tasks/"),
        ("GET", "/../../etc/passwd"),
    ],
)
async def test_what_is_not_there_is_404(coordinator: Suite, method: str, path: str) -> None:
    assert problem(await coordinator.client.request(method, path), 404)["type"] == "urn:muster:problem:not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/execute_task", "POST"),
        ("DELETE", "/tasks", "GET, HEAD"),
        ("PUT", "/register_agent", "POST"),
        ("GET", "/tasks/unknown/cancel", "POST"),
        ("POST", "/stats", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("PATCH", "/agents", "GET, HEAD"),
    ],
)
async def test_wrong_method_is_405_and_names_the_right(
    coordinator: Suite, method: str, path: str, allowed: str
) -> None:
    """The wrong method is 405 and says the right one."""
    answer = await coordinator.client.request(method, path)

    assert problem(answer, 405)["type"] == "urn:muster:problem:method_not_allowed"
    assert answer.headers["allow"] == allowed


async def test_request_id_that_forges_log_lines_is_replaced(coordinator: Suite) -> None:
    """A request id that could forge a log line is replaced."""
    kept = await coordinator.client.get("/health", headers={"X-Request-ID": "order-66:retry.1"})
    replaced = await coordinator.client.get("/health", headers={"X-Request-ID": "a b"})

    assert kept.headers["x-request-id"] == "order-66:retry.1"
    assert replaced.headers["x-request-id"] not in ("", "a b")


async def test_bug_is_a_500_with_a_request_id(coordinator: Suite) -> None:
    """A bug of ours is a 500 problem without its text and with a request id."""

    @coordinator.app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret of the house")

    answer = await coordinator.client.get("/broken")

    assert problem(answer, 500)["type"] == "urn:muster:problem:internal_error"
    assert "secret" not in answer.text


# --- the gateway and the workers ----------------------------------------------------------------------


async def test_a_worker_refuses_a_step_it_cannot_read(coordinator: Suite) -> None:
    await coordinator.add(agent("echo", "echo"))
    async with httpx.AsyncClient(transport=coordinator.network, base_url="http://echo") as client:
        bodies = (b"{", b"[]", b'{"step_id": 7}', b'{"task_id": NaN}')
        answers = [await client.post("/execute", content=body) for body in bodies]

    assert [answer.status_code for answer in answers] == [400, 422, 422, 400]
    assert all(problem(answer, answer.status_code)["detail"] for answer in answers)


# --- anything -----------------------------------------------------------------------------------------

ODD = [
    None, True, False, 0, -1, 1, 5, 0.5, -0.0, 1e308, 2**31, 2**63, -(2**64), "", " ", "a", "research", "echo",
    "\u0000", "\u202e", "💧" * 50, "a/b", "../x", "http://echo", "http://[", "http://169.254.169.254", [], {}, [[]],
    [None], [1, "a"],
    {"id": "a"}, {"id": "a", "capability": "echo"}, [{"id": "a", "agent": "echo"}], ["echo"], {"": {}},
]  # fmt: skip


def anything(chance: Random, fields: list[str]) -> dict[str, Any]:
    """A body of known fields, mostly, with odd values."""
    body = {field: chance.choice(ODD) for field in chance.sample(fields, chance.randint(1, len(fields)))}
    if chance.random() < 0.3:
        body[str(chance.choice(ODD))] = chance.choice(ODD)
    return body


async def test_random_requests_never_cause_a_500(coordinator: Suite) -> None:
    """Whatever is sent no answer is a 500 and every refusal is a problem."""
    chance = Random(7)
    await coordinator.register("echo", "http://echo", "echo")
    tasks, agents = list(TaskRequest.model_fields), list(Registration.model_fields)
    seen = set()
    for _ in range(400):
        task = ASKED | anything(chance, tasks)
        answers = [
            await coordinator.client.post("/execute_task", json=task, headers={"Prefer": "respond-async"}),
            await coordinator.client.post("/register_agent", json=AGENT | anything(chance, agents)),
        ]
        for answer in answers:
            seen.add(answer.status_code)
            if answer.status_code == 403:  # an agent's id that was bound to a secret before
                assert problem(answer, 403)["type"].endswith("secret_refused")
            elif answer.status_code >= 400:
                assert problem(answer, 422)["errors"]

    assert seen - {403} == {200, 201, 202, 422}


async def test_random_agent_answers_end_with_a_type(coordinator: Suite) -> None:
    """Whatever an agent answers its step ends with a name."""
    chance = Random(8)

    async def anything_at_all(request: httpx.Request) -> httpx.Response:
        step = json.loads(request.content)
        right = {name: step[name] for name in ("task_id", "step_id", "attempt")} | {"status": "completed", "output": 1}
        odd = right | anything(chance, list(StepResult.model_fields) if chance.random() < 0.5 else ["output", "usage"])
        return httpx.Response(chance.choice([200, 200, 200, 201, 302, 404, 500]), json=odd)

    await coordinator.add(agent("odd", "work"))
    coordinator.network.answer("odd", anything_at_all)
    plan = [{"id": f"s{i}", "capability": "work"} for i in range(200)]

    task = await coordinator.execute(plan=plan, timeout_seconds=3)

    assert len(task.results) == 200
    assert all((s.error is None) == (s.status == "completed") for s in task.results)
    assert {"completed", "failed"} <= {s.status for s in task.results}
    assert {s.error.type for s in task.results if s.error} - {"timeout", "no_agent"} >= {
        "bad_response",
        "agent_refused",
    }
    assert "internal_error" not in {s.error.type for s in task.results if s.error}
