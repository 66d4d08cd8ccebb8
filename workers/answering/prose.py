"""The prose of a passage: its paragraphs and list items, without code, tables, headings and marks."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

MAX_CHARACTERS = 20_000  # of one passage that are read

_FENCE = re.compile(r"^\s*(```|~~~)")
LABEL = re.compile(
    r"^(?:note|tip|warning|caution|important|hint|info|danger|attention)(?:\s*[:!\u2014-]\s+|\s+(?=[A-Z]))",
    re.IGNORECASE,
)
_TERMS = re.compile(r"^(?:[^\s:][^:]{0,60}:: +)+(?=\S)")  # AsciiDoc: "-d:: --delete:: Delete a branch."
EXPLAINED = re.compile(r"^((?:[^\s\u2014.!?]|[.!? ](?! )){1,60}) \u2014 (?=\S)")  # "--amend \u2014 Replace the tip."
_BULLET = re.compile(r"^\s*(?:[-*+\u2022\u2013]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s")
_RULE = re.compile(r"^\s*([=\-~^\"'*+#_.])\1{2,}\s*$")
_PURPOSE = re.compile(r"^([\w.+-]+(?: [\w+-]+){0,3}) [-\u2013\u2014] ([^.;:|\n]{10,120})$")
_TABLE = re.compile(r"^\s*\|.*|.*\|\s*$|^\s*[+|][-=+|]{3,}|.*\S \| \S.*\|")
_ROW = re.compile(r"^(?P<about>\S[^|]{0,80}) \| (?P<cells>[^|:]{1,40}: \S[^|]*(?: \| [^|:]{1,40}: \S[^|]*)*)$")
_CODE_LINE = re.compile(
    r"^\s*(?:>>>|\.\.\. |\$ |#!|//|/\*|\* @|[})\];]+\s*$|import \w|from \w+ import|def \w+\(|class \w+[(:]|"
    r"return\b.*[;)]$|.*[{;]\s*$|(?:await |async |const |let |var )?[\w.\[\]]+\s*(?:[-+*/|&]?=|:=)\s*\S)"
)
_SYMBOLS = re.compile(r"[={}\[\];<>]|\w\(")
_TAGS = "a|b|i|u|p|em|br|li|ul|ol|dl|dt|dd|td|th|tr|tt|sup|sub|div|kbd|pre|var|code|span|strong|small|h[1-6]"
_INLINE = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"!\[[^\]]*\]\([^)]*\)", ""),
        (r"\[([^\]]+)\](?:\([^)\s]*(?:\s\"[^\"]*\")?\)|\[[^\]]*\])", r"\1"),
        (r"\[(?:\d{1,3}|edit|citation needed)\]", ""),
        (rf"</?(?:{_TAGS})(?:\s[^<>]{{0,200}})?/?>", ""),
        (r"(?<!\w)(\*\*|__(?![a-z]\w*__))(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2"),  # `__init__` is a name
        (r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?![\w*])", r"\1"),
        (r"(?<!\w)_(?=[^\s_])([^_]+?)(?<=\S)_(?!\w)", r"\1"),
        (r":(?:\w+:)?[\w-]+:`[~!]?([^`<]+?)(?:\s*<[^>]*>)?`", r"\1"),
        (r"`([^`<\s]+(?:\s+[^`<\s]+)*)\s*<[^>`]*>`__?", r"\1"),
        (r"``?([^`]+)``?", r"\1"),
        ("[\u00b6\u200b\ufeff\u00ad]", ""),
    )
)
_MARKED = re.compile("[*_`<\\[\u00b6\u200b\ufeff\u00ad]")


def blocks(passage: str) -> Iterator[str]:
    """The paragraphs and list items of a passage as single lines of plain text, without what is no prose."""
    for lines in chunks(passage[:MAX_CHARACTERS]):
        if _is_code(lines):
            continue
        block: list[str] = []
        for line in lines:
            bullet = _BULLET.match(line)
            if _RULE.match(line) and len(block) == 1:
                block = []  # the line before was a heading
            prose = not (_ROW.match(line) or _RULE.match(line) or _HEADING.match(line) or _TABLE.match(line))
            if (bullet or not prose) and block:
                yield plain(" ".join(block))
                block = []
            if prose:
                block.append(line[bullet.end() :] if bullet else line.strip())
        if block:
            yield plain(" ".join(block))


def rows(passage: str) -> Iterator[str]:
    """The rows of tables whose cells have names (`PORT | Default: 8000`), each as one line: `PORT — Default: 8000.`"""
    for line in passage[:MAX_CHARACTERS].splitlines():
        if found := _ROW.match(line):
            cells = (cell.strip().rstrip(".") for cell in found["cells"].split(" | "))
            yield plain(f"{found['about']} \u2014 {'; '.join(cells)}.")


def purpose(passage: str) -> str:
    """What a page of a manual says its command is for ("git-gc - Cleanup unnecessary files"), as a statement; or ""."""
    found = _PURPOSE.match(passage.strip())
    return plain(f"{found[1]} \u2014 {found[2]}.") if found else ""


def plain(text: str) -> str:
    """A line without Markdown, reStructuredText and HTML marks, on one line."""
    if _MARKED.search(text):
        for pattern, replacement in _INLINE:
            text = pattern.sub(replacement, text)
    text = " ".join((html.unescape(text) if "&" in text else text).split())
    return LABEL.sub("", _TERMS.sub(_term, text))


def _term(found: re.Match[str]) -> str:
    """What a list explains, before its explanation; a question there is left out, as its answer stands by itself."""
    names = [name.strip() for name in found[0].split("::") if name.strip()]
    return "" if names[-1].endswith("?") else f"{', '.join(names)} \u2014 "


def chunks(passage: str) -> Iterator[list[str]]:
    """Runs of lines between blank lines, without fenced code."""
    lines: list[str] = []
    fenced = False
    for line in [*passage.splitlines(), ""]:
        fence = _FENCE.match(line)
        if (fence or not line.strip()) and lines:
            yield lines
            lines = []
        if not (fence or fenced) and line.strip():
            lines.append(line)
        fenced = fenced != bool(fence)


def _is_code(lines: list[str]) -> bool:
    codes = sum(_CODE_LINE.match(line) is not None for line in lines)
    indented = all(line.startswith(("    ", "\t")) for line in lines) and not _BULLET.match(lines[0])
    return codes * 2 > len(lines) or (indented and (codes > 0 or _SYMBOLS.search("".join(lines)) is not None))
