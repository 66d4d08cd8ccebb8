"""The command line's calls to a coordinator: with the key from `.env`, and each failure in one sentence."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from coordinator.cli.address import NoAddress, http_url
from coordinator.cli.ask import explain, unreachable
from coordinator.cli.console import fail
from shared.settings import Settings, load_settings
from shared.urls import is_loopback


def own_key() -> str | None:
    """The key that a suite started here would ask for."""
    key = load_settings(Settings).api_key
    return key.get_secret_value() if key else None


def client_of(url: str, key: str | None) -> httpx.Client:
    """A client of the coordinator at `url`, with `key` or the one of `.env`; ends the command where `url` is none."""
    key = key or own_key()
    try:
        http_url(url)
    except NoAddress as exc:
        fail(str(exc))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    checks_tls = not url.startswith("http:")  # 0.02 s for certificates that nothing shows there
    away = not is_loopback(urlsplit(url).hostname or "")  # proxies lead to other machines
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=30, verify=checks_tls, trust_env=away)
    except (OSError, ImportError, ValueError) as exc:
        proxies = "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
        fail(f"{url} cannot be called with this environment: {exc}. Check SSL_CERT_FILE, SSL_CERT_DIR, {proxies}.")


def request(client: httpx.Client, method: str, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
    """The answer, which is a success; ends the command with a sentence where there is none."""
    try:
        answer = client.request(method, path, params=params)
    except httpx.HTTPError as exc:
        fail(unreachable(client, exc))
    if not answer.is_success:
        fail(explain(answer))
    return answer


def get_json(url: str, key: str | None, path: str, params: dict[str, Any]) -> dict[str, Any]:
    """The JSON object at `path`."""
    with client_of(url, key) as client:
        found: dict[str, Any] = request(client, "GET", path, params).json()
    return found
