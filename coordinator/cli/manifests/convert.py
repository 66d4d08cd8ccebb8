"""Files of Kubernetes manifests in, a compose file as text out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from coordinator.cli.manifests.compose import compose
from coordinator.cli.manifests.fields import Problem
from coordinator.cli.manifests.kaos import read

HEAD = """\
# Made by `python -m coordinator.cli render {files}`; regenerated files lose changes made here.
# Build the image first (`docker compose build` beside Muster's docker-compose.yml); then
# `docker compose -f THIS_FILE up -d --wait`.
"""


def render(files: Sequence[Path]) -> tuple[str, list[Problem]]:
    """The compose file, and all that is wrong with the manifests or left out of them; empty if something is wrong."""
    problems: list[Problem] = []

    def tell(problem: Problem) -> None:
        if problem not in problems:
            problems.append(problem)

    found = read(_documents(files, tell), tell)
    if not found.agents and not any(p.fatal for p in problems):
        tell(Problem(", ".join(map(str, files)), "", "contains no Agent", True))
    made = compose(found)
    if any(p.fatal for p in problems):
        return "", problems
    text = yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return HEAD.format(files=" ".join(file.name for file in files)) + text, problems


def _documents(files: Sequence[Path], tell: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for file in files:
        try:
            found += [(file.name, document) for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
        except OSError as exc:
            tell(Problem(str(file), "", f"cannot be read: {exc.strerror}", True))
        except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as exc:
            tell(Problem(str(file), "", f"is not YAML: {' '.join(str(exc).split())[:300]}", True))
    return found


class _Dumper(yaml.SafeDumper):
    """Without anchors, and with texts of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
