"""What a list of definitions explains, and how it explains it, as one statement: `--amend — Replace the tip of …`."""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_NAME = 60  # characters; what is longer is a sentence

_OPTION = re.compile(r"(?<![\w-])--?(?:\[no-\])?[A-Za-z0-9?][\w-]*")
_CALL = re.compile(r"([\w.]+)\(")
_ARGUMENTS = re.compile(r"(?<=\w)(?: [(\[<{]|[=\[<{]).*")


def name(term: str) -> str:
    """What a term is called, without types and arguments: `-m, --message`, `csv.reader()`; "" where it has no name."""
    term = term.strip(" \u00b6#\u2014:")
    if term.startswith("-"):
        found = ", ".join(_OPTION.findall(term))
    elif called := _CALL.search(term):
        found = f"{called[1]}()"
    else:
        found = _ARGUMENTS.sub("", term)
    return found if 0 < len(found) <= MAX_NAME and found[-1] not in ".?!" else ""


def explained(terms: Sequence[str], text: str) -> list[str]:
    """The blocks for some terms and the first paragraph that explains them.

    A term that says more than its name stays a block of its own; an explanation that names the thing itself, and an
    item of a list, are left as they are.
    """
    names = list(dict.fromkeys(found for term in terms if (found := name(term))))
    label = ", ".join(names)
    if not label or len(label) > MAX_NAME or text.startswith("- ") or _names_itself(names, text):
        return [*terms, text]
    return [*(term for term in terms if term != name(term)), f"{label} \u2014 {text}"]


def _names_itself(names: Sequence[str], text: str) -> bool:
    verbs = "is|are|was|were|has|have|can|may|must|will|does|means"
    said = (rf"(?:an?|the) {one}(?!\w)|{one} (?:{verbs})\b" for one in map(re.escape, names))
    return any(re.match(each, text, re.IGNORECASE) for each in said)
