"""Which lines of a plain text are headings: underlined, numbered, in capitals, marked, or alone above a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.reading.plain.paragraphs import is_item

UNDERLINES = "=-~^\"'`#*+:."
MAX_HEADING = 100  # characters
MAX_ALONE = 60  # of one without any mark
MAX_WORDS = 9
ENDS = ".,;:!?…。、，；：！？"

_NUMBERED = re.compile(r"((?:Appendix )?[A-Z](?=[.:])(?:\.\d+)*|\d{1,3}(?:\.\d{1,3})*)[.:]?[ \t]{1,4}([^\s.].*)$")
_MARKED = re.compile(r"(#{1,6})[ \t]+(?=\S)(.*?)#*$|(={2,6})[ \t]+(\S.*?)[ \t]+\3$")
_CHAPTER = re.compile(r"(?:chapter|part|section|kapitel|teil|chapitre|cap[ií]tulo|глава|часть)[ \t]+[\divxlc]+\b", re.I)
_CJK_CHAPTER = re.compile(r"第.{1,8}[章节節回部編课課]|[■◆●【][^。]{1,40}$|[一二三四五六七八九十]{1,3}、[^。]{1,30}$")


@dataclass(frozen=True)
class Heading:
    """`mark` is what the level is told from: "=" for an underline, "4.1" for a number, "" for neither."""

    name: str
    mark: str = ""
    number: str = ""


def heading(lines: list[str], at: int) -> tuple[Heading | None, int]:
    """The heading that starts at this line and how many lines it takes, or None."""
    line = lines[at].rstrip()
    if not line or len(line) > MAX_HEADING:
        return None, 0
    after = _line(lines, at + 1)
    if after.startswith("*") and after.endswith("*"):  # a box, not a heading
        return None, 0
    if _rule(line) and after and not _rule(after) and _line(lines, at + 2)[:3] == line[:3]:
        return Heading(after.strip(), line[0] * 2), 3
    if _rule(after) and len(after) >= min(_width(line), 60) - 1 and line[0] != " " and not _rule(line):
        return Heading(line, after[0]), 2
    if line[0] in " \t" or _line(lines, at - 1):
        return None, 0
    if marked := _MARKED.match(line):
        return Heading((marked[2] or marked[4]).strip(), "#" * len(marked[1] or marked[3])), 1
    if _capitals(line) and after and not _capitals(after.strip()):
        return Heading(line), 1  # as manual pages have them
    if after:
        return None, 0
    return _alone(lines, at, line), 1


def is_leader(line: str) -> bool:
    """Whether the line is of a table of contents: dots, then the number of a page."""
    words = line.rstrip().rstrip("0123456789ivxlcIVXLC").rstrip()
    return words != line.rstrip() and words.replace(" ", "").endswith(("....", "……"))


def _alone(lines: list[str], at: int, line: str) -> Heading | None:
    """A heading between blank lines."""
    if is_leader(line):
        return None
    below = next((other.rstrip() for other in lines[at + 1 : at + 5] if other.strip()), "")
    if not below:
        return None
    if numbered := _NUMBERED.match(line):
        steps = line[-1] in ENDS or _sibling(numbered[1], below) or _sibling(numbered[1], _above(lines, at))
        return None if steps else Heading(line.strip(), numbered[1], numbered[1].rstrip("."))
    if _capitals(line) or _CHAPTER.match(line) or _CJK_CHAPTER.match(line):
        return Heading(line)
    if line[-1] in ENDS or is_item(line) or line[0].islower() or not (line[0].isalnum() or line[0] in "\"'“«„¿"):
        return None
    if below[0] in " \t":
        return Heading(line)
    short = _width(line) <= MAX_ALONE and len(line.split()) <= MAX_WORDS and ":" not in line
    second = next((n for n in range(at + 1, len(lines)) if lines[n].strip()), at)
    text = _width(below) > MAX_ALONE or is_item(below) or bool(_line(lines, second + 1)) or below[-1] in ENDS
    return Heading(line) if short and text and _above(lines, at)[-1:] != ":" else None


def _sibling(number: str, line: str) -> bool:
    other = _NUMBERED.match(line)
    return other is not None and "." not in number and "." not in other[1] and number.isdigit() == other[1].isdigit()


def _above(lines: list[str], at: int) -> str:
    return next((lines[n].rstrip() for n in range(at - 1, max(-1, at - 5), -1) if lines[n].strip()), "")


def _line(lines: list[str], at: int) -> str:
    return lines[at].rstrip() if 0 <= at < len(lines) else ""


def _capitals(line: str) -> bool:
    letters = [char for char in line if char.isalpha()]
    short = len(line) <= MAX_ALONE and line[-1:] not in (".", ",", ";", ":")
    return short and len(letters) > 2 and line.isupper() and line[:1].isalnum()


def _width(line: str) -> int:
    """Columns: a Chinese or Japanese character takes two."""
    return sum(1 if char < "\u1100" else 2 for char in line)


def _rule(line: str) -> bool:
    return len(line) >= 3 and line[0] in UNDERLINES and line == line[0] * len(line)
