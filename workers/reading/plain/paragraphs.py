"""The lines of a plain text as blocks: paragraphs, items, steps, options, labels, rows and what is drawn or code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from workers.reading.documents import definitions, tables
from workers.reading.documents.document import indent

Lines = list[str]

MAX_TERM = 60  # characters; what is longer is a sentence
MAX_SHORT = 60  # characters of a line that may stand for itself
MAX_NARROW = 40  # characters that no paragraph is wrapped at
MIN_JUSTIFIED = 50  # columns
FURTHER_IN = 4  # columns right of its section's text, where grammar and examples are
TEXT_SHARE = 0.8  # of characters that are letters, digits, common marks: less is drawn
CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60\u3000-\u303f"

_ITEM = re.compile(r"(?:[-*+•·‣▪–—]|o(?= {1,3}\S)|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+(?=\S)")
_BULLET = re.compile(r"[-*+•·‣▪–—o][ \t]+")
_NUMBER = re.compile(r"\(?(\d{1,3})[.)][ \t]+")
_OPTION = re.compile(r"-{1,2}[A-Za-z0-9?#]|/[A-Za-z?](?=[ :,]|$)")
_OPTION_SAID = re.compile(r"(\S.{0,58}?)(?:[ ]{2,}|\t+)(\S.*)")
_LABEL = re.compile(
    rf"[^\s:：|<>(]{{1,40}}(?: [^\s:：|<>(]{{1,40}}){{0,4}}(?:: +|：\s?|:\t+)(?=\S)|[{CJK}]{{1,12}}：(?=\S)"
)
_GAP = re.compile(r"(?<=\S)(?: {2,}|\t+)(?=\S)")
_RULE = re.compile(r"[-=+|─━┼ ]{3,}$")
_DRAWN = re.compile(r"\S {3,}\S|[|+\\/<>=_*]{3,}|--{2,}[>+|]|[─-╿]")
_CODE_END = re.compile(r"[;{}]$|^(?:\$|>>>|#!|//|/\*|<\?|</?\w+>) ?\S")
_WORD_END = re.compile(rf"[{CJK}]$")
_WORD_BEGIN = re.compile(rf"[{CJK}]")
_SPACE = re.compile(r"\s+")


def blocks(lines: Iterable[str], *, drawn: bool = True) -> Iterator[str]:
    """The blocks of the text below one heading, by the conventions of documents; `drawn`: code and figures too."""
    body = [line.expandtabs().rstrip() for line in lines]
    margin = min((_indent(line) for line in body if line), default=0)
    within: list[int] = []  # the columns of the lists that are open
    for group in _groups(line[margin:] for line in body):
        for part in _parts(group):
            yield from _blocks_of(part, within, drawn=drawn)


def join_lines(lines: Sequence[str]) -> str:
    """The lines of one paragraph as text; without spaces between Chinese and Japanese characters."""
    said = ""
    for line in lines:
        line = _SPACE.sub(" ", line.strip())
        if said.endswith("\u2010"):  # the hyphen that manual pages part words with
            said = said[:-1] + line
            continue
        wordless = said.endswith("-") and said[-2:-1].isalnum() and line[:1].isalnum()  # "entity-" goes on "body"
        together = wordless or (_WORD_END.search(said[-1:]) and _WORD_BEGIN.match(line))
        said += line if not said or together else f" {line}"
    return said


def is_item(line: str) -> bool:
    """Whether a line begins an item of a list or a step."""
    return _ITEM.match(line.lstrip()) is not None


def _groups(lines: Iterable[str]) -> Iterator[Lines]:
    group: Lines = []
    for line in lines:
        outer = bool(group and line) and _indent(line) < _indent(group[0])
        if group and (not line or (outer and (_OPTION.match(line.lstrip()) or is_item(line)))):
            yield group
            group = []
        if line:
            group.append(line)
        if len(group) == 1 and len(line) <= MAX_SHORT and line.endswith((":", "：")):  # announces what follows
            yield group
            group = []
    if group:
        yield group


def _parts(group: Lines) -> Iterator[Lines]:
    """Lines between blank ones, parted where an item, an option or a label begins."""
    starts = _item_starts(group) or _option_starts(group) or _label_starts(group) or {0}
    part: Lines = []
    for at, line in enumerate(group):
        if part and at in starts:
            yield part
            part = []
        part.append(line)
    yield part


def _item_starts(group: Lines) -> set[int]:
    """Where items begin: at marks, if the first line has one, or a colon or another item precedes them."""
    starts = [at for at, line in enumerate(group) if is_item(line)]
    if not starts:
        return set()
    first = starts[0]
    announced = first == 0 or group[first - 1].endswith((":", "：")) or (len(starts) > 1 and _numbers(group, starts))
    if not announced:
        return set()
    column = min(_indent(group[at]) for at in starts)
    outer = next((at for at in range(first + 1, len(group)) if _indent(group[at]) < column), None)
    return {0, *starts, *([outer] if outer is not None else [])}


def _numbers(group: Lines, starts: Sequence[int]) -> bool:
    """Whether numbers count up from one, or the marks are bullets: not a line that happens to begin with a number."""
    found = [_NUMBER.match(group[at].lstrip()) for at in starts]
    numbers = [int(each[1]) for each in found if each]
    return not numbers or (numbers[0] == 1 and len(numbers) > 1)


def _option_starts(group: Lines) -> set[int]:
    column = _indent(group[0])
    if not _OPTION.match(group[0].lstrip()):
        return set()
    starts = {0}
    for at in range(1, len(group)):
        same = _indent(group[at]) == column and _OPTION.match(group[at].lstrip()) is not None
        if same and (_indent(group[at - 1]) > column or _OPTION_SAID.match(group[at - 1].lstrip())):
            starts.add(at)
    return starts


def _label_starts(group: Lines) -> set[int]:
    labels = {at for at, line in enumerate(group) if _LABEL.match(line.lstrip()) and _indent(line) == _indent(group[0])}
    labelled = 0 in labels and 2 * len(labels) >= len(group)
    return labels if labelled else set()


def _blocks_of(part: Lines, within: list[int], *, drawn: bool) -> Iterator[str]:
    first = part[0].lstrip()
    column = _indent(part[0])
    while within and column < within[-1]:
        within.pop()
    if is_item(first):
        if not within or column > within[-1]:
            within.append(column)
        yield _item(part, level=len(within) - 1)
        return
    deep = bool(within) and column > within[-1]
    if not deep:
        within.clear()
    if _OPTION.match(first) and (option := _option(part)):
        yield from option
    elif len(part) > 1 and _indent(part[1]) > column and (defined := _match_definition(part)):
        yield from defined
    elif _LABEL.match(first) and len(part) <= 2:
        yield join_lines(part)
    elif drawn and (rows := _rows(part)):
        yield from rows
    elif drawn and _is_code(part, column=0 if deep else column):
        margin = min(map(_indent, part))
        yield indent("\n".join(line[margin:] for line in part))
    elif len(part) > 2 and _are_lines(part):
        yield from (f"- {_SPACE.sub(' ', line.strip())}" for line in part)
    else:
        yield ("  " if deep else "") + join_lines(part)


def _item(part: Lines, *, level: int) -> str:
    text = join_lines(part)
    if number := _NUMBER.match(text):
        text = f"{number[1]}. {text[number.end() :]}"
    elif bullet := _BULLET.match(text):
        text = f"- {text[bullet.end() :]}"
    return "  " * min(level, 4) + text


def _option(part: Lines) -> list[str]:
    """`-q, --quiet` with what explains it, on its line or below and further in; [] where nothing does."""
    column = _indent(part[0])
    terms: list[str] = []
    said: Lines = []
    for at, line in enumerate(part):
        if _indent(line) > column:
            said = [*said, *part[at:]]
            break
        found = _OPTION_SAID.match(line.strip())
        terms.append(found[1] if found else line.strip())
        said += [found[2]] if found else []
    return definitions.explain([term.rstrip(",") for term in terms], join_lines(said)) if said else []


def _match_definition(part: Lines) -> list[str]:
    """A term above its explanation, which is further in; [] where the first line is none."""
    term = part[0].strip().replace("`", "")
    said = part[1].strip()
    if min(map(_indent, part[1:])) <= _indent(part[0]) or len(term) > MAX_TERM or term[-1] in ".:;,!":
        return []
    if said[0].islower() or is_item(said) or _CODE_END.search(said) or _GAP.search(term):
        return []
    return definitions.explain([term], join_lines(part[1:]))


def _rows(part: Lines) -> list[str]:
    """A table of columns that spaces or bars part; the names of columns are above a rule. [] if it is not a table."""
    rules = [at for at, line in enumerate(part) if _RULE.match(line.strip())]
    lines = [line for at, line in enumerate(part) if at not in rules]
    bars = sum("|" in line for line in lines)
    if len(lines) < 2 or (bars and bars < len(lines)) or _is_justified(part):
        return []
    cut = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] if bars else _GAP.split(line.strip())
        for line in lines
    ]
    if len(cut[0]) < 2 or any(len(cells) != len(cut[0]) for cells in cut) or not _are_cells(cut):
        return []
    headed = bool(rules) and any(at in rules for at in (1, 2))
    header = cut[0] if headed else []
    return [tables.row(header if at else [], cells) for at, cells in enumerate(cut)]


def _are_cells(cut: list[list[str]]) -> bool:
    """Whether the cells are words and figures, and not pieces of a drawing or of code."""
    text = "".join(cell for cells in cut for cell in cells)
    return bool(text) and sum(char.isalnum() or char in " .,:%€$°'-/" for char in text) >= 0.9 * len(text)


def _is_code(part: Lines, *, column: int) -> bool:
    """Whether the lines are a figure or code: their breaks and spaces mean something."""
    if _is_justified(part):
        return False
    if any(_DRAWN.search(line.strip()) for line in part):
        return len(part) > 1 or part[0][-1] not in ".!?"
    code = sum(_CODE_END.search(line.strip()) is not None for line in part)
    if 2 * code > len(part):
        return True
    text = "".join(line.strip() for line in part)
    if column >= FURTHER_IN and text[-1] not in ".!?:;,)。":
        return True
    if len({_indent(line) for line in part}) > 2:
        return True
    return sum(char.isalnum() or char in " .,;:'\"()-" for char in text) < TEXT_SHARE * len(text) and text.isascii()


def _is_justified(part: Lines) -> bool:
    """Whether all lines but the last end at one column, so that wide spaces mean nothing."""
    ends = {len(line) for line in part[:-1]}
    return len(part) > 2 and len(ends) == 1 and len(part[-1]) <= max(ends) and min(ends) >= MIN_JUSTIFIED


def _are_lines(part: Lines) -> bool:
    """Whether lines stand for themselves, as in an address: the next word would have fitted on most of them."""
    stripped = [line.strip() for line in part]
    widest = max(map(len, stripped))
    if widest > MAX_SHORT or any(_WORD_END.search(line) and len(line) > MAX_NARROW // 2 for line in stripped):
        return False
    goes_on = sum(line[0].islower() for line in stripped[1:])
    if widest <= MAX_NARROW:  # nobody wraps so early
        return 2 * goes_on < len(part) or stripped[-1][-1] not in ".!?"
    fitted = sum(
        len(line) + 1 + len(following.split(maxsplit=1)[0]) <= widest for line, following in pairwise(stripped)
    )
    return 2 * fitted >= len(part) - 1 and 2 * goes_on < len(part)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
