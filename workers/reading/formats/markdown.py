"""A Markdown file, in any of its common dialects, as a document with the anchors GitHub gives to headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from workers.reading.documents.document import Document, slug
from workers.reading.formats import front, html
from workers.reading.hypertext.line import BLOCKS, INLINE, UNSEEN
from workers.reading.hypertext.walk import NOTES

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

KNOWN_TAGS = (
    BLOCKS | INLINE | UNSEEN | {"br", "img", "input", "video", "audio", "source", "picture", "button", "center"}
)

MAX_NESTING = 40  # of lists, quotes and brackets

_RUN = re.compile(r"([^\w\s])(?:[ \t]?\1){99,}")  # a mark a hundred times is a line or a mistake, and slow to parse
_OWN_ANCHOR = re.compile(r"[ \t]*\{(?:/\*)?[ \t]*#([\w.:-]+)[^{}]{0,100}\}[ \t]*$")
_TEMPLATE = re.compile(  # tags of Liquid, Jinja, Hugo, kramdown and MDX
    r"\{%[^%\n]{0,500}%\}|\{\{[^{}\n]{0,300}\}\}|\{/\*[^*]{0,500}\*/\}|\{[:#][^{}\n]{0,200}\}|\{[\"'] ?[\"']\}"
)
_WIKI = re.compile(
    r"!\[\[[^\[\]\n]{1,200}\]\]|\[\[([^\[\]|#\n]{1,200})(?:#[^\[\]|\n]{0,200})?(?:\|([^\[\]\n]{1,200}))?\]\]"
)
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\]:?")
_ROLE = re.compile(r"\{[\w:+-]{1,40}\}$")  # MyST: {ref}`label`
_TASK = re.compile(r"\[([ xX])\](?=\s)")
_ALERT = re.compile(r"\[!([A-Za-z]{1,30})\][+-]?[ \t]*([^\n]*)")
_MODULE = re.compile(r"import\s[^\n]{1,300}['\"];?$|export\s(?:const|default|function|let)\s")
_PLACEHOLDER = re.compile(r"<([a-z][\w-]*)>")
_NAMED = re.compile(r"[:{ ]*([\w-]+)\}?[ \t]*(?:\[([^\]]+)\])?(.*)")


def read(text: str) -> Document:
    """Title (of the front matter, else the first heading) and sections; text without Markdown's marks."""
    said, body = front.split_front(text)
    parser = _parser()
    tokens = parser.parse(_RUN.sub(lambda run: run[1] * 3, body))
    taken: dict[str, int] = {}
    title = ""
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and inline.children is not None:
            name, anchor = _heading(inline, taken)
            token.attrSet("id", anchor)
            title = title or name
    markup = parser.renderer.render(list(_adapt_tokens(tokens)), parser.options, {})
    document = html.of(markup)
    return replace(document, title=said.title or title, modified=said.modified)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.admon import admon_plugin
    from mdit_py_plugins.container import container_plugin
    from mdit_py_plugins.deflist import deflist_plugin

    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    admon_plugin(parser)
    deflist_plugin(parser)
    container_plugin(parser, "box", validate=lambda info, _: bool(info.strip()), render=_box)
    return parser


def _box(_: Any, tokens: Sequence[Token], at: int, *__: Any) -> str:
    """`:::tip Title` and `:::{note}`, as VitePress, Docusaurus, Pandoc and MyST have them."""
    if tokens[at].nesting != 1:
        return "</div>\n"
    return "<div>\n" + _title_of(tokens[at].info)


def _title_of(info: str) -> str:
    named = _NAMED.match(info.strip())
    title = (named[2] or named[3].strip(" }")) if named else ""
    if not title or title[0] in "{.#=":
        title = named[1].capitalize() if named and named[1].lower() in NOTES else ""
    return f'<p class="admonition-title">{escape(title)}</p>\n' if title else ""


def _heading(inline: Token, taken: dict[str, int]) -> tuple[str, str]:
    """The heading's name and anchor; an anchor that it gives itself is taken out of its text."""
    children = inline.children or []
    own = _OWN_ANCHOR.search(children[-1].content) if children and children[-1].type == "text" else None
    if own:
        children[-1].content = children[-1].content[: own.start()]
    spoken = ("text", "code_inline", "image")
    name = "".join(child.content if child.type in spoken else " " * ("break" in child.type) for child in children)
    return name.strip(), own[1] if own else slug(name, taken)


def _adapt_tokens(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens without what only other programs understand."""
    from markdown_it.token import Token

    for at, token in enumerate(tokens):
        if token.type == "inline":
            if all(_MODULE.match(line) for line in token.content.splitlines()):
                token.children = []
            _adapt(token.children or [], first_of_item=at > 1 and tokens[at - 2].type == "list_item_open")
        elif token.type == "html_block":
            token.content = _TEMPLATE.sub("", token.content)
        elif token.type == "fence" and token.info.startswith("{") and (title := _title_of(token.info)):
            token = Token("html_block", "", 0, content=f"<div>\n{title}{_parser().render(token.content)}</div>\n")
        yield token
        if token.type == "blockquote_open" and at + 2 < len(tokens) and tokens[at + 2].type == "inline":
            alert = _ALERT.match(tokens[at + 2].content)
            if alert:
                children = tokens[at + 2].children or []
                ends = next((n for n, child in enumerate(children) if "break" in child.type), len(children))
                tokens[at + 2].children = children[ends + 1 :]
                yield Token("html_block", "", 0, content=_title_of(f"{alert[1]} {alert[2]}"))


def _adapt(children: list[Token], *, first_of_item: bool) -> None:
    """Inline text without templates, footnotes' marks, badges and wiki's brackets; a task's box is one character."""
    for at, child in enumerate(children):
        after = children[at + 1].type if at + 1 < len(children) else ""
        if child.type == "text":
            said = child.content
            if first_of_item and at == 0:
                said = _TASK.sub(lambda box: "\u2610" if box[1] == " " else "\u2611", said, count=1)
            if "{" in said:
                said = _TEMPLATE.sub("", _ROLE.sub("", said) if after == "code_inline" else said)
            if "[" in said:
                said = _WIKI.sub(lambda link: link[2] or link[1] or "", _FOOTNOTE.sub("", said))
            child.content = said
        elif child.type == "html_inline" and (tag := _PLACEHOLDER.fullmatch(child.content)):
            child.type = "html_inline" if tag[1] in KNOWN_TAGS else "text"  # "cd <folder>"
        elif child.type == "image" and at and children[at - 1].type == "link_open" and after == "link_close":
            child.type, child.content = "text", ""  # a badge
