"""Asks the coordinator for its state over HTTP, and reads the responses into facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from coordinator.cli.address import http_url
from coordinator.cli.doctor.facts import CLI, COORDINATOR, RECENT_SECONDS, Coordinator, SeenAgent, SeenUploads, Unseen
from shared.report.sources import IndexState

HTTP_SECONDS = 3.0


def look(
    url: str, key: str | None, *, transport: httpx.BaseTransport | None = None
) -> tuple[Coordinator, list[Unseen]]:
    """What the coordinator says, and what it would not; raises `NoAddress`."""
    url = http_url(url.rstrip("/"))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(
        base_url=url, headers=headers, timeout=HTTP_SECONDS, trust_env=False, transport=transport
    ) as client:
        try:
            return _ask(client, url)
        except httpx.TimeoutException:
            return Coordinator(url=url, silent=f"No answer within {HTTP_SECONDS:.0f} s"), []
        except httpx.HTTPError as exc:
            return Coordinator(url=url, silent=str(exc) or type(exc).__name__), []


def _ask(client: httpx.Client, url: str) -> tuple[Coordinator, list[Unseen]]:
    health = client.get("/health")
    name = _object(health).get("name")
    if name != COORDINATOR:
        who = f"The {name}" if isinstance(name, str) else f"Something that is not Muster (HTTP {health.status_code})"
        return Coordinator(url=url, stranger=who), []
    ready = client.get("/ready")
    missing = None if ready.is_success else str(_object(ready).get("missing", f"HTTP {ready.status_code}"))
    answer = client.get("/agents", params={"limit": 1_000})
    if not answer.is_success:
        return Coordinator(url=url, missing=missing), [_explain_refusal(answer)]
    listed = (_agent(agent, _server_time(answer)) for agent in _object(answer).get("agents", ()))
    agents = tuple(_locate(client, agent) for agent in listed)
    index, unseen = _index(client, agents)
    stats = _object(client.get("/stats"))
    now, last = stats.get("now") or {}, stats.get("last_error") or {}
    failures = _count_failures(client, _server_time(answer))
    return Coordinator(
        url=url,
        missing=missing,
        agents=agents,
        running=now.get("running", 0),
        queued=now.get("queued", 0),
        refused=_refusals(client.get("/metrics").text),
        failed=sum(failures.values()),
        failed_status=max(failures, key=lambda status: failures[status]),
        last_error=str(last.get("detail", "")),
        last_error_type=str(last.get("type", "")),
        index=index,
        uploads=_uploads(client.get("/documents")),
        keyless="authorization" not in answer.request.headers,
    ), unseen


def _index(client: httpx.Client, agents: Sequence[SeenAgent]) -> tuple[IndexState | None, list[Unseen]]:
    """What the researcher says of its documents; nothing where there is none, or it keeps no index."""
    if not any(agent.name == "researcher" and agent.status == "healthy" for agent in agents):
        return None, []
    try:
        answer = client.get("/agents/researcher/index")
        if answer.status_code == 404:  # it looks on the web
            return None, []
        return IndexState.model_validate(answer.raise_for_status().json()), []
    except (httpx.HTTPError, ValueError) as exc:
        why = f"the researcher does not say ({str(exc).splitlines()[0] if str(exc) else type(exc).__name__})"
        return None, [Unseen(what="the researcher's documents", why=why)]


def _uploads(answer: httpx.Response) -> SeenUploads | None:
    """The folder of uploads; None where they are off, or the coordinator is of a version without."""
    found = _object(answer)
    if not answer.is_success or "limits" not in found:
        return None
    limits = found["limits"]
    return SeenUploads(
        documents=len(found["documents"]),
        bytes=found["bytes"],
        most_documents=limits["documents"],
        most_bytes=limits["bytes"],
        free_bytes=found["free_bytes"],
        trouble=found["trouble"],
        searched=bool(found["searched_by"]),
    )


def _explain_refusal(answer: httpx.Response) -> Unseen:
    what = "agents, tasks and limits"
    if answer.status_code in (401, 403):
        why = "the coordinator requires a key and rejected the one sent"
        if "authorization" not in answer.request.headers:
            why = "the coordinator requires a key; set API_KEY"
        mend = f"API_KEY=… {CLI} doctor --url {answer.request.url.copy_with(raw_path=b'')}"
        return Unseen(what=what, why=why, mend=mend, essential=True)
    return Unseen(what=what, why=f"/agents answered HTTP {answer.status_code}", essential=True)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _agent(data: dict[str, Any], at: datetime) -> SeenAgent:
    seen = _time(data.get("last_seen"))
    return SeenAgent(
        id=data["agent_id"],
        name=data["name"],
        endpoint=data["endpoint"],
        instance=data.get("instance") or "",
        capabilities=tuple(data.get("capabilities") or ()),
        status=data.get("status", ""),
        load=data.get("load", 0),
        max_concurrency=data.get("max_concurrency"),
        breaker=data.get("breaker", "closed"),
        last_error=data.get("last_error") or "",
        canary_error=data.get("canary_error") or "",
        silent_seconds=(at - seen).total_seconds() if seen else None,
    )


def _locate(client: httpx.Client, agent: SeenAgent) -> SeenAgent:
    """Asks where the coordinator finds an agent that sends heartbeats and is not reached at its endpoint."""
    try:
        port = urlsplit(agent.endpoint).port
    except ValueError:
        port = None
    if agent.status != "unreachable" or not agent.is_alive or port is None:
        return agent
    found = _object(client.post("/reach_agent", json={"name": agent.name, "port": port})).get("endpoint")
    return replace(agent, reached_at=found) if isinstance(found, str) else agent


def _count_failures(client: httpx.Client, at: datetime) -> dict[str, int]:
    """Tasks that failed in the last ten minutes, by status, as many as one page shows."""
    found = {}
    for status in ("failed", "timed_out"):
        rows = _object(client.get("/tasks", params={"status": status, "limit": 200})).get("tasks", ())
        times = [_time(row.get("finished_at")) for row in rows]
        found[status] = sum((at - time).total_seconds() < RECENT_SECONDS for time in times if time)
    return found


def _refusals(metrics: str) -> int:
    """The counter of answers with status 429, of Prometheus' text."""
    rows = [line for line in metrics.splitlines() if line.startswith("muster_http_requests_total{")]
    return sum(round(float(line.rsplit(" ", 1)[1])) for line in rows if 'status="429"' in line)


def _server_time(answer: httpx.Response) -> datetime:
    """The coordinator's own clock, where it says it: ages are not to depend on two clocks."""
    try:
        return parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None
    except ValueError:
        return None
