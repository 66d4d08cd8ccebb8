"""What a service answers by HTTP: whether it is there, and which agents it has."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

START_SECONDS = 30.0


def fetch_status(url: str) -> int | None:
    """Returns the HTTP status that a URL answers with, or None when nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def fetch_json(url: str) -> Any:
    """Returns the JSON at a URL; raises OSError."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def wait_for_agents(url: str, *names: str, seconds: float = START_SECONDS) -> None:
    """Waits until the coordinator at `url` shows every named agent as healthy; exits when it does not."""
    began = time.monotonic()
    healthy: set[str] = set()
    while time.monotonic() < began + seconds:
        healthy = {agent["name"] for agent in fetch_json(f"{url}/agents")["agents"] if agent["status"] == "healthy"}
        if healthy.issuperset(names):
            return
        time.sleep(0.05)
    sys.exit(f"Healthy after {seconds:.0f} s: {sorted(healthy)}; expected: {sorted(names)}.")
