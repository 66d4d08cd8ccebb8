"""reStructuredText (.rst), as docutils understands it; directives and roles of other tools are read for their text."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats.outline import Outline

if TYPE_CHECKING:
    from docutils import nodes

CODE = frozenset(
    ("code-block", "sourcecode", "literalinclude", "prompt", "ipython", "doctest", "testcode", "parsed-literal")
)
SILENT = frozenset(
    (
        *("toctree", "contents", "index", "meta", "highlight", "currentmodule", "module", "py:module"),
        *("tabularcolumns", "include", "raw"),
    )
)
SPOKEN = frozenset(["versionadded", "versionchanged", "deprecated", "seealso", "todo", "only", "tab", "dropdown"])
SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 5,
    "_disable_config": True,
    "smart_quotes": False,
    "line_length_limit": 100_000,
    "output_encoding": "unicode",
}

_DIRECTIVE = re.compile(r"^[ \t]*\.\. (?:\|[^|]+\| )?([\w:.+-]+)::", re.MULTILINE)
_ROLE = re.compile(r":([\w:.+-]+):`")
_TITLED = re.compile(r"^(.+?)\s*<[^<>]+>$", re.DOTALL)


def read(data: bytes) -> Document:
    """Raises Unreadable if it is not text."""
    from docutils.core import publish_doctree

    if decoding.is_binary(data):
        raise Unreadable("is not text")
    text = decoding.text_of(data)
    _make_known(text)
    tree = publish_doctree(text, settings_overrides={**SETTINGS, "warning_stream": io.StringIO()})
    outline = Outline()
    if tree.get("title"):
        outline.heading(1, tree["title"], anchor=_anchor(tree))
    _Walk(outline).children(tree, level=1)
    return outline.document()


class _Walk:
    """Docutils' tree in reading order."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline

    def children(self, node: nodes.Element, *, level: int, depth: int = 0) -> None:
        from docutils import nodes

        for child in node.children:
            if isinstance(child, nodes.Element):
                self.node(child, level=level, depth=depth)

    def node(self, node: nodes.Node, *, level: int, depth: int) -> None:
        from docutils import nodes

        match node:
            case nodes.section():
                self.outline.heading(level + 1, _first(node, nodes.title), anchor=_anchor(node))
                self.children(node, level=level + 1)
            case nodes.title() | nodes.comment() | nodes.substitution_definition() | nodes.system_message():
                return
            case nodes.target() | nodes.raw() | nodes.pending() | nodes.docinfo() | nodes.problematic():
                return
            case nodes.literal_block() | nodes.doctest_block():
                self.outline.code(node.astext())
            case nodes.bullet_list() | nodes.enumerated_list():
                self.items(node, level=level, depth=depth)
            case nodes.definition_list_item():
                self.definition(node, level=level)
            case nodes.field() | nodes.option_list_item():
                name, body = node.children[0], node.children[1]
                self.outline.explained([name.astext()], body.astext())
            case nodes.table():
                self.table(node)
            case nodes.Admonition() if not isinstance(node, nodes.system_message):
                self.admonition(node, level=level)
            case nodes.line_block():
                self.outline.say(" ".join(node.astext().split("\n")))
            case nodes.image():
                self.outline.say(node.get("alt", ""))
            case nodes.TextElement():
                self.outline.say(node.astext())
            case nodes.Element():
                self.children(node, level=level, depth=depth)

    def items(self, node: nodes.Element, *, level: int, depth: int) -> None:
        from docutils import nodes

        start = node.get("start", 1)
        for number, item in enumerate(node.children, start):
            mark = f"{number}." if isinstance(node, nodes.enumerated_list) else "-"
            first, *rest = item.children or [nodes.paragraph()]
            if isinstance(first, nodes.paragraph):
                self.outline.item(first.astext(), depth=depth, mark=mark)
            else:
                rest = [first, *rest]
            for child in rest:
                self.node(child, level=level, depth=depth + 1)

    def definition(self, node: nodes.Element, *, level: int) -> None:
        from docutils import nodes

        terms = [child.astext() for child in node.children if isinstance(child, nodes.term)]
        body = next((child for child in node.children if isinstance(child, nodes.definition)), nodes.definition())
        first, *rest = body.children or [nodes.paragraph()]
        if isinstance(first, nodes.paragraph):
            self.outline.explained(terms, first.astext())
        else:
            for term in terms:
                self.outline.say(term)
            rest = [first, *rest]
        for child in rest:
            self.node(child, level=level, depth=0)

    def table(self, node: nodes.Element) -> None:
        from docutils import nodes

        if title := _first(node, nodes.title):
            self.outline.say(title)
        for group in node.findall(nodes.tgroup):
            rows = [[entry.astext() for entry in row.children] for row in group.findall(nodes.row)]
            self.outline.table(rows, headed=bool(list(group.findall(nodes.thead))))

    def admonition(self, node: Any, *, level: int) -> None:
        """Its name is put before its first paragraph: `Note: …`."""
        from docutils import nodes

        name = _first(node, nodes.title) or node.tagname.capitalize()
        first, *rest = [child for child in node.children if not isinstance(child, nodes.title)] or [nodes.paragraph()]
        if isinstance(first, nodes.paragraph):
            self.outline.say(f"{name}: {first.astext()}")
        else:
            rest = [first, *rest]
        for child in rest:
            self.node(child, level=level, depth=0)


def _first(node: nodes.Element, kind: type) -> str:
    return next((child.astext() for child in node.children if isinstance(child, kind)), "")


def _anchor(node: nodes.Element) -> str:
    """As Sphinx and docutils name the heading on the page that they make."""
    return str((node.get("ids") or [""])[0])


def _make_known(text: str) -> None:
    """Registers what the text uses and docutils does not know: Sphinx's directives and roles, and everybody's own."""
    from docutils.parsers.rst import directives, roles
    from docutils.parsers.rst.languages import en

    for name in {found.lower() for found in _DIRECTIVE.findall(text)}:
        if name in CODE or name in SILENT or name not in en.directives:
            directives.register_directive(name, _directive(name))
    role: Any = _role
    for name in {found.lower() for found in _ROLE.findall(text)} - en.roles.keys():
        roles.register_local_role(name, role)


def _directive(name: str) -> Any:
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Foreign(Directive):
        """Any directive: arguments and content may be there or not, and every option is taken."""

        optional_arguments = 1
        final_argument_whitespace = True
        has_content = True
        option_spec = _AnyOption()

        def run(self) -> list[nodes.Node]:
            if name in SILENT:
                return []
            if name in CODE:
                return [nodes.literal_block("", "\n".join(self.content))]
            inside = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, inside, match_titles=False)
            said = " ".join(" ".join(self.arguments).split())
            if not said or name.partition("-")[0] in ("figure", "image", "plot", "graphviz", "mermaid"):
                return inside.children
            if name.rpartition(":")[2] in SPOKEN:
                label = f"{name.rpartition(':')[2].capitalize()}: {said}"
                return [nodes.paragraph("", label), *inside.children]
            terms = [nodes.term("", line.strip()) for line in "\n".join(self.arguments).splitlines() if line.strip()]
            return [nodes.definition_list_item("", *terms, nodes.definition("", *inside.children))]

    return Foreign


class _AnyOption(dict[str, Any]):
    """An option_spec that knows every option."""

    def __getitem__(self, name: str) -> Any:
        return lambda argument: argument

    def __bool__(self) -> bool:
        return True


def _role(role: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[nodes.Node], list[Any]]:
    """What a reference is called: `title <target>` is title, `~a.b` is b."""
    from docutils import nodes

    titled = _TITLED.match(text)
    own = text.rpartition(".")[2] if text.startswith("~") else text.lstrip("!.")
    said = titled[1] if titled else own
    return [nodes.inline(rawtext, said)], []
