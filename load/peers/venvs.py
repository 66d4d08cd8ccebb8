"""The venvs of the peers: made when missing or when their requirements have changed, everything checked by hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from load.peers.place import SOURCE, VENVS

AT_ONCE = 2
PINS = ("requirements.txt", "package-lock.json")


def make(folders: Iterable[str]) -> None:
    """Makes the missing venvs; raises `subprocess.CalledProcessError` when an installation fails."""
    missing = sorted({folder for folder in folders if not _is_current(folder)})
    if missing:
        print(f"Installing {', '.join(missing)} into build/peers; minutes the first time …", file=sys.stderr)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(_make, missing))


def _make(folder: str) -> None:
    venv, source = VENVS / folder, SOURCE / folder
    shutil.rmtree(venv, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(venv))
    pip = (str(venv / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", "--require-hashes")
    _run(*pip, "-r", str(source / "requirements.txt"))
    if (source / "package-lock.json").exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, venv / name)
        _run("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(venv))
    _get_stamp(folder).write_text(_hash_pins(folder))


def _is_current(folder: str) -> bool:
    stamp = _get_stamp(folder)
    return stamp.exists() and stamp.read_text() == _hash_pins(folder)


def _get_stamp(folder: str) -> Path:
    return VENVS / folder / ".made"


def _hash_pins(folder: str) -> str:
    pinned = [SOURCE / folder / name for name in PINS if (SOURCE / folder / name).exists()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in pinned)).hexdigest()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
