"""Office files, made of our own notes: `letter.docx.md` becomes `letter.docx`; what has no such name is copied."""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
ODF = "urn:oasis:names:tc:opendocument:xmlns"
OOXML = "http://schemas.openxmlformats.org"
Block = tuple[str, str]  # "h1", "h2", "li" or "p", and its text


def write(notes: Path, folder: Path) -> None:
    """Copies the notes into the folder, and makes what their names ask for."""
    for path in sorted(notes.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(notes)
            target.parent.mkdir(parents=True, exist_ok=True)
            make = MAKERS.get(Path(path.stem).suffix)
            if make is None:
                shutil.copyfile(path, target)
            else:
                make(path, target.with_suffix(""))


def docx(source: Path, target: Path) -> None:
    """A Word document with styles for headings and lists."""
    styles = {"h1": "Heading1", "h2": "Heading2", "li": "ListParagraph", "p": "Normal"}
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{styles[kind]}"/>{_NUMBERED if kind == "li" else ""}</w:pPr>'
        f'<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'
        for kind, text in _blocks(source)
    )
    names = {"Heading1": "heading 1", "Heading2": "heading 2", "ListParagraph": "List Paragraph", "Normal": "Normal"}
    known = "".join(
        f'<w:style w:type="paragraph" w:styleId="{key}"><w:name w:val="{name}"/></w:style>'
        for key, name in names.items()
    )
    word = f'xmlns:w="{OOXML}/wordprocessingml/2006/main"'
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    _zip(
        target,
        {
            "[Content_Types].xml": _types(
                {"/word/document.xml": f"{main}.document.main+xml", "/word/styles.xml": f"{main}.styles+xml"}
            ),
            "_rels/.rels": _relations({"officeDocument": "word/document.xml"}),
            "word/_rels/document.xml.rels": _relations({"styles": "styles.xml"}),
            "word/styles.xml": f"{HEAD}<w:styles {word}>{known}</w:styles>",
            "word/document.xml": f"{HEAD}<w:document {word}><w:body>{body}</w:body></w:document>",
        },
    )


def odt(source: Path, target: Path) -> None:
    """An OpenDocument text."""
    spaces = " ".join(f'xmlns:{name}="{ODF}:{name}:1.0"' for name in ("office", "text"))
    marks = {"h1": ('h text:outline-level="1"', "h"), "h2": ('h text:outline-level="2"', "h"), "p": ("p", "p")}
    body = "".join(
        f"<text:list><text:list-item><text:p>{escape(text)}</text:p></text:list-item></text:list>"
        if kind == "li"
        else f"<text:{marks[kind][0]}>{escape(text)}</text:{marks[kind][1]}>"
        for kind, text in _blocks(source)
    )
    kind = "application/vnd.oasis.opendocument.text"
    content = f"<office:body><office:text>{body}</office:text></office:body>"
    listed = f'xmlns:manifest="{ODF}:manifest:1.0" manifest:version="1.2"'
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{media}"/>'
        for path, media in (("/", kind), ("content.xml", "text/xml"))
    )
    _zip(
        target,
        {
            "mimetype": kind,
            "META-INF/manifest.xml": f"{HEAD}<manifest:manifest {listed}>{entries}</manifest:manifest>",
            "content.xml": f"{HEAD}<office:document-content {spaces}>{content}</office:document-content>",
        },
    )


def xlsx(source: Path, target: Path) -> None:
    """A workbook with one sheet, out of comma-separated values; its strings are shared, as spreadsheets write them."""
    with source.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    strings = list(dict.fromkeys(cell for row in rows for cell in row if not cell.isdigit()))
    cells = "".join(
        f'<row r="{r}">' + "".join(_cell(f"{chr(65 + c)}{r}", cell, strings) for c, cell in enumerate(row)) + "</row>"
        for r, row in enumerate(rows, 1)
    )
    sheet_main = f'xmlns="{OOXML}/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{escape(one)}</t></si>" for one in strings)
    main = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    sheets = f'<sheets><sheet name="Sheet1" sheetId="1" xmlns:r="{_RELATION}" r:id="id1"/></sheets>'
    _zip(
        target,
        {
            "[Content_Types].xml": _types(
                {
                    "/xl/workbook.xml": f"{main}.sheet.main+xml",
                    "/xl/worksheets/sheet1.xml": f"{main}.worksheet+xml",
                    "/xl/sharedStrings.xml": f"{main}.sharedStrings+xml",
                }
            ),
            "_rels/.rels": _relations({"officeDocument": "xl/workbook.xml"}),
            "xl/_rels/workbook.xml.rels": _relations(
                {"worksheet": "worksheets/sheet1.xml", "sharedStrings": "sharedStrings.xml"}
            ),
            "xl/workbook.xml": f"{HEAD}<workbook {sheet_main}>{sheets}</workbook>",
            "xl/sharedStrings.xml": f"{HEAD}<sst {sheet_main}>{shared}</sst>",
            "xl/worksheets/sheet1.xml": f"{HEAD}<worksheet {sheet_main}><sheetData>{cells}</sheetData></worksheet>",
        },
    )


MAKERS: dict[str, Callable[[Path, Path], None]] = {".docx": docx, ".odt": odt, ".xlsx": xlsx}

_RELATION = f"{OOXML}/officeDocument/2006/relationships"
_NUMBERED = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'


def _blocks(source: Path) -> list[Block]:
    """A plain subset of Markdown: headings of two levels, list items, paragraphs of one line."""
    marks = {"# ": "h1", "## ": "h2", "- ": "li"}
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    blocks = []
    for line in lines:
        mark = next((mark for mark in marks if line.startswith(mark)), "")
        blocks.append((marks.get(mark, "p"), line.removeprefix(mark)))
    return blocks


def _cell(place: str, text: str, strings: list[str]) -> str:
    if text.isdigit():
        return f'<c r="{place}"><v>{text}</v></c>'
    return f'<c r="{place}" t="s"><v>{strings.index(text)}</v></c>'


def _types(parts: dict[str, str]) -> str:
    listed = "".join(f'<Override PartName="{part}" ContentType="{kind}"/>' for part, kind in parts.items())
    rels = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    return f'{HEAD}<Types xmlns="{OOXML}/package/2006/content-types">{rels}{listed}</Types>'


def _relations(targets: dict[str, str]) -> str:
    listed = "".join(
        f'<Relationship Id="id{number}" Type="{_RELATION}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets.items(), 1)
    )
    return f'{HEAD}<Relationships xmlns="{OOXML}/package/2006/relationships">{listed}</Relationships>'


def _zip(target: Path, parts: dict[str, str]) -> None:
    """The first part is stored as it is, which OpenDocument and EPUB ask of their `mimetype`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for number, (name, text) in enumerate(parts.items()):
            file.writestr(name, text, zipfile.ZIP_STORED if number == 0 else zipfile.ZIP_DEFLATED)
