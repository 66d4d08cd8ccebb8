"""Chromium: that of this machine, or Debian's package, installed."""

from __future__ import annotations

import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Its path. Raises RuntimeError where it cannot be had."""
    if (found := _look()) is not None:
        return found
    if shutil.which("apt-get") is not None:
        _run("apt-get", "update", "-qq")  # a machine that is new has no list of packages
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-noto-core")
    if (found := _look()) is None:
        raise RuntimeError("Install Chromium, so that `chromium` is on the PATH.")
    return found


def _look() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _run(*command: str) -> None:
    env = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(command, env=env, capture_output=True, timeout=500, check=False)
