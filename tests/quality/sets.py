"""The sets as they are written down in `sets/*.toml`: where documents come from, and questions with their answers."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "sets"
NOTES = Path(__file__).parent / "notes"
KINDS = ("fact", "how-to", "comparison", "why", "list", "negative", "absent", "two parts", "vague", "typo")

Split = Literal["dev", "held"]


@dataclass(frozen=True)
class Take:
    """Files of a package whose paths match one of `files`; `below` is cut off their paths, `into` put before them."""

    files: tuple[str, ...]
    below: str = ""
    into: str = ""
    manual: bool = False  # roff: rendered as `man` shows it


@dataclass(frozen=True)
class Package:
    """One file of a registry, by its hash; `sdist` where PyPI's source has what its wheel leaves out."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    sha256: str
    takes: tuple[Take, ...]
    sdist: bool = False


@dataclass(frozen=True)
class Question:
    """`keys` are groups of alternatives: an answer holds one of each group. `pages` are right, any of them."""

    id: str
    ask: str
    kind: str
    language: str
    split: Split
    pages: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()

    @property
    def absent(self) -> bool:
        """Whether the documents have no answer, although they have some of the words."""
        return self.kind == "absent"


@dataclass(frozen=True)
class DocumentSet:
    """A folder of documents of one kind and what is asked about it. `notes` names a folder of our own texts."""

    name: str
    about: str
    packages: tuple[Package, ...]
    notes: str
    questions: tuple[Question, ...]


def read(name: str) -> DocumentSet:
    """The set of that name. Raises KeyError or TypeError where the file lacks something or has too much."""
    data = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    questions = tuple(_question(name, data["language"], number, one) for number, one in enumerate(data["question"]))
    packages = tuple(_package(one) for one in data.get("package", ()))
    return DocumentSet(name, data["about"], packages, data.get("notes", ""), questions)


def every() -> list[DocumentSet]:
    """All sets, by name."""
    return [read(path.stem) for path in sorted(FOLDER.glob("*.toml"))]


def chosen(some: Sequence[Question], split: str) -> list[Question]:
    """The questions of one half, or all."""
    return [one for one in some if split in ("all", one.split)]


def _package(data: dict[str, Any]) -> Package:
    takes = tuple(Take(**(one | {"files": tuple(one["files"])})) for one in data["take"])
    return Package(**{key: value for key, value in data.items() if key != "take"}, takes=takes)


def _question(set_name: str, language: str, number: int, data: dict[str, Any]) -> Question:
    """Every second question is held back: those after whose kinds nobody tunes."""
    groups = tuple((group,) if isinstance(group, str) else tuple(group) for group in data.get("keys", ()))
    pages = data.get("page", ())
    return Question(
        id=f"{set_name}-{number + 1:02}",
        ask=data["ask"],
        kind=data["kind"],
        language=data.get("language", language),
        split="held" if number % 2 else "dev",
        pages=(pages,) if isinstance(pages, str) else tuple(pages),
        keys=groups,
    )
