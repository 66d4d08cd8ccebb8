"""PURE: reads a Kubernetes manifest field by field, and names every field that is wrong or was not asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_MEMORY = re.compile(r"^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?$")
_FACTORS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, None: 1}
_CPU = re.compile(r"^(\d+(?:\.\d+)?)(m)?$")
T = TypeVar("T")
VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*\Z")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field (`fatal`), or left out of the translation, and its place."""

    where: str
    field: str
    text: str
    fatal: bool

    def __str__(self) -> str:
        kind = "error" if self.fatal else "warning"
        return (
            f"{self.where}: {self.field}: {self.text} ({kind})" if self.field else f"{self.where}: {self.text} ({kind})"
        )


Tell = Callable[[Problem], None]


class Fields:
    """One mapping of a manifest. A field of a wrong type is told of and read as missing; `rest` tells of the others."""

    def __init__(self, data: Any, *, where: str, path: str, tell: Tell) -> None:
        self.where = where
        self.path = path
        self._tell = tell
        self._seen: set[str] = set()
        self._children: list[Fields] = []
        self.there = data is not None
        if data is not None and not isinstance(data, Mapping):
            self.wrong("", f"must be a mapping, not {_kind(data)}")
        self._data: Mapping[Any, Any] = data if isinstance(data, Mapping) else {}

    def text(self, name: str) -> str | None:
        """A text; a number or a boolean is read as YAML writes it."""
        value = self._taken(name)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        return self._of(name, value, str)

    def number(self, name: str, *, least: int, most: int) -> int | None:
        value = self._of(name, self._taken(name), int)
        if value is not None and not least <= value <= most:
            self.wrong(name, f"must be {least} to {most}, not {value}")
            return None
        return value

    def flag(self, name: str) -> bool | None:
        return self._of(name, self._taken(name), bool)

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value: list[Any] = self._of(name, self._taken(name), list) or []
        for item in value:
            if not isinstance(item, str):
                self.wrong(name, f"must be a list of strings, not {_kind(item)} in it")
        return [item for item in value if isinstance(item, str)]

    def child(self, name: str) -> Fields:
        """A mapping below this one; empty where it is missing."""
        return self._below(self._taken(name), self._at(name))

    def children(self, name: str) -> list[Fields]:
        """A list of mappings."""
        value: list[Any] = self._of(name, self._taken(name), list) or []
        return [self._below(item, f"{self._at(name)}[{i}]") for i, item in enumerate(value)]

    def env(self, name: str = "env") -> dict[str, str]:
        """A list of `{name, value | valueFrom}` as compose values: a secret becomes a variable of the environment."""
        found: dict[str, str] = {}
        for item in self.children(name):
            key = item.text("name")
            if key is None or not VARIABLE.match(key):
                item.wrong("name", "must be the name of an environment variable")
                continue
            value = item.secret("value")
            if value is not None:
                found[key] = value
            elif item.has("value"):
                found[key] = ""
        return found

    def secret(self, value: str) -> str | None:
        """`value`, or the variable that stands for `valueFrom`, as a compose value; None where there is neither."""
        text, source = self.text(value), self.child("valueFrom")
        for kind in ("secretKeyRef", "configMapKeyRef"):
            reference = source.child(kind)
            if reference.there:
                reference.skip("optional")
                name, key = reference.text("name"), reference.text("key")
                variable = re.sub(r"[^A-Z0-9]+", "_", f"{name or kind}_{key or ''}".upper()).strip("_")
                self.skipped("valueFrom", f"is not resolved: set {variable} in the environment or in .env")
                return f"${{{variable}:-}}"
        if source.there:
            self.wrong("valueFrom", "cannot be translated: only secretKeyRef and configMapKeyRef can")
        return None if text is None else literal(text)

    def limits(self) -> dict[str, Any]:
        """`resources.limits` as compose has them; requests have no meaning on one machine."""
        resources = self.child("resources")
        resources.skip("requests")
        limits = resources.child("limits")
        found: dict[str, Any] = {}
        memory, cpu = limits.text("memory"), limits.text("cpu")
        if memory is not None:
            parts = _MEMORY.match(memory)
            if parts is None:
                limits.wrong("memory", f"is not an amount of memory: {memory!r}")
            else:
                found["mem_limit"] = f"{int(float(parts[1]) * _FACTORS[parts[2]])}b"
        if cpu is not None:
            parts = _CPU.match(cpu)
            if parts is None:
                limits.wrong("cpu", f"is not a number of processors: {cpu!r}")
            else:
                found["cpus"] = round(float(parts[1]) / (1000 if parts[2] else 1), 3)
        return found

    def has(self, name: str) -> bool:
        return self._data.get(name) is not None

    def skip(self, *names: str) -> None:
        """Fields that mean nothing outside a cluster, and whose loss changes nothing."""
        self._seen.update(names)

    def wrong(self, name: str, text: str) -> None:
        self._tell(Problem(self.where, self._at(name) if name else self.path, text, True))

    def skipped(self, name: str, text: str) -> None:
        self._tell(Problem(self.where, self._at(name), text, False))

    def rest(self) -> None:
        """Reports every field, here and below, that was never read."""
        for name in self._data:
            if name not in self._seen and self._data[name] not in (None, {}, []):
                self.skipped(str(name), "is ignored: it has no equivalent here")
        for child in self._children:
            child.rest()

    def _below(self, data: Any, path: str) -> Fields:
        child = Fields(data, where=self.where, path=path, tell=self._tell)
        self._children.append(child)
        return child

    def _taken(self, name: str) -> Any:
        self._seen.add(name)
        return self._data.get(name)

    def _of(self, name: str, value: Any, kind: type[T]) -> T | None:
        if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
            return value
        self.wrong(name, f"must be {_NAMES[kind]}, not {_kind(value)}")
        return None

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def literal(text: str) -> str:
    """A text that Compose reads as itself: it would take `$` for a variable."""
    return text.replace("$", "$$")


_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def _kind(value: Any) -> str:
    return next((said for kind, said in reversed(_NAMES.items()) if isinstance(value, kind)), type(value).__name__)
