"""The command line's calls to a coordinator: with the key that is found here, and each failure in one sentence."""

from __future__ import annotations

import re
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx

from coordinator.cli.address import NoAddress, http_url
from coordinator.cli.console import AWAY, REFUSED, WRONG, fail
from shared.client.here import find_key, find_url
from shared.urls import is_loopback

LATER = {429, 502, 503, 504}  # not now: the queue is full, or the coordinator starts, stops, or a proxy finds none


def own_key() -> str | None:
    """The key that a suite started here would ask for; ends the command where its file is none."""
    try:
        return find_key()
    except ValueError as exc:
        fail(str(exc), code=WRONG)


def own_url() -> str:
    """Where a suite that was started here listens; ends the command where PUBLISH_PORT is none."""
    try:
        return find_url()
    except ValueError as exc:
        fail(str(exc), code=WRONG)


def client_of(url: str | None, key: str | None) -> httpx.Client:
    """A client of the coordinator at `url`, or of the one here, with `key` or the one that is found here.

    Ends the command where `url` or the key is none.
    """
    url = url or own_url()
    key = key or own_key()
    try:
        http_url(url)
    except NoAddress as exc:
        fail(str(exc), code=WRONG)
    if key and not (key.isascii() and key.isprintable()):
        fail("The key must be one line of ASCII: no header carries anything else.", code=WRONG)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    checks_tls = not url.startswith("http:")  # 0.02 s for certificates that nothing shows there
    away = not is_loopback(urlsplit(url).hostname or "")  # proxies lead to other machines
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=30, verify=checks_tls, trust_env=away)
    except (OSError, ImportError, ValueError) as exc:
        proxies = "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        why = f"{url} cannot be called with this environment: {exc}. Check SSL_CERT_FILE, SSL_CERT_DIR, {proxies}."
        fail(why, code=WRONG)


def request(
    client: httpx.Client, method: str, path: str, params: dict[str, Any] | None = None, **more: Any
) -> httpx.Response:
    """The answer, which is a success; ends the command with a sentence where there is none."""
    try:
        answer = client.request(method, path, params=params, **more)
    except httpx.HTTPError as exc:
        fail(unreachable(client, exc), code=AWAY)
    if not answer.is_success:
        refuse(client, answer)
    return answer


def refuse(client: httpx.Client, answer: httpx.Response) -> NoReturn:
    """Ends the command with what the answer says."""
    fail(explain(client, answer), code=AWAY if answer.status_code in LATER else REFUSED)


def request_json(
    client: httpx.Client, method: str, path: str, params: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """The JSON object that a success carries; ends the command with a sentence where there is none."""
    return read_object(client, request(client, method, path, params, **more))


def read_object(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; ends the command with a sentence where it is something else."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        fail(f"{client.base_url} is no coordinator: its answer to {answer.request.url.path} is not JSON.", code=AWAY)
    return found


def get_json(url: str | None, key: str | None, path: str, params: dict[str, Any]) -> dict[str, Any]:
    """The JSON object at `path`."""
    with client_of(url, key) as client:
        return request_json(client, "GET", path, params)


def unreachable(client: httpx.Client, exc: Exception) -> str:
    """Why there is no answer, and what to do, in one line."""
    why = re.sub(r"^\[Errno -?\d+\] ", "", str(exc)).rstrip(".") or type(exc).__name__
    start = "'docker compose up -d --wait' or 'make run' starts one; --url names another"
    return f"No coordinator answers at {client.base_url}: {why}. {start}."


def explain(client: httpx.Client, response: httpx.Response) -> str:
    """What a problem answer says, in one line, with both versions where they differ and may be why."""
    try:
        said = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        said = response.reason_phrase or "no reason given"
    said = f"HTTP {response.status_code}: {said.rstrip('.')}."
    return said + (_compare_versions(client) if response.status_code in (404, 405, 422) else "")


def _compare_versions(client: httpx.Client) -> str:
    """A sentence where the coordinator has another version than this command line, or is none; else nothing."""
    from shared.version import VERSION

    try:
        seen = client.get("/health", timeout=3).json()
        name, version = seen["name"], seen.get("version", "0.1")
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return f" Is {client.base_url} a coordinator? Name another with --url."
    if name != "coordinator":
        return f" {client.base_url} is the {name}, not the coordinator."
    return "" if version == VERSION else f" The coordinator has version {version}, this command line {VERSION}."
