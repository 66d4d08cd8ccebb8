"""What `.gitignore` and `.musterignore` files name, by the rules of gitignore(5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NAMES = (".gitignore", ".musterignore")
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Rules:
    """The rules of one file, for what is below `folder` (a path that ends with `/`, or "")."""

    folder: str
    name: str
    spec: GitIgnoreSpec


@dataclass(frozen=True)
class Named:
    """The pattern that names a path, and the file that it stands in."""

    pattern: str
    file: str


def rules(folder: str, name: str, where: str) -> Rules | None:
    """The rules of the file `where`, which lies in `folder`; None where it has none, or cannot be read."""
    try:
        with open(where, encoding="utf-8", errors="replace") as stream:
            spec = _spec(stream.read(MAX_BYTES))
    except OSError:
        return None
    return Rules(folder, name, spec) if spec.patterns else None


def named(path: str, above: tuple[Rules, ...]) -> Named | None:
    """What leaves out the path (a folder's ends with `/`), if anything; the nearest file that names it decides."""
    for each in reversed(above):
        found = each.spec.check_file(path[len(each.folder) :])
        if found.include and found.index is not None:
            return Named(str(getattr(each.spec.patterns[found.index], "pattern", "")), each.folder + each.name)
        if found.include is False:
            return None
    return None


@lru_cache(maxsize=100)
def _spec(text: str) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(text.splitlines())
