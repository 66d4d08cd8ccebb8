"""A PDF becomes its sections and paragraphs, without what helps a reader of paper only."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, Fit, NameObject, NullObject

from workers.reading.documents.document import DocumentBlock, DocumentSection
from workers.reading.formats import pdf

Printed = tuple[float, float, float, str]  # from the left, from below, height in points; text

LONG = "The tide rises twice a day in every harbour of the coast,"
FOOT = [(280.0, 30.0, 9.0, "The book of tides")]


def lines(texts: Sequence[str], *, left: float = 50, top: float = 700, size: float = 10) -> list[Printed]:
    return [(left, top - 12 * at, size, text) for at, text in enumerate(texts)]


def made(
    pages: Sequence[Sequence[Printed]],
    *,
    bookmarks: Sequence[tuple[str, int, float, bool]] = (),
    password: str = "",
    drawn: bool = False,
    turned: int = 0,
    said: dict[str, str] | None = None,
) -> bytes:
    """A PDF file; a bookmark is a name, a page from zero, a height, and whether it stands below the one before."""
    writer = PdfWriter()
    for printed in pages:
        page = writer.add_blank_page(600, 800)
        fonts = DictionaryObject()
        for name, base in (("/F1", "/Helvetica"), ("/F2", "/Courier")):
            font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": base, "/Encoding": "/WinAnsiEncoding"}
            added = DictionaryObject({NameObject(key): NameObject(value) for key, value in font.items()})
            fonts[NameObject(name)] = writer._add_object(added)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        parts = ["10 10 50 50 re f"] if drawn else []
        for left, bottom, size, text in printed:
            font = "F2" if text.startswith("$") else "F1"
            shown = text.replace("(", "\\(").replace(")", "\\)")
            place = f"0 1 -1 0 {800 - bottom} {left}" if turned == 90 else f"1 0 0 1 {left} {bottom}"
            parts.append(f"BT /{font} {size} Tf {place} Tm ({shown}) Tj ET")
        content = DecodedStreamObject()
        content.set_data("\n".join(parts).encode("cp1252"))
        page[NameObject("/Contents")] = writer._add_object(content)
        if turned:
            page.rotate(turned)
    above = None
    for name, number, height, below in bookmarks:
        fit = Fit("/XYZ", (NullObject(), height, NullObject()))
        mark = writer.add_outline_item(title=name, page_number=number, parent=above if below else None, fit=fit)
        above = above if below else mark
    if said:
        writer.add_metadata(said)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def texts(data: bytes) -> list[str]:
    return [block.text for section in pdf.read(data).sections for block in section.blocks]


def test_pages_are_sections_where_nothing_else_is():
    document = pdf.read(made([lines(["The tide is high."]), lines(["The tide is low."])]))

    assert [(each.heading, each.anchor) for each in document.sections] == [
        (("Page 1",), "page=1"),
        (("Page 2",), "page=2"),
    ]
    assert document.sections[0].blocks[0].text == "The tide is high."


def test_bookmarks_are_sections_by_their_place_and_name():
    """The heading itself is no text, and each block knows its page."""
    first = [*lines(["1 Tides", "They rise.", "1.1 Springs", "After a new moon."])]
    second = [*lines(["They are high.", "2 Boats", "They float."])]
    marks = [("Tides", 0, 712.0, False), ("Springs", 0, 690.0, True), ("Boats", 1, 700.0, False)]

    document = pdf.read(made([first, second], bookmarks=marks))

    springs = (DocumentBlock("After a new moon.", "page=1"), DocumentBlock("They are high.", "page=2"))
    assert document.sections == (
        DocumentSection(("Tides",), "page=1", (DocumentBlock("They rise.", "page=1"),)),
        DocumentSection(("Tides", "Springs"), "page=1", springs),
        DocumentSection(("Boats",), "page=2", (DocumentBlock("They float.", "page=2"),)),
    )


def test_larger_lines_are_headings_where_there_are_no_bookmarks():
    page = [
        (50.0, 740.0, 20.0, "Tides"),
        (50.0, 700.0, 14.0, "Springs"),
        *lines([LONG, "as it should."], top=680),
        (50.0, 640.0, 14.0, "Neaps"),
        *lines(["They are low."], top=620),
    ]

    document = pdf.read(made([page]))

    assert (document.title, [each.heading for each in document.sections]) == (
        "Tides",
        [("Tides", "Springs"), ("Tides", "Neaps")],
    )


def test_heads_feet_and_numbers_of_pages_are_no_text():
    words = ("one", "two", "three", "four")
    heads = [
        [(50.0, 770.0, 9.0, f"{number} Harbour manual"), (300.0, 15.0, 9.0, f"- {number} -")] for number in range(4)
    ]
    pages = [[*head, *lines([f"Text of page {word}."]), *FOOT] for head, word in zip(heads, words, strict=True)]

    assert texts(made(pages)) == [f"Text of page {word}." for word in words]


def test_tables_of_contents_are_no_text():
    contents = lines(
        ["Tides . . . . . . . . . . 3", "Boats . . . . . . . . . . 9", "Ropes . . . . . . . . . . 12", "Index 204"]
    )

    assert texts(made([[*contents, *lines(["The tide is high."], top=500)]])) == ["The tide is high."]


def test_paragraph_over_two_pages_is_one():
    """A paragraph over two pages is one and hyphens at line ends are gone."""
    pages = [
        lines([LONG, "and all har-", "bours know it, as the moon"]),
        [*lines(["does, and the sun."]), *lines(["The end."], top=600)],
    ]

    found = texts(made(pages, bookmarks=[("A", 0, 790.0, False), ("B", 1, 10.0, False)]))

    assert found == [f"{LONG} and all harbours know it, as the moon does, and the sun.", "The end."]


def test_columns_are_read_one_after_the_other():
    """A title above them, and lines that are printed row by row."""
    title = (50.0, 730.0, 10.0, "A title over both of the columns of this page, which is rather long.")
    left = [
        "On the left the tide rises and",
        "then it falls, as it does twice",
        "a day in each of the harbours",
        "of it.",
    ]
    right = ["On the right the boats float on", "the water and wait there for a", "wind that carries them all", "out."]
    rows = [line for pair in zip(lines(left), lines(right, left=320), strict=True) for line in pair]

    assert texts(made([[title, *rows]])) == [title[-1], " ".join(left), " ".join(right)]


def test_cells_are_never_one_sentence():
    page = [*lines(["Port", "Brest", "Dover"]), *lines(["Height", "7 m", "6 m"], left=250)]

    assert texts(made([page])) == ["Port | Height", "Brest | Height: 7 m", "Dover | Height: 6 m"]


def test_lists_and_code_are_their_own_blocks():
    """Lists steps code and paragraphs are blocks of their own."""
    page = lines(
        [
            "There are three kinds:",
            "\u2022 padlocks",
            "\u2022 others, which are not used here any",
            "more",
            "1. Open it.",
            "2. Close it.",
            "$ make install",
            "$ make test",
            LONG,
            "and falls.",
            "  Another paragraph begins here.",
        ]
    )

    assert texts(made([page])) == [
        "There are three kinds:",
        "- padlocks",
        "- others, which are not used here any more",
        "1. Open it.",
        "2. Close it.",
        "    $ make install\n    $ make test",
        f"{LONG} and falls.",
        "Another paragraph begins here.",
    ]


def test_rotated_page_is_read_upright():
    """A page that lies on its side is read upright."""
    page = lines(["The tide is high,", "the boats float."])

    assert texts(made([page], turned=90)) == ["The tide is high, the boats float."]


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (made([[], [], lines(["Text."])], drawn=True), "2 of 3 pages have no text (scanned?)"),
        (made([[], lines(["Text."])]), ""),
        (made([[]]), "has no text in it"),
        (made([lines(["Secret."])], password="p"), "is encrypted"),
        (b"%PDF-1.7 nothing", "is a broken PDF"),
        (b"", "is a broken PDF"),
    ],
)
def test_what_cannot_be_read_is_said(data, note):
    assert pdf.read(data).note == note


def test_pages_beyond_the_limit_are_said(monkeypatch):
    monkeypatch.setattr(pdf, "MAX_PAGES", 1)

    assert pdf.read(made([lines(["One."]), lines(["Two."])])).note == "only the first 1 of 2 pages are read"


@pytest.mark.parametrize(
    ("said", "title", "modified"),
    [
        ({"/Title": "The  Tides", "/ModDate": "D:20240506070809Z"}, "The Tides", "2024-05-06"),
        ({"/Title": "Microsoft Word - tides.docx", "/CreationDate": "D:20230102"}, "Text.", "2023-01-02"),
        ({"/Title": "untitled"}, "Text.", ""),
    ],
)
def test_title_and_date_are_the_files_own(said, title, modified):
    document = pdf.read(made([lines(["Text."])], said=said))

    assert (document.title, document.modified) == (title, modified)
