"""A folder's documents: which files count, and what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from shared.documents.types import kind
from workers.reading import ignoring
from workers.reading.documents.leftout import LeftOut, Unreadable

PACKAGES = frozenset(("node_modules", "__pycache__"))  # of programs, not of whoever writes here
# A folder with one of these is made by a documentation tool, from sources whose copies lie beside the pages.
MADE = frozenset(("objects.inv", "searchindex.js"))
COPIES = frozenset(("_sources", "_modules", "_static"))

OTHER_TYPE = "is of an unsupported type"
HIDDEN = "is hidden"


@dataclass(frozen=True, slots=True)
class File:
    """A file that counts: `path` is relative to the folder with `/`, `where` is it on the disk, `size` in bytes.

    Bytes of a name that are not UTF-8 are escapes (`caf\\xe9.md`) in `path`, and surrogates, as Python has them, in
    `where`.
    """

    path: str
    where: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Look:
    """What a look at a folder saw: files by path, what is left out, and what could not be looked at (`a/b/`)."""

    files: list[File]
    left_out: list[LeftOut]
    unlisted: tuple[str, ...]


def look(folder: Path) -> Look:
    """Every document below the folder.

    Left out, and told: hidden files and folders, other types, what `.gitignore` and `.musterignore` name, packages of
    programs, copies that a documentation tool makes beside its pages, links to folders and out of the folder, and
    folders that cannot be listed. A link to a file that is listed anyway is not listed. Raises OSError if the
    folder itself cannot be listed.
    """
    root = os.path.realpath(folder, strict=True)
    walk = _FolderWalk(root)
    walk.folder(root, "", ())
    while walk.waiting:
        where, path, rules = walk.waiting.pop()
        try:
            walk.folder(where, path, rules)
        except OSError as exc:
            walk.unlisted.append(_printable(path))
            why = f"cannot be listed ({exc.strerror or type(exc).__name__})"
            walk.left_out.append(LeftOut(_printable(path), why, 0, failed=True))
    walk.links()
    counted = [LeftOut(what, why, files) for (what, why), files in walk.counted.items()]
    return Look(sorted(walk.found, key=lambda file: file.path), walk.left_out + counted, tuple(walk.unlisted))


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


@dataclass
class _FolderWalk:
    """The state of one look; without a `Path` for each file, which made it four times as long."""

    root: str
    found: list[File] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    unlisted: list[str] = field(default_factory=list)
    linked: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[str, str, tuple[ignoring.Rules, ...]]] = field(default_factory=list)

    def folder(self, where: str, path: str, rules: tuple[ignoring.Rules, ...]) -> None:
        """Takes one folder's entries. Raises OSError where it cannot be listed."""
        with os.scandir(where) as listed:
            entries = list(listed)
        names = {entry.name for entry in entries}
        for name in ignoring.NAMES:
            if name in names:
                rules = (*rules, *self._rules(where, path, name))
        is_made = not names.isdisjoint(MADE)
        for entry in entries:
            relative = path + entry.name
            try:
                if entry.is_symlink():
                    self._link(entry, relative, rules)
                elif entry.is_dir(follow_symlinks=False):
                    self._below(entry.path, relative + "/", rules, copies=is_made and entry.name in COPIES)
                elif self._counts(relative, entry.name, rules):
                    self._file(relative, entry.path, entry.stat(follow_symlinks=False))
            except FileNotFoundError:  # since it was listed
                continue
            except OSError as exc:  # what was read of it before is kept
                self.unlisted.append(_printable(relative))
                why = f"cannot be inspected ({exc.strerror or type(exc).__name__})"
                self.left_out.append(LeftOut(_printable(relative), why, failed=True))

    def links(self) -> None:
        """Takes the links to files: those that stay in the folder and lead to what is not listed anyway."""
        seen = {file.where for file in self.found}
        for relative, where in sorted(self.linked):
            target = os.path.realpath(where)
            if target in seen:
                continue
            seen.add(target)
            if not target.startswith(self.root.rstrip("/") + "/"):
                self.left_out.append(LeftOut(_printable(relative), "is a link to outside the folder"))
                continue
            try:
                self._file(relative, target, os.stat(target))
            except OSError:
                self.left_out.append(LeftOut(_printable(relative), "is a broken link"))

    def _rules(self, where: str, path: str, name: str) -> list[ignoring.Rules]:
        try:
            own = ignoring.rules(path, name, f"{where}/{name}")
        except Unreadable as exc:
            self.left_out.append(LeftOut(_printable(path + name), str(exc), failed=True))
            return []
        return [own] if own is not None else []

    def _below(self, where: str, path: str, rules: tuple[ignoring.Rules, ...], *, copies: bool) -> None:
        name = path.rstrip("/").rpartition("/")[2]
        if name.startswith("."):
            self._skip(path, HIDDEN)
        elif name in PACKAGES:
            self._skip(path, "holds packages of programs")
        elif copies:
            self._skip(path, "belongs to the pages beside it")
        elif (named := ignoring.find_rule(path, rules)) is not None:
            self._skip(path, f"is named in {_printable(named.file)}")
        else:
            self.waiting.append((where, path, rules))

    def _skip(self, path: str, why: str) -> None:
        self.left_out.append(LeftOut(_printable(path), why, 0))

    def _counts(self, relative: str, name: str, rules: tuple[ignoring.Rules, ...]) -> bool:
        if name.startswith("."):
            self.counted[".*", HIDDEN] += 1
            return False
        if rules and (named := ignoring.find_rule(relative, rules)) is not None:
            self.counted[named.pattern, f"is named in {_printable(named.file)}"] += 1
            return False
        if kind(name) is None:
            self.counted["*" + _printable(os.path.splitext(name)[1].lower()), OTHER_TYPE] += 1
            return False
        return True

    def _link(self, entry: os.DirEntry[str], relative: str, rules: tuple[ignoring.Rules, ...]) -> None:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a circle of links, or through a folder without permission
            is_folder = False
        if is_folder:
            self.left_out.append(LeftOut(_printable(relative), "is a link to a folder", 0))
        elif self._counts(relative, entry.name, rules):
            self.linked.append((relative, entry.path))

    def _file(self, relative: str, where: str, status: os.stat_result) -> None:
        if S_ISREG(status.st_mode):
            self.found.append(File(_printable(relative), where, status.st_size, status.st_mtime_ns))
        else:
            self.left_out.append(LeftOut(_printable(relative), "is not a regular file"))


def _printable(path: str) -> str:
    """A path as text that can be stored and sent, whatever the bytes of its names are."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
