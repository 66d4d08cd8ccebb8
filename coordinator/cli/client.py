"""The command line's calls to a coordinator: with the key from `.env`, and each failure in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from coordinator.cli.address import NoAddress, http_url
from coordinator.cli.ask import explain, unreachable
from coordinator.cli.console import fail
from shared.settings import Settings, load_settings
from shared.urls import is_loopback

KEY_FILE = Path("secrets/api_key")


class _Here(Settings):
    """What the environment and `.env` say of the suite that is started here."""

    publish_port: int = 8000


def own_key() -> str | None:
    """The key that a suite started here would ask for."""
    key = load_settings(Settings).api_key
    if key is not None:
        return key.get_secret_value()
    try:
        return KEY_FILE.read_text(encoding="utf-8-sig").strip() or None  # as docker-compose.prod.yml names it
    except (OSError, UnicodeDecodeError):
        return None


def find_url() -> str:
    """Where a suite that was started here listens."""
    return f"http://127.0.0.1:{load_settings(_Here).publish_port}"


def client_of(url: str | None, key: str | None) -> httpx.Client:
    """A client of the coordinator at `url`, or of the one here, with `key` or the one of `.env`.

    Ends the command where `url` is none.
    """
    url = url or find_url()
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


def request(
    client: httpx.Client, method: str, path: str, params: dict[str, Any] | None = None, **more: Any
) -> httpx.Response:
    """The answer, which is a success; ends the command with a sentence where there is none."""
    try:
        answer = client.request(method, path, params=params, **more)
    except httpx.HTTPError as exc:
        fail(unreachable(client, exc))
    if not answer.is_success:
        fail(explain(answer))
    return answer


def get_json(url: str | None, key: str | None, path: str, params: dict[str, Any]) -> dict[str, Any]:
    """The JSON object at `path`."""
    with client_of(url, key) as client:
        found: dict[str, Any] = request(client, "GET", path, params).json()
    return found
