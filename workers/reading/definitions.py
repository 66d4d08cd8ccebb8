"""What a list or a heading names, and how the text explains it, as one statement: `--amend — Replace the tip of …`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

MAX_NAME = 60  # characters; what is longer is a sentence
MAX_TERM = 500  # characters of a term that are read; signatures may be long
NEAR = 100  # characters at the beginning of a paragraph that names its thing itself

_OPTION = re.compile(r"(?<![\w-])--?(?:\[no-\])?[A-Za-z0-9?][\w-]*")
_CALL = re.compile(r"([\w.]+)\(")
_CODE = re.compile(
    r"--?[A-Za-z]|[A-Za-z][\w.]*\([^()]*\)$|(?=\S*(?:[._]\w|[a-z][A-Z]))[A-Za-z][\w.]*(?:[=\[<]\S*)?$"
)  # an option, a call, an identifier; "read() and write()" is none
_SENTENCE = re.compile(r"[A-Z][^:|]*?\.(?:\s|$)")
_ARGUMENTS = re.compile(r"(?<=\w)(?: [(\[<{]|[=\[<{]).*")


def name(term: str) -> str:
    """What a term is called, without types and arguments: `-m, --message`, `csv.reader()`; "" where it has no name."""
    term = term[:MAX_TERM].strip(" \u00b6#\u2014:")
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


def headed(heading: str, blocks: Sequence[str]) -> list[str]:
    """The blocks below a heading that names code (`fs.unlink(path)`), with the name before the paragraph that explains.

    That is the first paragraph which is a sentence, before any code, unless it names the thing itself.
    """
    label = name(heading)
    if not label or not _CODE.match(heading):
        return list(blocks)
    prose = list(takewhile(lambda text: not text.startswith("    "), blocks))
    place = next((at for at, text in enumerate(prose) if _SENTENCE.match(text)), None)
    if place is None or any(one in blocks[place][:NEAR] for one in _spoken(label)):
        return list(blocks)
    return [*blocks[:place], f"{label} \u2014 {blocks[place]}", *blocks[place + 1 :]]


def _spoken(label: str) -> list[str]:
    return [one.removesuffix("()") for one in label.split(", ")]


def _names_itself(names: Sequence[str], text: str) -> bool:
    verbs = "is|are|was|were|has|have|can|may|must|will|does|means"
    said = (rf"(?:an?|the) {one}(?!\w)|{one} (?:{verbs})\b" for one in map(re.escape, names))
    return any(re.match(each, text, re.IGNORECASE) for each in said)
