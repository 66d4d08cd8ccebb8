"""A plain text keeps its headings, lists, options, labels and lines, in any language."""

import time

import pytest

from workers.reading.documents.document import DocumentBlock
from workers.reading.formats import plaintext

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


def texts(text: str) -> list[str]:
    return [block.text for section in plaintext.read(text).sections for block in section.blocks]


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
        DocumentBlock(
            "This protocol carries tides from one harbour to another, and its text goes on over the end of a page."
        ),
    )
    springs = [block.text for block in document.sections[1].blocks]
    assert springs[:2] == ["- The first kind.", "- The second kind."]
    assert springs[2].splitlines()[1].strip() == "| moon | --- | sun  |"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("``--amend``, ``-a``\n    Replace the tip.", ["--amend, -a — Replace the tip."]),
        ("lease\n    The time for which\n    an agent lives.", ["lease — The time for which an agent lives."]),
        ("The end of this line\n    is further in.", ["The end of this line is further in."]),
    ],
)
def test_text_joins_what_a_list_explains_to_its_explanation(text, blocks):
    """As in a list of definitions."""
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


@pytest.mark.parametrize(
    ("written", "blocks"),
    [
        (
            "       -q, --quiet\n              Say nothing\n              at all.",
            ["-q, --quiet — Say nothing at all."],
        ),
        ("-n NUM\n--number=NUM\n    How many.", ["-n NUM, --number=NUM — How many."]),
        (
            "  -h, --help   show help\n               and exit\n  -q           say nothing",
            ["-h, --help — show help and exit", "-q — say nothing"],
        ),
        ("options:\n  -q, --quiet  say nothing", ["options:", "-q, --quiet — say nothing"]),
        ("-v\n    One.\n\n    Two.", ["-v — One.", "Two."]),
    ],
)
def test_options_stand_before_what_they_do(written, blocks):
    assert texts(f"Some text stands above it and is long.\n\n{written}\n")[1:] == blocks


@pytest.mark.parametrize(
    ("written", "blocks"),
    [
        (
            "There are three kinds of locks:\n* padlocks\n* others",
            ["There are three kinds of locks:", "- padlocks", "- others"],
        ),
        ("\u2022 one\n\u2022 two that goes\n  on\n  - deep", ["- one", "- two that goes on", "  - deep"]),
        ("1. Open it.\n2) Wait.\n\n3. Close it.", ["1. Open it.", "2. Wait.", "3. Close it."]),
        ("1. Open the lid\n\n2. Close the lid\n\nThen wait.", ["1. Open the lid", "2. Close the lid", "Then wait."]),
        ("- One.\n\n  More of it.\n\n- Two.", ["- One.", "  More of it.", "- Two."]),
        ("It was built in the year\n1889. And it stands.", ["It was built in the year 1889. And it stands."]),
        (
            "Name: Muster\nOwner: Ann, who has\n  the keys\nNext service: May 2027",
            ["Name: Muster", "Owner: Ann, who has the keys", "Next service: May 2027"],
        ),
        (
            "地址：海路12号\n电话：555",
            ["地址：海路12号", "电话：555"],
        ),
        ("Ingredients:\n200 g flour\n1 tsp salt\nwater", ["Ingredients:", "- 200 g flour", "- 1 tsp salt", "- water"]),
        ("The Bakery\n12 Sea Road\nPort Town", ["- The Bakery", "- 12 Sea Road", "- Port Town"]),
        (
            "Port      Height\n--------  ------\nBrest     7 m\nDover     6 m",
            ["Port | Height", "Brest | Height: 7 m", "Dover | Height: 6 m"],
        ),
        ("| Port | Height |\n|------|--------|\n| Brest | 7 m |", ["Port | Height", "Brest | Height: 7 m"]),
        (
            "Saturday    10.00   12.00\nSunday      11.00   12.00",
            ["Saturday | 10.00 | 12.00", "Sunday | 11.00 | 12.00"],
        ),
        ("if (a) {\n    b();\n}", ["    if (a) {\n        b();\n    }"]),
        (
            "The  sea  rises  and  falls   twice  a  day  in  every harbour\n"
            "of the coast, and so it goes on for ever and ever,    as   the\nmoon does.",
            [
                "The sea rises and falls twice a day in every harbour of the coast, and so it goes on for ever and "
                "ever, as the moon does."
            ],
        ),
        ("The depen\u2010\ndency is long and the text is too.", ["The dependency is long and the text is too."]),
        (
            "营业时间是早上\n九点。",
            ["营业时间是早上九点。"],
        ),
    ],
)
def test_lists_steps_labels_rows_and_lines_are_blocks(written, blocks):
    assert texts(written) == blocks


@pytest.mark.parametrize(
    ("written", "heading"),
    [
        ("OPENING HOURS\nWe open at nine.", "OPENING HOURS"),
        (
            "ЧАСЫ РАБОТЫ\n\nМы открыты.",
            "ЧАСЫ РАБОТЫ",
        ),
        ("Opening hours\n\nWe open at nine.", "Opening hours"),
        ("营业时间\n\n早上九点。", "营业时间"),
        (
            "第二章 会議室\n\n三階にあります。",
            "第二章 会議室",
        ),
        ("## Hours\n\nAt nine.", "Hours"),
        ("== Hours ==\nAt nine.", "Hours"),
        ("Hours\n~~~~~\nAt nine.", "Hours"),
        ("Chapter 4\n\nIt was late.", "Chapter 4"),
    ],
)
def test_headings_of_many_kinds(written, heading):
    last = plaintext.read(f"The first line is a sentence.\n\n{written}\n").sections[-1]

    assert last.heading == (heading,)
    assert len(last.blocks) == 1


@pytest.mark.parametrize(
    "text",
    ["The end is near.\n\nIt is here.", "Bread,\n\nbutter and more of that.", "We met: all of us\n\nIt was good."],
)
def test_sentences_and_labels_are_no_headings(text):
    assert [section.heading for section in plaintext.read(text).sections] == [()]


def test_manual_pages_lose_their_heads_and_feet():
    page = (
        "GIT-GC(1)         Git Manual         GIT-GC(1)\n\nN\bNA\bAM\bME\bE\n       git-gc - Cleanup\n\n"
        "Git 2.30      05/06/2024      GIT-GC(1)\n"
    )

    document = plaintext.read(page)

    assert (document.title, document.sections[0].heading) == ("git-gc(1)", ("NAME",))
    assert texts(page) == ["git-gc - Cleanup"]


@pytest.mark.parametrize(
    "text",
    [
        "." * 40_000,
        ". " * 200_000,
        "." * 1_000_000,
        "[" * 1_000_000,
        "*" * 1_000_000,
        " " * 1_000_000 + "x",
        "> " * 100_000,
        "A line of text\n" * 50_000,
        "a - " * 200_000,
        "x " * 100_000 + "...",
        "HEADING\n\n" * 20_000,
        "// a\n" * 20_000,
        "a\n=\n" * 20_000,
        "Name: x\n" * 20_000,
        "- a\n" * 20_000,
        "\t" * 100_000 + "x",
    ],
)
def test_time_is_linear(text):
    begin = time.process_time()
    plaintext.read(text)

    assert time.process_time() - begin < 5
