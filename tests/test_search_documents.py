"""Files become titled documents with sections, anchors and readable text, whatever their format and encoding."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from workers.reading import decoding, files, html, markdown, opened, plaintext
from workers.reading.document import PASSAGE_WORDS, Block, Document, Section, passages, sentences

HTML = """<!DOCTYPE html><html><head><title>Tides — Harbour documentation</title></head><body>
<nav>Home <a href="/">Index</a></nav>
<div role="main"><h1>Tides<a class="headerlink" href="#tides">¶</a></h1>
<p>The sea rises &amp; falls<!-- aside --> twice a day.</p>
<section id="springs"><h2>Spring tides</h2>
<p>They come after a new moon.</p><pre>tide = moon +
    sun</pre>
<dl><dt id="height">height(day)</dt><dd>The height in metres.</dd></dl>
<ul><li><a href="a">One</a></li><li><a href="b">Two</a></li></ul>
<table><tr><th>Port</th><th>Height</th></tr><tr><td>Brest</td><td>7 m</td></tr></table>
</section></div><footer>Imprint</footer><script>var x = 1;</script></body></html>"""

MARKDOWN = """---
title: "The harbour"
---
Before any heading.

# Mooring *boats*

Tie the `bowline` first,
then wait.

## What's new?

- one
- two

```sh
# not a heading
make fast
```

## What's new?

| knot | strength |
|------|----------|
| reef | weak     |
"""

RFC = """


Network Working Group                                          A. Author
Request for Comments: 9999                                    March 2020


                      The Tide Transfer Protocol

Status of This Memo

   This memo is for everybody.

Table of Contents

   1. Introduction ................................................2
   2. Tides .......................................................2

1.  Introduction

   This protocol carries tides from one harbour to another, and its text
   goes on over

Author                       Informational                      [Page 1]
\f
RFC 9999                       Tide Transfer                  March 2020


   the end of a page.

2.  Tides

2.1.  Springs

   o  The first kind.

   o  The second kind.

      +------+     +------+
      | moon | --- | sun  |
      +------+     +------+

Appendix A.  Thanks

   To the moon.
"""


def test_html_keeps_what_was_written_and_drops_furniture():
    """Navigation, permalinks, scripts, footers and lists of links are gone; text, code and tables stay."""
    document = html.read(HTML.encode(), "utf-8")

    assert document.title == "Tides"
    assert [(section.heading, section.anchor) for section in document.sections] == [
        (("Tides",), ""),
        (("Tides", "Spring tides"), "springs"),
    ]
    assert [block.text for section in document.sections for block in section.blocks] == [
        "The sea rises & falls twice a day.",
        "They come after a new moon.",
        "    tide = moon +\n        sun",
        "height(day)",
        "height() \u2014 The height in metres.",
        "Port | Height",
        "Brest | Height: 7 m",
    ]


def test_html_anchor_of_a_definition_is_kept_where_it_starts():
    filler = "<p>" + "Much is said of the moon here. " * 20 + "</p>"
    page = f"<main><h2 id='a'>Tides</h2><p>Up and down.</p><dl><dt id='height'>height(day)</dt></dl>{filler}</main>"

    [passage] = passages(html.read(page.encode(), "utf-8"))

    assert [name for _, name in passage.anchors] == ["a", "height"]
    assert passage.text[passage.anchors[1][0] :].startswith("height(day)")


@pytest.mark.parametrize(
    ("listed", "blocks"),
    [
        ("<dt>--amend</dt><dd><p>Replace it.</p><p>More.</p></dd>", ["--amend \u2014 Replace it.", "More."]),
        (
            "<dt>-m &lt;msg&gt;</dt><dt>--message=&lt;msg&gt;</dt><dd>Use it.</dd>",
            ["-m <msg>", "--message=<msg>", "-m, --message \u2014 Use it."],
        ),
        (
            "<dt>class csv.Reader(f, *, strict)</dt><dd>Reads.</dd>",
            ["class csv.Reader(f, *, strict)", "csv.Reader() \u2014 Reads."],
        ),
        ("<dt>work_mem (integer)</dt><dd>Sets it.</dd>", ["work_mem (integer)", "work_mem \u2014 Sets it."]),
        ("<dt>lease</dt><dd>A lease is a time.</dd>", ["lease", "A lease is a time."]),
        ("<dt>How do I stop it?</dt><dd>Press Ctrl-C.</dd>", ["How do I stop it?", "Press Ctrl-C."]),
        ("<dt>modes</dt><dd><ul><li>fast</li></ul></dd>", ["modes", "- fast"]),
        ("<dt>a term</dt><dd><pre>code()</pre></dd><dt>last</dt>", ["a term", "    code()", "last"]),
    ],
)
def test_html_joins_what_a_list_explains_to_its_explanation(listed, blocks):
    """The name of the thing stands before what is said of it; arguments and questions stay outside."""
    document = html.read(f"<main><h1>All</h1><dl>{listed}</dl><p>The end.</p></main>".encode(), "utf-8")

    assert [block.text for block in document.sections[0].blocks] == [*blocks, "The end."]


@pytest.mark.parametrize(
    ("heading", "text", "first"),
    [
        ("`unlink(path)`", "Removes a file.", "unlink() \u2014 Removes a file."),
        (
            "`fs.unlink(path)`",
            "- `path` a string\n\nRemoves a file.",
            "- path a string\n\nfs.unlink() \u2014 Removes a file.",
        ),
        ("`-w`, `--watch`", "Starts again.", "-w, --watch \u2014 Starts again."),
        ("`fs.read()`", "The `fs.read()` function reads.", "The fs.read() function reads."),
        ("Waiting for `fs.read()`", "It waits.", "It waits."),
        ("`fs.read()` and waiting", "All waits.", "All waits."),
        ("`fs.read()` and `fs.write()`", "Both wait.", "Both wait."),
        ("Install", "Run the program.", "Run the program."),
        ("`maxSize`", "Default: 5.", "Default: 5."),
    ],
)
def test_a_heading_that_names_code_is_joined_to_what_explains_it(heading, text, first):
    """A reference names a function in its heading and begins the text without it."""
    [passage] = passages(markdown.read(f"# Manual\n\n## {heading}\n\n{text}\n"))

    assert passage.text == first


def test_html_terms_of_a_glossary_are_sections():
    """Each has its own anchor, and the text after the list belongs to what stands above it."""
    page = b"""<title>Glossary - the manual</title><main><h1>Glossary</h1><p>Words.</p><dl>
<dt id='ebb'>ebb</dt><dd>The tide that goes out.</dd>
<dt><a id='flood'></a>flood</dt><dt>flow</dt><dd>A flood is the tide that comes in.</dd></dl><p>The end.</p></main>"""

    sections = html.read(page, "utf-8").sections

    assert [(each.heading, each.anchor, [block.text for block in each.blocks]) for each in sections] == [
        (("Glossary",), "", ["Words."]),
        (("Glossary", "ebb"), "ebb", ["ebb \u2014 The tide that goes out."]),
        (("Glossary", "flood"), "flood", ["flood", "flow", "A flood is the tide that comes in."]),
        (("Glossary",), "flood", ["The end."]),
    ]


def test_html_fields_of_a_signature_are_no_definitions():
    """ "Returns — The height." would be nobody's statement."""
    page = b"<main><h1>All</h1><dl class='field-list simple'><dt>Returns:</dt><dd>The height.</dd></dl></main>"

    assert [block.text for block in html.read(page, "utf-8").sections[0].blocks] == ["Returns:", "The height."]


def test_html_cells_with_several_paragraphs_are_whole():
    """A row of one cell names a thing and explains it; in other rows a cell's paragraphs stay together."""
    page = b"""<main><h1>All</h1>
<table><tr><th><p>Function</p><p>Description</p></th></tr>
<tr><td><p>stop_it ( pid integer )</p><p>Stops it.</p><p>At once.</p></td></tr></table>
<table><tr><th>Name</th><th>Meaning</th></tr>
<tr><td>port</td><td><p>Where it</p><p>listens.</p></td></tr></table></main>"""

    assert [block.text for block in html.read(page, "utf-8").sections[0].blocks] == [
        "Function Description",
        "stop_it ( pid integer )",
        "stop_it \u2014 Stops it.",
        "At once.",
        "Name | Meaning",
        "port | Meaning: Where it listens.",
    ]


def test_html_without_one_h1_is_titled_by_its_title_without_the_site():
    page = "<title>draw &#8212; boats v2.5 documentation</title><body><p>Draw the boat.</p>"

    assert html.read(page.encode(), "utf-8").title == "draw"


@pytest.mark.parametrize("data", [b"", b"   ", b"<!-- only -->", b"\x00\xff\xfe", b"<div>" * 5_000 + b"deep"])
def test_html_that_is_none_is_no_failure(data):
    assert isinstance(html.read(data, "utf-8"), Document)


def test_markdown_has_githubs_anchors_and_plain_text():
    document = markdown.read(MARKDOWN)

    assert document.title == "The harbour"
    assert [(section.heading[-1:], section.anchor) for section in document.sections] == [
        ((), ""),
        (("Mooring boats",), "mooring-boats"),
        (("What's new?",), "whats-new"),
        (("What's new?",), "whats-new-1"),
    ]
    assert [block.text for block in document.sections[2].blocks] == [
        "- one",
        "- two",
        "    # not a heading\n    make fast",
    ]
    assert document.sections[3].blocks[-1].text == "reef | strength: weak"


def test_rfc_loses_page_breaks_contents_and_boilerplate():
    """Sections by number, the sentence over the page break whole, the drawing kept as it was drawn."""
    document = plaintext.read(RFC)

    assert document.title == "RFC 9999: The Tide Transfer Protocol"
    assert [(section.heading, section.anchor) for section in document.sections] == [
        (("1.  Introduction",), "section-1"),
        (("2.  Tides", "2.1.  Springs"), "section-2.1"),
        (("Appendix A.  Thanks",), "appendix-A"),
    ]
    assert document.sections[0].blocks == (
        Block("This protocol carries tides from one harbour to another, and its text goes on over the end of a page."),
    )
    springs = [block.text for block in document.sections[1].blocks]
    assert springs[:2] == ["- The first kind.", "- The second kind."]
    assert springs[2].splitlines()[1].strip() == "| moon | --- | sun  |"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("``--amend``, ``-a``\n    Replace the tip.", ["--amend, -a \u2014 Replace the tip."]),
        ("lease\n    The time for which\n    an agent lives.", ["lease \u2014 The time for which an agent lives."]),
        (".. py:function:: load(path)\n   :noindex:\n\n   Reads it.", ["load(path)", "load() \u2014 Reads it."]),
        (".. option:: --watch\n\n   Starts again.\n\n   At once.", ["--watch \u2014 Starts again.", "At once."]),
        ("The end of this line\n    is further in.", ["The end of this line is further in."]),
    ],
)
def test_text_joins_what_a_list_explains_to_its_explanation(text, blocks):
    """Definition lists, and the directives that describe code."""
    document = plaintext.read(f"Manual\n======\n\n{text}\n\nThe end comes here, and nothing after it.\n")

    assert [block.text for block in document.sections[0].blocks] == [
        *blocks,
        "The end comes here, and nothing after it.",
    ]


def test_headings_of_manual_pages_stand_right_above_their_text():
    document = plaintext.read("NAME\n       git-gc - Cleanup\n\nSEE ALSO\n       The other one.\n")

    assert [(each.heading, each.blocks[0].text) for each in document.sections] == [
        (("NAME",), "git-gc - Cleanup"),
        (("SEE ALSO",), "The other one."),
    ]


def test_text_with_underlined_headings_and_text_without_any():
    underlined = plaintext.read("Boats\n=====\n\nThey float.\n\nOars\n----\n\nThey row.\n")
    bare = plaintext.read("They float.\nAll of them.\n\nThey row.\n")

    assert [section.heading for section in underlined.sections] == [("Boats",), ("Boats", "Oars")]
    assert [block.text for block in bare.sections[0].blocks] == ["They float. All of them.", "They row."]


def test_long_sections_are_cut_into_parts_of_like_length_at_block_ends():
    blocks = tuple(Block(f"Sentence {number} says that the tide is high again today." * 4) for number in range(40))

    parts = list(passages(Document("t", (Section(("t",), "", blocks),))))

    sizes = [len(part.text.split()) for part in parts]
    assert len(parts) == -(-sum(sizes) // PASSAGE_WORDS)
    assert max(sizes) <= PASSAGE_WORDS * 1.15
    assert max(sizes) - min(sizes) <= 80
    assert "\n\n".join(part.text for part in parts) == "\n\n".join(block.text for block in blocks)


@pytest.mark.parametrize("text", ["word " * 3_000, "w" * 100_000, "A sentence. " * 1_000, "    code()\n" * 2_000])
def test_a_block_longer_than_a_passage_is_cut(text):
    parts = list(passages(Document("t", (Section((), "", (Block(text),)),))))

    assert max(len(part.text.split()) for part in parts) <= PASSAGE_WORDS * 1.15
    assert "".join("".join(part.text for part in parts).split()) == "".join(text.split())


def test_abbreviations_do_not_end_a_sentence():
    said = sentences("See e.g. Dr. Moon. He wrote (in 1988) of tides! Did he? Yes.")

    assert said == ["See e.g. Dr. Moon.", "He wrote (in 1988) of tides!", "Did he?", "Yes."]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Größe".encode(), "Größe"),
        ("\ufeffGröße".encode(), "Größe"),
        ("Größe und Höhe der Flut, für alle Häfen".encode("cp1252"), "Größe und Höhe der Flut, für alle Häfen"),
        ("Größe".encode("utf-16"), "Größe"),
        (
            '<?xml version="1.0" encoding="koi8-r"?>прилив'.encode("koi8-r"),
            '<?xml version="1.0" encoding="koi8-r"?>прилив',
        ),
        (b"one\r\ntwo\rthree\0", "one\ntwo\nthree"),
    ],
)
def test_encodings(data, expected):
    assert decoding.text_of(data) == expected


def test_pdf_pages_are_sections(tmp_path):
    (tmp_path / "tide.pdf").write_bytes(_pdf("The tide is high today."))
    (tmp_path / "empty.pdf").write_bytes(_pdf(""))
    (tmp_path / "locked.pdf").write_bytes(_pdf("Secret.", password="p"))
    (tmp_path / "broken.pdf").write_bytes(_pdf("The tide is high today.")[:200])

    read = {file.path: opened.opened(file.where, file.path).document for file in files.look(tmp_path).files}

    assert [(each.heading, each.anchor) for each in read["tide.pdf"].sections] == [(("Page 1",), "page=1")]
    assert read["tide.pdf"].sections[0].blocks[0].text == "The tide is high today."
    assert read["empty.pdf"].note == "has no text in it (a scan?)"
    assert read["locked.pdf"].note == "is encrypted"
    assert "broken PDF" in read["broken.pdf"].note


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.md", {"a.md"}),
        ("sub", {"sub/a.md", "sub/deep/b.txt"}),
        ("sub/", {"sub/a.md", "sub/deep/b.txt"}),
        ("*.md", {"a.md", "sub/a.md"}),
        ("sub/**/*.txt", {"sub/deep/b.txt"}),
        ("**/a.md", {"a.md", "sub/a.md"}),
        ("none/*", set()),
    ],
)
def test_documents_are_chosen_by_file_folder_or_glob(pattern, expected):
    assert set(files.matching(["a.md", "sub/a.md", "sub/deep/b.txt"], pattern)) == expected


def test_unreadable_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        files.look(tmp_path / "none")


def _pdf(text: str, password: str = "") -> bytes:
    writer = PdfWriter()
    page = writer.add_blank_page(300, 300)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    content = DecodedStreamObject()
    content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
    page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
