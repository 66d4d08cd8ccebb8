"""A folder's documents: which files count, and how one is read whatever its encoding."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from workers.reading import decoding
from workers.reading.document import Document

MAX_BYTES = 20_000_000
MARKDOWN = frozenset((".md", ".markdown", ".mdown", ".mkd"))
TEXT = frozenset((".txt", ".text", ".rst"))
HTML = frozenset((".html", ".htm", ".xhtml"))
SUFFIXES = MARKDOWN | TEXT | HTML | {".pdf"}
SKIPPED_FOLDERS = frozenset(("_sources", "_static", "_images", "_modules", "node_modules", "__pycache__"))
GENERATED = re.compile(r"^(?:gen|py-mod|mod)?index-?\w*\.html?$|^(?:search|searchresults|genindex.*)\.html?$", re.I)


@dataclass(frozen=True)
class File:
    """A file that counts: `path` is relative to the folder with `/`, `size` in bytes."""

    path: str
    size: int
    mtime_ns: int


def files(folder: Path) -> list[File]:
    """Every document below the folder, by path.

    Left out: hidden files and folders, other types, pages that a documentation tool makes for its own search,
    links that lead out of the folder, and links to a file that is listed anyway. Raises OSError if the folder
    itself cannot be read.
    """
    root = folder.resolve(strict=True)
    with os.scandir(root):
        pass  # os.walk says nothing about a folder that it may not read
    found: dict[str, File] = {}
    links: list[tuple[str, Path]] = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith(".") or kind(name) is None or GENERATED.match(name):
                continue
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                links.append((relative, path))
            elif (file := _file(relative, path)) is not None:
                found[relative] = file
    seen = {root / relative for relative in found}
    for relative, path in links:
        target = Path(os.path.realpath(path))
        if target.is_relative_to(root) and target not in seen and (file := _file(relative, target)) is not None:
            seen.add(target)
            found[relative] = file
    return [found[path] for path in sorted(found)]


def kind(name: str) -> str | None:
    """The suffix that decides how a file is read, without `.gz`; None for files that are not documents."""
    path = PurePosixPath(name.lower())
    if path.suffix == ".gz":
        path = path.with_suffix("")
        return path.suffix if path.suffix in SUFFIXES - {".pdf"} else None
    return path.suffix if path.suffix in SUFFIXES else None


def read(folder: Path, file: File) -> Document:
    """The file as a document; one that cannot be read has no sections and a `note` that says why."""
    if file.size > MAX_BYTES:
        return _unread(f"is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        data = _bytes(folder / file.path)
    except (OSError, EOFError) as exc:
        return _unread(f"cannot be read ({getattr(exc, 'strerror', None) or type(exc).__name__})")
    if len(data) > MAX_BYTES:
        return _unread(f"is larger than {MAX_BYTES // 1_000_000} MB unpacked")
    try:
        document = parsed(data, kind(file.path) or ".txt")
    except Exception as exc:  # a file that a reader stumbles over must not end the indexing of all the others
        return _unread(f"cannot be read ({type(exc).__name__})")
    if document.title:
        return document
    return replace(document, title=PurePosixPath(file.path).name)


def parsed(data: bytes, suffix: str, encoding: str | None = None) -> Document:
    """Bytes of a known type as a document; `encoding` is what the outside says, if it says something."""
    from workers.reading import html, markdown, pdf, plaintext

    if suffix == ".pdf":
        return pdf.read(data)
    if suffix in HTML:
        return html.read(data, encoding or decoding.charset(data))
    if decoding.is_binary(data):
        return _unread("is not text")
    text = decoding.text_of(data, encoding)
    return markdown.read(text) if suffix in MARKDOWN else plaintext.read(text)


def matching(paths: list[str], pattern: str) -> Iterator[str]:
    """The paths a caller means by a file, a folder or a glob (`*` also crosses `/`)."""
    from fnmatch import fnmatchcase

    folder = pattern.rstrip("/") + "/"
    glob = any(mark in pattern for mark in "*?[")
    for path in paths:
        if (
            path == pattern
            or path.startswith(folder)
            or fnmatchcase(path, pattern)
            or fnmatchcase(path, pattern.replace("**/", ""))
            or (glob and "/" not in pattern and fnmatchcase(PurePosixPath(path).name, pattern))
        ):
            yield path


def _file(relative: str, path: Path) -> File | None:
    try:
        status = path.stat()
    except OSError:  # gone since it was listed
        return None
    return File(relative, status.st_size, status.st_mtime_ns) if path.is_file() else None


def _bytes(path: Path) -> bytes:
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _unread(why: str) -> Document:
    return Document("", (), why)
