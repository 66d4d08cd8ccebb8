"""An HTML page becomes what its author wrote: judged by what it holds, not by names and tags alone."""

import time

import pytest

from workers.reading.documents.document import Document, passages
from workers.reading.formats import html

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


def texts(page: str) -> list[str]:
    return [block.text for section in html.read(page.encode()).sections for block in section.blocks]


def test_keeps_what_was_written_and_drops_furniture():
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
        "height(day) \u2014 The height in metres.",
        "Port | Height",
        "Brest | Height: 7 m",
    ]


def test_anchor_of_a_definition_is_kept_where_it_starts():
    filler = "<p>" + "Much is said of the moon here. " * 20 + "</p>"
    page = f"<main><h2 id='a'>Tides</h2><p>Up and down.</p><dl><dt id='height'>height(day)</dt></dl>{filler}</main>"

    [passage] = passages(html.read(page.encode()))

    assert [name for _, name in passage.anchors] == ["a", "height"]
    assert passage.text[passage.anchors[1][0] :].startswith("height(day)")


@pytest.mark.parametrize(
    ("listed", "blocks"),
    [
        ("<dt>--amend</dt><dd><p>Replace it.</p><p>More.</p></dd>", ["--amend \u2014 Replace it.", "More."]),
        (
            "<dt>-m &lt;msg&gt;</dt><dt>--message=&lt;msg&gt;</dt><dd>Use it.</dd>",
            ["-m <msg>, --message=<msg> \u2014 Use it."],
        ),
        ("<dt>work_mem (integer)</dt><dd>Sets it.</dd>", ["work_mem (integer) \u2014 Sets it."]),
        ("<dt>How do I stop it?</dt><dd>Press Ctrl-C.</dd>", ["How do I stop it?", "Press Ctrl-C."]),
        ("<dt>Returns:</dt><dd>The height.</dd>", ["Returns: The height."]),
        ("<dt>Contact:</dt><dd><a href='m'>a@b.org</a></dd>", ["Contact: a@b.org"]),
        ("<dt>modes</dt><dd><ul><li>fast</li></ul></dd>", ["modes", "- fast"]),
        ("<dt>a term</dt><dd><pre>code()</pre></dd><dt>last</dt>", ["a term", "    code()", "last"]),
        (f"<dt>{'long(' * 40}</dt><dd>It is long.</dd>", ["long(" * 40, "It is long."]),
        ("<dt>class A</dt><dd><dl><dt>b()</dt><dd>Does.</dd></dl></dd>", ["class A", "b() \u2014 Does."]),
    ],
)
def test_joins_terms_to_what_explains_them(listed, blocks):
    assert texts(f"<main><h1>All</h1><dl>{listed}</dl><p>The end.</p></main>") == [*blocks, "The end."]


@pytest.mark.parametrize(
    ("listed", "blocks"),
    [
        ("<ol><li>Open.<li>Close.</ol>", ["1. Open.", "2. Close."]),
        ("<ol start=3><li>Open.<li value=7>Close.<li>Go.</ol>", ["3. Open.", "7. Close.", "8. Go."]),
        ("<ul><li>One<ul><li>Two<ol><li>Three</ol></ul><li>Four</ul>", ["- One", "  - Two", "    1. Three", "- Four"]),
        ("<ol><li><p>Run:</p><pre>make\n\ntest</pre><p>Wait.</p></ol>", ["1. Run:", "    make\n    test", "  Wait."]),
        ("<ol><li><pre>make</pre><li>Wait.</ol>", ["1. make", "2. Wait."]),
        ("<ul><li><p>One.</p><p>More.</p><li>Two.</ul>", ["- One.\n  More.", "- Two."]),
        (
            "<ul><li><input type=checkbox checked>Milk<li><input type=checkbox>Tea</ul>",
            ["- \u2611 Milk", "- \u2610 Tea"],
        ),
    ],
)
def test_lists_keep_numbers_levels_and_code(listed, blocks):
    assert texts(f"<p>There are:</p>{listed}") == ["There are:", *blocks]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("10<sup>3</sup> m, x<sup>n</sup>, 1<sup>st</sup>, x<sup>a+b</sup>", "10³ m, xⁿ, 1st, x^(a+b)"),
        ("H<sub>2</sub>O and x<sub>max</sub>", "H₂O and x_max"),
        ("Said<sup><a href='#f1'>1</a></sup> so<a href='#f2'><sup>2</sup></a>.", "Said so."),
        ("Donau&shy;dampf&#8203;schiff", "Donaudampfschiff"),
        ("Press <kbd>Ctrl</kbd>+<kbd>C</kbd>", "Press Ctrl+C"),
        ("1 Sea Road<br>Port Town", "1 Sea Road\nPort Town"),
        ("It costs <del>20</del> 15 euros<script>x</script>.", "It costs 15 euros."),
        ("Seen <img alt='a red boat' src='data:image/png;base64,AAAA'>.", "Seen a red boat ."),
        ("Raw data:image/png;base64,AAAA+/= here", "Raw  here"),
    ],
)
def test_text_is_readable(written, read):
    assert texts(f"<p>{written}</p>") == [read]


def test_two_line_breaks_part_paragraphs():
    assert texts("<p>One.<br><br>Two.") == ["One.", "Two."]


def test_notes_say_what_they_are():
    page = """<h1>Keys</h1><div class="tip"><p class="admonition-title">Ein Rat</p><p>Look behind it.</p></div>
<aside><h4>Where it is</h4><p>The spare key hangs behind the door.</p></aside><p>Warning</p><p>It is cold.</p>
<details><summary>How do I open it?</summary><p>Turn the key.</p></details>"""

    assert texts(page) == [
        "Ein Rat: Look behind it.",
        "Where it is: The spare key hangs behind the door.",
        "Warning: It is cold.",
        "How do I open it?",
        "Turn the key.",
    ]


def test_cells_with_several_paragraphs_are_whole():
    """A row of one cell names a thing and explains it; in other rows a cell's paragraphs stay together."""
    page = """<main><h1>All</h1>
<table><tr><th><p>Function</p><p>Description</p></th></tr>
<tr><td><p>stop_it ( pid integer )</p><p>Stops it.</p><p>At once.</p></td></tr></table>
<table><tr><th>Name</th><th>Meaning</th></tr>
<tr><td>port</td><td><p>Where it</p><p>listens.</p></td></tr></table></main>"""

    assert texts(page) == [
        "Function Description",
        "stop_it ( pid integer ) \u2014 Stops it.",
        "At once.",
        "Name | Meaning",
        "port | Meaning: Where it listens.",
    ]


def test_tables_with_cells_over_several_rows_and_with_labels():
    """Every row can be read alone."""
    page = """<table><tr><th>Port</th><th>Day</th><th>Height</th></tr>
<tr><td rowspan=2>Brest</td><td>Monday</td><td>7 m</td></tr><tr><td>Tuesday</td><td>8 m</td></tr></table>
<table><tr><th>Opened</th><td>1889</td></tr></table>"""

    assert texts(page) == [
        "Port | Day | Height",
        "Brest | Day: Monday | Height: 7 m",
        "Brest | Day: Tuesday | Height: 8 m",
        "Opened: 1889",
    ]


def test_layout_table_is_no_table():
    """A table that lays out the page is no table."""
    page = "<table><tr><td><a href=a>Home</a></td><td><h2>Tides</h2><p>They rise.</p></td></tr></table>"

    assert [(each.heading, [block.text for block in each.blocks]) for each in html.read(page.encode()).sections] == [
        (("Tides",), ["They rise."])
    ]


TEXT = "<p>" + "The tide rises twice a day in every harbour of the coast. " * 5 + "</p>"


@pytest.mark.parametrize(
    "page",
    [
        f"<form action='x'><div>{TEXT}</div><input name='state'></form>",
        f"<main></main><div>{TEXT}</div>",
        f"<article><p>Short.</p></article><div>{TEXT}</div>",
        f"<nav>{TEXT}</nav>",
        f"<aside>{TEXT}</aside>",
        f"<div class='toc sidebar footer related'>{TEXT}</div>",
        "<div>" * 300 + TEXT,
        "<div><blockquote>" * 5_000 + TEXT,
        "<main><noscript>Enable JavaScript</noscript></main>" + TEXT,
    ],
)
def test_text_is_found_wherever_it_stands(page):
    assert any(text.startswith("The tide rises twice a day") for text in texts(f"<body>{page}</body>"))


@pytest.mark.parametrize(
    "menu",
    [
        "<ul><li><a href=a>Start</a></li><li><a href=b>How do I row a boat over the wide sea?</a></ul>",
        "<h3>Table of contents</h3><ul><li><a href=#a>Tides</a></ul>",
        "<footer>Imprint and contact</footer><p>© 2024 The Harbour</p><p>Built with Hugo 3</p>",
        "<form><input name=q><button>Search</button> Search terms:</form>",
        "<div role=search>Find it</div><button>Copy</button><a href='#x'>¶</a>",
    ],
)
def test_menus_are_no_text(menu):
    assert texts(f"<body>{menu}<h1>Tides</h1>{TEXT}{menu}</body>") == [TEXT[3:-5]]


def test_links_that_a_sentence_announces_are_text():
    page = f"<h1>Boats</h1>{TEXT}<p>There are three kinds:</p><ul><li><a href=a>Punts</a><li><a href=b>Skiffs</a></ul>"

    assert texts(page)[1:] == ["There are three kinds:", "- Punts", "- Skiffs"]


def test_what_would_leave_nothing_is_not_left_out():
    """A page of links is a page."""
    page = "<title>Index</title><ul><li><a href=a>Mooring a boat</a><li><a href=b>Spring tides</a></ul>"

    assert texts(page) == ["- Mooring a boat", "- Spring tides"]


@pytest.mark.parametrize(
    ("page", "note"),
    [
        ("<div id=root></div><script src=app.js></script>", "rendered by a script"),
        (
            "<noscript>You need to enable JavaScript.</noscript><p>Loading the app ...</p><script></script>",
            "by a script",
        ),
        ("<frameset><frame src=a></frameset>", "has no text in it"),
        ("<p>The key hangs behind the door.</p><script>count()</script>", ""),
        (TEXT + "<script>count()</script>", ""),
    ],
)
def test_a_page_without_text_says_why(page, note):
    found = html.read(page.encode()).note

    assert note in found if note else not found


def test_plain_text_in_a_page_is_read():
    """A plain text in a page is read as one."""
    page = "<title>RFC</title><pre>\nTIDES\n=====\n\n" + "The tide rises\ntwice a day.\n\n" * 20 + "</pre>"

    [section] = html.read(page.encode()).sections

    assert (section.heading, section.blocks[0].text) == (("TIDES",), "The tide rises twice a day.")


def test_numbers_of_lines_are_no_code():
    assert texts("<h1>A</h1><table><tr><td><pre>1\n2</pre></td><td><pre>a()\nb()</pre></td></tr></table>") == [
        "    a()\n    b()"
    ]


def test_bold_paragraphs_are_headings_where_they_stand_alone():
    page = "<p><b>Spring tides</b></p><p>They come after a new moon.</p>"

    assert html.read(page.encode()).sections[0].heading == ("Spring tides",)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("draw &#8212; boats v2.5 documentation", "draw"),
        ("How to row | Harbour", "How to row"),
        ("Tides - The Harbour Manual", "Tides"),
        ("Ebb - and flood", "Ebb - and flood"),
    ],
)
def test_page_without_one_h1_uses_its_title(title, name):
    """A page without one h1 is titled by its title without the site."""
    assert html.read(f"<title>{title}</title><body><p>Draw the boat.</p>".encode()).title == name


@pytest.mark.parametrize(
    "head",
    [
        "<meta property='article:modified_time' content='2024-05-06T07:08:09Z'>",
        "<meta name='dcterms.modified' content='2024-05-06'>",
        """<script type='application/ld+json'>{"dateModified": "2024-05-06"}</script>""",
    ],
)
def test_a_page_says_its_date(head):
    assert html.read(f"<head>{head}</head><p>Text.</p>".encode()).modified == "2024-05-06"


@pytest.mark.parametrize("data", [b"", b"   ", b"<!-- only -->", b"\x00\xff\xfe", b"<div>" * 5_000 + b"deep"])
def test_html_that_is_none_is_no_failure(data):
    assert isinstance(html.read(data), Document)


@pytest.mark.parametrize(
    "page",
    ["<" * 1_000_000, "<blockquote>" * 100_000 + "x", "<a href=x>" * 20_000 + "x", "<b><i>" * 50_000, "." * 1_000_000],
)
def test_time_is_linear(page):
    begin = time.process_time()
    html.read(page.encode())

    assert time.process_time() - begin < 5
