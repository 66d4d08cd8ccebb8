"""Documents of office programs and e-books keep headings, lists, steps and rows, and are read within bounds."""

from __future__ import annotations

import pytest

from tests.workers.reading.documents import W, docx, epub, lists, odf, p, packed, style, xlsx
from workers.reading import readers
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.office import packed as bounds


def read(data: bytes, suffix: str) -> Document:
    return readers.parse(data, suffix)


def said(document: Document) -> list[tuple[str, list[str]]]:
    return [(" › ".join(each.heading), [block.text for block in each.blocks]) for each in document.sections]


def row(*cells: str) -> str:
    return "<w:tr>" + "".join(f"<w:tc>{p(cell)}</w:tc>" for cell in cells) + "</w:tr>"


def test_docx_keeps_headings_lists_steps_and_tables():
    data = docx(
        p("Harbour handbook", style="Title")
        + p("Mooring", style="Heading1")
        + p("Tie the bowline first.")
        + p("Ropes", list_id=1)
        + p("of hemp", list_id=1, depth=1)
        + p("Throw", list_id=2)
        + p("Pull", list_id=2)
        + p("Fees", style="Own")
        + f"<w:tbl>{row('Boat', 'Fee')}{row('Dinghy', '20 EUR')}</w:tbl>"
        + p("make fast", style="Code")
        + p("  twice", style="Code"),
        styles=style("Title")
        + style("heading 1")
        + style("Heading1", based="heading 1", level=0)
        + style("Own", based="Own2")
        + style("Own2", level=1)
        + style("Code"),
        numbering=lists("bullet", "decimal"),
    )

    document = read(data, ".docx")

    assert document.title == "Harbour handbook"
    assert document.modified == "2026-03-01"
    assert said(document) == [
        ("Mooring", ["Tie the bowline first.", "- Ropes", "  - of hemp", "1. Throw", "2. Pull"]),
        ("Mooring › Fees", ["Dinghy | Fee: 20 EUR", "    make fast\n      twice"]),
    ]


def test_docx_numbers_begin_anew_below_each_step():
    items = [("a", 0), ("b", 1), ("c", 1), ("d", 0), ("e", 1)]
    data = docx("".join(p(text, list_id=1, depth=depth) for text, depth in items), numbering=lists("decimal"))

    assert said(read(data, ".docx")) == [("", ["1. a", "  1. b", "  2. c", "2. d", "  1. e"])]


def test_docx_drops_deletions_reads_insertions_and_notes():
    """DOCX leaves out what was deleted and reads insertions links and notes."""
    body = """<w:p><w:r><w:t xml:space="preserve">The tide is </w:t></w:r><w:del><w:r><w:delText>low</w:delText></w:r>
<w:r><w:t>low</w:t></w:r></w:del><w:ins><w:r><w:t>high</w:t></w:r></w:ins><w:hyperlink><w:r><w:tab/><w:t>today</w:t>
</w:r></w:hyperlink><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"""

    document = read(docx(body, footnotes=f"<w:footnote>{p('At Brest.')}</w:footnote>"), ".docx")

    assert said(document) == [("", ["The tide is high today"]), ("Footnotes", ["At Brest."])]


def test_odt_keeps_headings_lists_steps_tables_and_code():
    styles = """<text:list-style style:name="L1"><text:list-level-style-number text:level="1"/></text:list-style>
<style:style style:name="P1" style:parent-style-name="Preformatted_20_Text"/>"""
    items = "".join(
        f"<text:list-item><text:p>{text}</text:p>{more}</text:list-item>"
        for text, more in (
            ("Throw", "<text:list><text:list-item><text:p>far</text:p></text:list-item></text:list>"),
            ("Pull", ""),
        )
    )
    data = odf(
        f"""<text:h text:outline-level="1">Mooring</text:h>
<text:p>Tie<text:s/>the<text:tab/>bowline.<text:note><text:note-citation>1</text:note-citation>
<text:note-body><text:p>Or two.</text:p></text:note-body></text:note></text:p>
<text:list text:style-name="L1">{items}</text:list>
<text:h text:outline-level="2">Fees</text:h><table:table table:name="T"><table:table-row>
<table:table-cell><text:p>Boat</text:p></table:table-cell><table:table-cell><text:p>Fee</text:p></table:table-cell>
</table:table-row><table:table-row><table:table-cell><text:p>Dinghy</text:p></table:table-cell><table:table-cell>
<text:p>20 EUR</text:p></table:table-cell></table:table-row></table:table>
<text:p text:style-name="P1">make fast</text:p><text:p text:style-name="P1">twice</text:p>""",
        styles=styles,
    )

    document = read(data, ".odt")

    assert (document.title, document.modified) == ("Mooring", "2026-03-01")
    assert said(document) == [
        ("Mooring", ["Tie the bowline.", "Or two.", "1. Throw", "  - far", "2. Pull"]),
        ("Mooring › Fees", ["Dinghy | Fee: 20 EUR", "    make fast\n    twice"]),
    ]


def test_ods_sheets_are_sections_and_empty_rest_is_nothing():
    cells = [["Part", "Count"], ["Bolt", "7"]]
    rest = '<table:table-cell table:number-columns-repeated="16000"/>'
    rows = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in row)
        + rest
        + "</table:table-row>"
        for row in cells
    )
    data = odf(f'<table:table table:name="Stock">{rows}</table:table>', kind="spreadsheet")

    assert said(read(data, ".ods")) == [("Stock", ["Bolt | Count: 7"])]


def test_xlsx_rows_have_column_names_and_dates():
    """XLSX rows have the names of columns and dates are dates."""
    rows = """<row><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c>
<c r="D1" t="inlineStr"><is><t>Paid</t></is></c></row><row/>
<row><c r="A3" t="s"><v>3</v></c><c r="B3"><v>0.30000000000000004</v></c><c r="C3" s="1"><v>46143</v></c>
<c r="D3" t="b"><v>1</v></c></row>
<row><c r="A4" t="str"><v>Smith</v></c><c r="C4" s="2"><v>46143.5625</v></c><c r="D4" t="e"><v>#REF!</v></c></row>"""
    data = xlsx(
        rows,
        strings=("Customer", "Amount", "Due", "Miller"),
        formats='<numFmt numFmtId="170" formatCode="dd\\.mm\\.yyyy\\ hh:mm"/>',
        cells='<xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/>',
    )

    document = read(data, ".xlsx")

    assert said(document) == [
        ("Prices", ["Miller | Amount: 0.3 | Due: 2026-05-01 | Paid: yes", "Smith | Due: 2026-05-01 13:30"])
    ]


def test_sheet_without_column_names_has_rows():
    """A sheet without names of columns has rows all the same."""
    data = xlsx('<row><c><v>1</v></c><c><v>2</v></c></row><row><c><v>3</v></c><c r="C2"><v>4</v></c></row>')

    assert said(read(data, ".xlsx")) == [("Prices", ["1 | 2", "3 | 4"])]


def test_a_sheet_that_is_too_wide_says_so():
    far = '<row r="1"><c r="A1" t="inlineStr"><is><t>near</t></is></c><c r="XFD1"><v>7</v></c></row>'

    assert read(xlsx(far), ".xlsx").note == "has more than 200 columns; the rest is not read"


def test_epub_chapters_come_in_the_order_of_the_book():
    page = "<html xmlns='http://www.w3.org/1999/xhtml'><body><h1 id='{0}'>{0}</h1><p>{1}</p></body></html>"
    data = epub({"two b.xhtml": page.format("Ebb", "It falls."), "one.xhtml": page.format("Flood", "It rises.")})

    document = read(data, ".epub")

    assert (document.title, document.modified) == ("The tides", "2026-03-01")
    assert said(document) == [("Ebb", ["It falls."]), ("Flood", ["It rises."])]


def test_a_protected_book_says_so():
    encryption = """<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData>
<e:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/></e:EncryptedData></encryption>"""

    with pytest.raises(Unreadable, match="is copy-protected"):
        read(epub({}, more={"META-INF/encryption.xml": encryption}), ".epub")


@pytest.mark.parametrize("suffix", [".docx", ".odt", ".ods", ".xlsx", ".epub"])
@pytest.mark.parametrize(
    "data",
    [b"", b"no zip file", packed({"other.txt": "x"}), packed({"word/document.xml": "<a"}), docx(p("x") * 99)[:-200]],
    ids=["empty", "text", "parts missing", "no XML", "cut off"],
)
def test_damaged_files_say_so(suffix, data):
    with pytest.raises(Unreadable, match=r"is damaged|has no part|has a part that is not XML"):
        read(data, suffix)


def test_a_zip_bomb_is_not_unpacked():
    bomb = packed({"word/document.xml": b"<a>" + b" " * (bounds.MAX_MEMBER_BYTES + 1)})

    assert len(bomb) < 100_000
    with pytest.raises(Unreadable, match="unpacks to more than 40 MB"):
        read(bomb, ".docx")


def test_entities_that_grow_without_end_are_refused():
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    data = packed({"word/document.xml": f'<!DOCTYPE a [<!ENTITY a0 "ha">{laughs}]><a>&a9;</a>'})

    with pytest.raises(Unreadable, match="is not XML"):
        read(data, ".docx")


def test_nothing_outside_the_file_is_read(tmp_path):
    (tmp_path / "secret").write_text("secret")
    whole = f"<w:document {W}><w:body>{p('The tide.')}{p('&s;')}</w:body></w:document>"
    data = packed({"word/document.xml": f'<!DOCTYPE d [<!ENTITY s SYSTEM "file://{tmp_path}/secret">]>{whole}'})

    assert said(read(data, ".docx")) == [("", ["The tide."])]


def test_deep_nesting_is_refused():
    data = docx("<w:sdt>" * 5_000 + p("deep") + "</w:sdt>" * 5_000)

    with pytest.raises(Unreadable, match="is not XML"):
        read(data, ".docx")
