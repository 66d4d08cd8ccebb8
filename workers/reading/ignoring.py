"""What `.gitignore` and `.musterignore` files name, by the rules of gitignore(5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from workers.reading.documents.leftout import Unreadable
from workers.reading.opened import regular

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

NAMES = (".gitignore", ".musterignore")
MAX_BYTES = 1_000_000
MAX_SHOWN = 80  # characters of a rule


@dataclass(frozen=True)
class Rules:
    """The rules of one file, for what is below `folder` (a path that ends with `/`, or "")."""

    folder: str
    name: str
    spec: GitIgnoreSpec


@dataclass(frozen=True)
class IgnoreMatch:
    """The pattern that names a path, and the file it is in."""

    pattern: str
    file: str


def rules(folder: str, name: str, where: str) -> Rules | None:
    """The rules of the file `where`, which lies in `folder`; None where it has none.

    Raises Unreadable where it cannot be read, or has more in it than can be followed.
    """
    import re2

    try:
        with regular(where) as stream:
            spec = _spec(stream.read(MAX_BYTES).decode("utf-8", "replace"))
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise Unreadable(f"cannot be read ({why}), so its rules are ignored") from exc
    except re2.error as exc:
        raise Unreadable("has too many rules, so they are ignored") from exc
    return Rules(folder, name, spec) if spec.patterns else None


def find_rule(path: str, above: tuple[Rules, ...]) -> IgnoreMatch | None:
    """What leaves out the path (a folder's ends with `/`), if anything; the nearest file that names it decides."""
    for each in reversed(above):
        found = each.spec.check_file(_plain(path[len(each.folder) :]))
        if found.include and found.index is not None:
            rule = getattr(each.spec.patterns[found.index], "pattern", "")  # pathspec declares it for none of its kinds
            return IgnoreMatch(str(rule)[:MAX_SHOWN], each.folder + each.name)
        if found.include is False:
            return None
    return None


@lru_cache(maxsize=100)
def _spec(text: str) -> GitIgnoreSpec:
    """The rules that mean something, as git leaves out the others; RE2, so that no rule takes long on any path."""
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec([rule for line in text.splitlines() if (rule := _rule(line))], backend="re2")


def _rule(line: str) -> GitIgnoreSpecPattern | None:
    import re2
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    try:
        rule = GitIgnoreSpecPattern(line)
        re2.compile(rule.regex.pattern if rule.regex else "")
    except (ValueError, re.error, re2.error):
        return None
    return rule if rule.include is not None else None


def _plain(path: str) -> str:
    """Bytes of a name that are not UTF-8 as they are in the rules."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
