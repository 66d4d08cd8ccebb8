"""Rows of tables, which are found and quoted far from their header."""

from __future__ import annotations

import pytest

from workers.reading.documents import tables
from workers.reading.formats import html, markdown


def test_cells_carry_the_names_of_their_columns():
    """The first cell is what the row is about; an empty cell is left out."""
    assert tables.row(["setting", "default", "meaning"], ["PORT", "", "where it listens"]) == (
        "PORT | meaning: where it listens"
    )


@pytest.mark.parametrize("header", [[], ["one"], ["a", "b" * 100]])
def test_without_a_header_that_fits_cells_have_no_names(header):
    assert tables.row(header, ["PORT", "8000"]) == "PORT | 8000"


def test_markdown_and_html_tables_say_the_same():
    """The header of one table is not taken for the next."""
    in_markdown = markdown.read(
        "# T\n\n| key | value |\n|---|---|\n| a | 1 |\n\nText.\n\n| x | y |\n|---|---|\n| b | 2 |\n"
    )
    in_html = html.read(
        b"<h1>T</h1><table><tr><th>key</th><th>value</th></tr><tr><td>a</td><td>1</td></tr></table><p>Text.</p>"
        b"<table><tr><th>x</th><th>y</th></tr><tr><td>b</td><td>2</td></tr></table>",
        "utf-8",
    )

    for document in (in_markdown, in_html):
        said = [block.text for section in document.sections for block in section.blocks]
        assert said == ["key | value", "a | value: 1", "Text.", "x | y", "b | y: 2"]


def test_an_html_table_without_a_header_keeps_its_cells():
    """A first row of data names nothing."""
    document = html.read(
        b"<h1>T</h1><table><tr><td>a</td><td>1</td></tr><tr><td>b</td><td>2</td></tr></table>", "utf-8"
    )

    assert [block.text for section in document.sections for block in section.blocks] == ["a | 1", "b | 2"]
