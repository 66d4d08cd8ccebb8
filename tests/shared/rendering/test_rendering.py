"""What a source wrote stays text: in Markdown, in HTML, and in a report made of whatever steps delivered."""

from __future__ import annotations

import json
import re

import pytest
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from shared import rendering
from shared.contracts import Missing
from shared.rendering.links import source_link
from shared.rendering.passage import ShownPassage
from shared.report.model import (
    Analysis,
    AskedWord,
    Cited,
    Contradiction,
    Evidence,
    Finding,
    NumberedSource,
    Report,
    Research,
    Section,
    Side,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "https://good.test/\" onclick=\"alert(1)",
    "https://good.test/<script>",
    "https://good.test/) [x](javascript:alert(1)",
    "[click](javascript:alert(1))",
    "[click]: javascript:alert(1)",
    "![x](javascript:alert(1))",
    "<javascript:alert(1)>",
    "`code` ``more`` ```fence",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "a | b | c\n|---|---|",
    "# heading\n\n<script>alert(1)</script>",
    "- item\n\n    <script>alert(1)</script>",
    "1. one",
    "+ plus",
    "=====",
    "> quote",
    "**bold** _em_ ~~gone~~ $x$",
    "snake_case_name and __dunder__",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "nul\x00 bell\x07 escape\x1b[31m",
    "line\u2028separator\u2029paragraph\r\nnext",
    "lone \ud800 surrogate",
    "back\\slash \\<b>",
    "<a id=\"source-9\"></a>",
    "<!-- comment --> <![CDATA[x]]> <?php x ?>",
]  # fmt: skip


def report(text: str, *, answered: bool | None = None) -> Report:
    """A report that has one text in every place: as earlier versions stored it, or with an answer or an admission."""
    return Report(
        title=text,
        question=f"Q {text}",
        answered=answered,
        words=[] if answered is None else [AskedWord(word=text), AskedWord(word="x", searched=text)],
        summary=[Cited(statement=text, citations=[1], question=text), Cited(statement=f"{text}\n\n2", citations=[1])],
        sections=[Section(title=text, findings=[Cited(statement=f"{text}\n\nend", citations=[1], support=text)])],
        agreements=[Cited(statement=text, citations=[1])],
        contradictions=[Contradiction(about=text, why=text, sides=[Side(statement=text, evidence=["s"])] * 2)],
        key_terms=[text, text],
        sources=[
            NumberedSource(
                id="s",
                number=1,
                title=text,
                location=text,
                provider=text,
                heading=f"h {text}",
                excerpt=text,
                language=text,
                modified=text,
            )
        ],
        missing=[Missing(what=text, why=text)],
        searched=[text],
        notes=[text],
        made=text,
    )


def as_html(markdown: str) -> str:
    """Markdown as the most generous renderer shows it."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


def assert_harmless(page: str) -> None:
    tree = lxml_html.document_fromstring(page)
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "section",
        "div",
        "span",
        "p",
        "a",
        "ul",
        "ol",
        "li",
    }
    allowed |= {"h1", "h2", "h3", "h4", "h5", "h6", "code", "pre", "strong", "em", "s", "blockquote", "table", "thead"}
    allowed |= {"tbody", "tr", "td", "th", "br", "hr", "header", "footer", "article", "time", "mark", "dl", "dt", "dd"}
    for element in tree.iter():
        assert element.tag in allowed, lxml_html.tostring(element)
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name != "style" or value.startswith("text-align")  # columns of a table
            if name in ("href", "src"):
                assert re.match(r"https?://[^\s\"<>]+\Z|#source-\d+\Z|sources/\d+\Z|\.\./report\.html\Z", value), value
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\u200e\u200f]", page)


@pytest.mark.parametrize("answered", [None, True, False])
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_report_runs_in_its_page(text, answered):
    """No element, attribute or link comes out of a source's text; the page carries its policy."""
    page = rendering.to_html(report(text, answered=answered), source_link("sources/"))

    assert_harmless(page)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert page.count("<style>") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_passage_runs_in_its_page(text):
    """Nor out of what stands around it."""
    place = ShownPassage(report(text).sources[0], text, text, text, text, text, [AskedWord(word=text)])

    page = rendering.passage_to_html(place, back="../report.html")

    assert_harmless(page)
    assert page.count("<style>") == 1


@pytest.mark.parametrize("answered", [None, True, False])
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_report_is_markup_in_its_markdown(text, answered):
    """Also where the renderer passes HTML through: what comes out are our own headings, lists, links and anchors."""
    markdown = rendering.to_markdown(report(text, answered=answered), source_link("sources/"))
    page = as_html(markdown)

    tree = lxml_html.document_fromstring(page)
    anchors = [a.get("id") for a in tree.iter("a") if a.get("id")]
    assert anchors == ["source-1"]
    tree.xpath("//a[@id]")[0].attrib.pop("id")
    assert_harmless(lxml_html.tostring(tree, encoding="unicode"))
    headings = [h.tag for h in tree.iter("h1", "h2", "h3")]
    assert headings == ["h1"] + ["h2"] * (7 if answered is False else 6)  # that one says "Nearest passages"
    assert not list(tree.iter("s", "table", "blockquote", "hr", "img"))
    assert answered is not None or not list(tree.iter("em"))  # ours, around a word that no document has
    assert bool(list(tree.iter("pre"))) == ("    <script>" in text)  # code, by the conventions of a passage


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_passage_is_markup_in_its_markdown(text):
    place = ShownPassage(report(text).sources[0], text, text, text, question=text, words=[AskedWord(word=text)])

    page = as_html(rendering.passage_to_markdown(place))

    assert_harmless(page)
    tree = lxml_html.document_fromstring(page)
    assert [h.tag for h in tree.iter("h1", "h2", "h3")] == ["h1"]
    assert not list(tree.iter("em", "s", "table", "blockquote", "img"))


@pytest.mark.parametrize("text", HOSTILE)
def test_somebody_elses_markdown_is_shown_without_its_html(text):
    """Foreign reporters send Markdown: HTML in it is text, bad links are no links."""
    assert_harmless(rendering.markdown_to_html(text, title=text))


@pytest.mark.parametrize("text", ["a * b", "snake_case", "#hash", "x < y & z > w", "[1] and `code`", "1. item", "&lt;"])
def test_escaped_text_reads_as_it_was(text):
    """Escaping loses nothing."""
    shown = MarkdownIt("commonmark", {"html": True}).render(rendering.escape_markdown(text))

    assert lxml_html.fromstring(shown).text_content().strip() == text


def test_citations_link_to_their_source():
    """A number in the text leads to the anchor of that source, in both formats."""
    markdown, page = rendering.to_markdown(report("plain")), rendering.to_html(report("plain"))

    assert "plain [1](#source-1)" in markdown
    assert '<a id="source-1"></a>' in markdown
    assert lxml_html.document_fromstring(page).xpath("//a[@href='#source-1']")
    assert lxml_html.document_fromstring(page).get_element_by_id("source-1").tag == "li"


@pytest.mark.parametrize(
    ("location", "link"),
    [
        ("https://a.test/x?y=1&z=(2)#f", "https://a.test/x?y=1&z=%282%29#f"),
        ("http://a.test/ü b", "http://a.test/%C3%BC%20b"),
        ("docs/guide.md#intro", ""),
        ("ftp://a.test/x", ""),
        ("https://", ""),
        ("https://[::1", ""),
        ("//a.test/x", ""),
    ],
)
def test_only_web_addresses_become_links(location, link):
    """Everything else is shown as code."""
    assert rendering.web_url(location) == link


def test_web_source_links_local_one_is_code():
    """A web source links and a local one is code."""
    sources = [
        NumberedSource(id="a", number=1, title="Web", location="https://a.test/p"),
        NumberedSource(id="b", number=2, title="Local", location="docs/a`b.md"),
    ]
    markdown = rendering.to_markdown(Report(title="T", question="", sources=sources))

    assert "[Web](https://a.test/p)" in markdown
    assert "``docs/a`b.md``" in markdown


def test_empty_parts_leave_no_headings():
    """A report that says only one thing has one heading."""
    bare = Report(title="T", question="T", summary=[Cited(statement="Nothing was found.", citations=[])])

    assert rendering.to_markdown(bare) == "# T\n\nNothing was found.\n"
    assert "<h2>" not in rendering.to_html(bare)


def test_overlong_foreign_markdown_is_shown_raw() -> None:
    """Foreign markdown that is too long to be read is shown as it is."""
    page = rendering.markdown_to_html("*tides* <script>alert(1)</script>\n" * 60_000, "T")  # 9 s of work

    assert "<pre>*tides* &lt;script&gt;" in page
    assert_harmless(page)


def test_our_own_markdown_keeps_its_anchors_as_html():
    """The one piece of raw HTML that is ours works, everybody else's does not."""
    page = rendering.markdown_to_html('<a id="source-3"></a>x <a id="other"></a>', "T")

    assert 'id="source-3"' in page
    assert "&lt;a id=" in page


def test_plain_report_keeps_topics_and_citations():
    """A plain report of an analysis keeps topics and citations."""
    source = Evidence(id="e", title="T", location="t.md", text="It is 30.")
    finding = Finding(id="f", statement="It is 30.", topic="Limits", evidence=["e"], support="weak")
    outputs = {"analyze": Analysis(question="q", findings=[finding], sources=[source]).model_dump()}

    made = rendering.plain_report("Title", "q", outputs, [Missing(what="report", why="It failed.")])

    assert [(s.title, s.findings[0].statement, s.findings[0].citations) for s in made.sections] == [
        ("Limits", "It is 30.", [1])
    ]
    assert made.missing[0].what == "report"
    assert made.sources[0].location == "t.md"


def test_a_plain_report_of_research_shows_its_passages():
    evidence = [Evidence(id=str(n), title="T", location="t", text=f"Passage {n}.") for n in range(2)]
    research = Research(question="q", provider="local", searched="two files", evidence=evidence)

    made = rendering.plain_report("Title", "q", {"research": research.model_dump()}, [])

    assert [c.statement for c in made.sections[0].findings] == ["Passage 0.", "Passage 1."]
    assert made.searched == ["two files"]


@pytest.mark.parametrize(
    "output",
    [
        "First.\n\nSecond.",
        ["a", {"b": 1}, None],
        {"answer": "42"},
        {"findings": "not a list"},
        {"findings": [{"id": 1}]},
        {"evidence": [{"nothing": True}]},
        {"x": {"deep": [1, 2]}},
        42,
        True,
        3.5,
    ],
)
def test_a_plain_report_takes_anything(output):
    """Whatever a foreign worker delivered is in the report, as text, in every format."""
    made = rendering.plain_report("Title", "q", {"step-1": output}, [])

    assert made.sections[0].title == "step-1"
    assert made.sections[0].findings
    assert json.loads(made.model_dump_json())["title"] == "Title"
    assert "step-1" in rendering.to_markdown(made)
    assert "step-1" in rendering.to_html(made)


@pytest.mark.parametrize("outputs", [{}, {"a": None}, {"a": ""}, {"a": []}, {"a": {}}])
def test_a_plain_report_of_nothing_says_so(outputs):
    made = rendering.plain_report("Title", "q", outputs, [])

    assert [c.statement for c in made.summary] == ["Nothing was found."]
    assert made.sections == []
