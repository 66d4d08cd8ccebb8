"""A statement keeps the form that its document gave it: lists, steps, code, rows and options are shown as such."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html

from shared import rendering
from shared.rendering.blocks import Code, Item, Listing, Paragraph, Table, Terms, blocks
from shared.report.model import Cited, NumberedSource, Report


def page(statement: str):
    """The page of a report that answers with one statement, as a tree."""
    source = NumberedSource(id="s", number=1, title="Handbook", location="handbook.md")
    answer = Cited(statement=statement, citations=[1])
    return lxml_html.document_fromstring(
        rendering.to_html(Report(title="T", question="T", answered=True, summary=[answer], sources=[source]))
    )


def markdown(statement: str) -> str:
    answer = Cited(statement=statement, citations=[])
    return rendering.to_markdown(Report(title="T", question="T", answered=True, summary=[answer]))


RUN = "1. Stop it.\n2. Run:\n\n    make clean\n      all"
STEPS = f"Do this:\n\n{RUN}\n\n3. Start it:\n  - here\n    - and below\n  - there"


def test_steps_keep_numbers_code_and_items():
    """Steps keep their numbers their code and their own items."""
    assert blocks(STEPS) == (
        Paragraph("Do this:"),
        Listing(
            (
                Item("Stop it.", 1),
                Item("Run:", 2, (Code("make clean\n  all"),)),
                Item("Start it:", 3, (Listing((Item("here", None, (_below,)), Item("there", None)), False),)),
            ),
            ordered=True,
        ),
    )


_below = Listing((Item("and below", None),), False)


def test_steps_are_a_list_on_the_page():
    tree = page(STEPS)

    assert [li.get("value") for li in tree.xpath("//section[@class='answer']//ol/li")] == ["1", "2", "3"]
    assert tree.xpath("//ol/li[2]/pre/code")[0].text == "make clean\n  all"
    assert [" ".join(li.text.split()) for li in tree.xpath("//ol/li[3]//li")] == ["here", "and below", "there"]


def test_steps_are_a_list_in_markdown():
    assert "2. Run:\n   ```\n   make clean\n     all\n   ```\n3. Start it:\n   - here\n     - and below" in markdown(
        STEPS
    )


def test_steps_that_begin_in_the_middle_say_so():
    assert [li.get("value") for li in page("4. Fourth.\n5. Fifth.").xpath("//section[@class='answer']//li")] == [
        "4",
        "5",
    ]
    assert "4. Fourth.\n5. Fifth." in markdown("4. Fourth.\n\n5. Fifth.")


ROWS = "PORT | Default: 8000 | Meaning: where it listens\n\nHOST | Meaning: on which address"


def test_rows_are_one_table_whose_columns_have_their_names():
    """Also where a row leaves a column out."""
    assert blocks(ROWS) == (
        Table(("", "Default", "Meaning"), (("PORT", "8000", "where it listens"), ("HOST", "", "on which address"))),
    )
    assert [th.text for th in page(ROWS).iter("th")] == ["Default", "Meaning"]
    assert "| PORT | 8000 | where it listens |" in markdown(ROWS)


def test_a_row_of_names_is_the_header():
    rows = "setting | default | meaning\nPORT | default: 8000 | meaning: where\nHOST | meaning: on which"

    assert blocks(rows) == (
        Table(("setting", "default", "meaning"), (("PORT", "8000", "where"), ("HOST", "", "on which"))),
    )


def test_rows_with_nameless_cells_stay_rows():
    """A cell that was long may have lost its name."""
    assert blocks("A | b: 1 | c: 2\nB | loose | c: 3\nC | one") == (
        Table(("", "b", "c"), (("A", "1", "2"), ("B", "loose", "3"), ("C", "one", ""))),
    )
    assert blocks("A | 1\nB | 2 | 3") == (Table((), (("A", "1", ""), ("B", "2", "3"))),)


def test_options_and_labels_are_terms():
    options = "-q, --quiet — Say less.\n-v, --verbose — Say more."
    labels = "Phone: 0800 1234\nOpen: 9.00 to 17.00"

    assert blocks(options) == (Terms((("-q, --quiet", "Say less."), ("-v, --verbose", "Say more."))),)
    assert blocks(labels) == (Terms((("Phone", "0800 1234"), ("Open", "9.00 to 17.00"))),)
    assert [dt.text for dt in page(options).iter("dt")] == ["-q, --quiet", "-v, --verbose"]


@pytest.mark.parametrize(
    "prose",
    [
        "He came home — it was late — and slept.",
        "Note: the lease lasts six seconds.",
        "Pipe it: a | b.",
        "The first line\nand the second.",
        "-5 degrees is cold.",
        "10.30 is when it opens.",
        "1.5 litres",
    ],
)
def test_what_only_looks_like_one_stays_a_paragraph(prose):
    assert blocks(prose) == (Paragraph(" ".join(prose.split())),)


def test_code_keeps_its_lines_and_cannot_end_its_fence():
    assert "````\na\n\n```\nb\n````" in markdown("    a\n\n    ```\n    b")


@given(st.text(alphabet="ab-*1.|: —\n `", max_size=80))
def test_no_word_is_lost(text):
    """Whatever stands there, it is read, and its words are on the page."""
    tree = page(f"x {text}")
    shown = " ".join(" ".join(tree.xpath("//div[@class='passage']//text()")).split())

    assert [word for word in re.findall("[ab]+", text) if word not in re.findall("[ab]+", shown)] == []
