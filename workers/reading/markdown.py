"""A Markdown file as sections by its headings, with the anchors GitHub gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workers.reading import tables
from workers.reading.document import Block, Document, Section, indented

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT = re.compile(r"\A---\s*\n(.*?)\n(?:---|\.\.\.)\s*\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
_OWN_ANCHOR = re.compile(r"\s*\{\s*#([\w.:-]+)[^}]*\}\s*$")
_TAG = re.compile(r"<!--.*?-->|<[^>]+>", re.DOTALL)
_SPACE = re.compile(r"\s+")


def read(text: str) -> Document:
    """Title (front matter, else the first heading) and sections; text without Markdown's marks, code indented."""
    from markdown_it import MarkdownIt

    front = _FRONT.match(text)
    named = _FRONT_TITLE.search(front[1]) if front else None
    tokens = MarkdownIt("commonmark").enable("table").parse(text[front.end() :] if front else text)
    sections: list[Section] = []
    blocks: list[Block] = []
    path: list[tuple[int, str]] = []
    anchor = title = ""
    taken: dict[str, int] = {}
    row: list[str] | None = None
    header: list[str] = []
    item = False
    for position, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            if blocks:
                sections.append(Section(tuple(name for _, name in path), anchor, tuple(blocks)))
                blocks = []
            level = int(token.tag[1])
            name = _inline(tokens[position + 1])
            own = _OWN_ANCHOR.search(name)
            name = name[: own.start()] if own else name
            anchor = own[1] if own else slug(name, taken)
            path = [*((above, heading) for above, heading in path if above < level), (level, name)]
            title = title or name
        elif token.type in ("fence", "code_block"):
            blocks.append(Block(indented(token.content)))
        elif token.type == "html_block":
            blocks.append(Block(_SPACE.sub(" ", _TAG.sub(" ", token.content)).strip()))
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row is not None:
            blocks.append(Block(tables.row(header, row)))
            header = header or row
            row = None
        elif token.type == "table_close":
            header = []
        elif token.type == "list_item_open":
            item = True
        elif token.type == "inline" and not (tokens[position - 1].type == "heading_open" and token.level == 1):
            said = _inline(token)
            if row is not None:
                row.append(said)
            else:
                blocks.append(Block("- " + said if item and said else said))
            item = False
        blocks = [block for block in blocks if block.text]
    if blocks:
        sections.append(Section(tuple(name for _, name in path), anchor, tuple(blocks)))
    return Document(named[1] if named else title, tuple(sections))


def slug(heading: str, taken: dict[str, int]) -> str:
    """GitHub's anchor: lower case, only letters, digits, `-` and `_`, spaces as `-`, a number on repeats."""
    name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
    count = taken.get(name, 0)
    taken[name] = count + 1
    return f"{name}-{count}" if count else name


def _inline(token: Token) -> str:
    said: list[str] = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            said.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            said.append(" ")
        elif child.type == "image":
            said.append(child.content)
    return _SPACE.sub(" ", "".join(said)).strip()
