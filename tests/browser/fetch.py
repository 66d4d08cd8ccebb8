"""Chromium: that of this machine, or Debian's package, installed."""

from __future__ import annotations

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Its path. Raises RuntimeError where it cannot be had."""
    if (found := _look()) is not None:
        return found
    why = "There is no apt-get."
    if shutil.which("apt-get") is not None:
        _run("apt-get", "update", "-qq")  # a machine that is new has no list of packages
        why = _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-noto-core")
    if (found := _look()) is None:
        raise RuntimeError(f"Install Chromium, so that `chromium` is on the PATH. {why}")
    return found


def _look() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _run(*command: str) -> str:
    """What it said that was wrong."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
    return done.stderr[-500:]


if __name__ == "__main__":  # once, before tests that run side by side ask for it
    print(find_chromium())
