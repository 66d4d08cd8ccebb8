"""Prometheus and promtool: those of this machine, or Debian's package, unpacked into build/ and not installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "prometheus"


def find_programs() -> tuple[Path, Path]:
    """Paths of `prometheus` and `promtool`. Raises RuntimeError where they cannot be had."""
    here = [shutil.which(name) for name in ("prometheus", "promtool")]
    if here[0] and here[1]:
        return Path(here[0]), Path(here[1])
    if not (FOLDER / "usr/bin/promtool").is_file():
        _unpack()
    return FOLDER / "usr/bin/prometheus", FOLDER / "usr/bin/promtool"


def _unpack() -> None:
    if shutil.which("apt-get") is None:
        raise RuntimeError("Install Prometheus, so that `prometheus` and `promtool` are on the PATH.")
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as scratch:
        if not _download(Path(scratch)):
            _run("apt-get", "update", "-qq", cwd=Path(scratch))  # a machine that is new has no list of packages
            if not _download(Path(scratch)):
                raise RuntimeError("apt-get has no package `prometheus`.")
        (package,) = Path(scratch).glob("*.deb")
        _run("dpkg", "-x", str(package), f"{scratch}/root", cwd=Path(scratch))
        shutil.rmtree(FOLDER, ignore_errors=True)
        Path(scratch, "root").rename(FOLDER)


def _download(to: Path) -> bool:
    return _run("apt-get", "download", "-qq", "prometheus", cwd=to).returncode == 0


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180, check=False)
