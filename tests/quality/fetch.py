"""A set's documents as a folder: packages by their hash, unpacked without their code, beside our own notes."""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.quality import formats
from tests.quality.sets import NOTES, DocumentSet, Package, Take

CACHE = Path(__file__).parent.parent.parent / "build" / "quality"
FETCH_SECONDS = 300


class NotFetched(Exception):
    """A package that could not be had, or is another than the one that was read; the text says which."""


def documents(wanted: DocumentSet) -> Path:
    """The folder with the set's documents, made anew. Raises NotFetched."""
    folder = CACHE / "documents" / wanted.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for package in wanted.packages:
        archive = _archive(package)
        for take in package.takes:
            if not _unpack(archive, take, folder):
                raise NotFetched(f"{archive.name} has no files like {', '.join(take.files)}.")
    if wanted.notes:
        formats.write(NOTES / wanted.notes, folder)
    return folder


def _archive(package: Package) -> Path:
    """The package's file, from the cache or its registry."""
    folder = CACHE / "packages" / f"{package.registry}-{package.name.replace('/', '+')}-{package.version}"
    if not folder.exists():
        partly = folder.with_name(f"{folder.name}.partly")
        shutil.rmtree(partly, ignore_errors=True)
        partly.mkdir(parents=True)
        _download(package, partly)
        partly.rename(folder)
    archive = next(folder.iterdir())
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise NotFetched(f"{archive} has the hash {found}, not {package.sha256}.")
    return archive


def _download(package: Package, folder: Path) -> None:
    if package.registry == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        kind = "--no-binary" if package.sdist else "--only-binary"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
        command = [*pip, "--dest", ".", f"{package.name}=={package.version}"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if run.returncode or len(list(folder.iterdir())) != 1:
        raise NotFetched(f"{package.name} {package.version} did not come from {package.registry}: {run.stderr[-500:]}")


def _unpack(archive: Path, take: Take, folder: Path) -> int:
    """How many files were taken."""
    count = 0
    for name, data in _members(archive):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in take.files):
            path = folder / take.into / name.removeprefix(take.below).lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if take.manual:
                path, data = path.with_name(f"{path.name}.txt"), _as_man_shows_it(data)
            path.write_bytes(data)
            count += 1
    return count


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Names without the first folder that all but a wheel have, and what is in them."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if not name.endswith("/"):
                    yield name if archive.suffix == ".whl" else name.partition("/")[2], packed.read(name)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                yield member.name.partition("/")[2], file.read()


def _as_man_shows_it(roff: bytes) -> bytes:
    """A manual page as text, justified and hyphenated as in a terminal of 80 columns."""
    command = ["groff", "-man", "-Tutf8", "-P-cbou", "-rLL=78n"]
    try:
        return subprocess.run(command, input=roff, capture_output=True, timeout=30, check=True).stdout
    except FileNotFoundError as exc:
        raise NotFetched("groff is not there; it shows manual pages as text (Debian's package groff-base).") from exc
