"""Files in packed formats as their programs write them, as little as there must be in them."""

from __future__ import annotations

import io
import zipfile

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
CORE = """<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>{title}</dc:title>
<dcterms:modified>2026-03-01T10:00:00Z</dcterms:modified></cp:coreProperties>"""


def packed(members: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def docx(body: str, *, styles: str = "", numbering: str = "", footnotes: str = "", title: str = "") -> bytes:
    parts: dict[str, str | bytes] = {
        "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
        "word/styles.xml": f"<w:styles {W}>{styles}</w:styles>",
        "word/numbering.xml": f"<w:numbering {W}>{numbering}</w:numbering>",
        "docProps/core.xml": CORE.format(title=title),
    }
    if footnotes:
        parts["word/footnotes.xml"] = f"<w:footnotes {W}>{footnotes}</w:footnotes>"
    return packed(parts)


def p(text: str, *, style: str = "", list_id: int = 0, depth: int = 0) -> str:
    """A paragraph of a Word document."""
    own = f'<w:pStyle w:val="{style}"/>' if style else ""
    if list_id:
        own += f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{list_id}"/></w:numPr>'
    return f"<w:p><w:pPr>{own}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def style(name: str, *, based: str = "", level: int | None = None) -> str:
    outline = f'<w:pPr><w:outlineLvl w:val="{level}"/></w:pPr>' if level is not None else ""
    above = f'<w:basedOn w:val="{based}"/>' if based else ""
    return f'<w:style w:styleId="{name}"><w:name w:val="{name}"/>{above}{outline}</w:style>'


def lists(*formats: str) -> str:
    """Lists 1, 2, …, each with one format (`bullet`, `decimal`) at every depth."""
    abstract = "".join(
        f'<w:abstractNum w:abstractNumId="{n}">'
        + "".join(f'<w:lvl w:ilvl="{d}"><w:numFmt w:val="{one}"/></w:lvl>' for d in range(3))
        + "</w:abstractNum>"
        for n, one in enumerate(formats, 1)
    )
    used = "".join(f'<w:num w:numId="{n}"><w:abstractNumId w:val="{n}"/></w:num>' for n, _ in enumerate(formats, 1))
    return abstract + used


def odf(body: str, *, kind: str = "text", styles: str = "") -> bytes:
    spaces = ("office", "text", "table", "style")
    names = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in spaces)
    content = f"""<office:document-content {names}><office:automatic-styles>{styles}</office:automatic-styles>
<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"""
    meta = f"""<office:document-meta {names} xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta>
<dc:date>2026-03-01T10:00:00</dc:date></office:meta></office:document-meta>"""
    return packed({"content.xml": content, "meta.xml": meta})


def xlsx(rows: str, *, strings: tuple[str, ...] = (), formats: str = "", cells: str = "") -> bytes:
    """One sheet called Prices; `formats` are number formats, `cells` the styles of cells."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    shared = "".join(f"<si><t>{text}</t></si>" for text in strings)
    return packed(
        {
            "xl/workbook.xml": f'<workbook {main} xmlns:r="{relations}"><sheets><sheet name="Prices" sheetId="1" '
            'r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            'relationships"><Relationship Id="rId1" Target="worksheets/sheet1.xml"/></Relationships>',
            "xl/worksheets/sheet1.xml": f"<worksheet {main}><sheetData>{rows}</sheetData></worksheet>",
            "xl/sharedStrings.xml": f"<sst {main}>{shared}</sst>",
            "xl/styles.xml": f"<styleSheet {main}><numFmts>{formats}</numFmts><cellXfs>{cells}</cellXfs></styleSheet>",
        }
    )


def epub(pages: dict[str, str], *, more: dict[str, str] | None = None) -> bytes:
    items = "".join(
        f'<item id="i{n}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(pages)
    )
    spine = "".join(f'<itemref idref="i{n}"/>' for n in range(len(pages)))
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="book/book.opf"/></rootfiles></container>',
            "book/book.opf": f"""<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>The tides</dc:title><meta property="dcterms:modified">2026-03-01T10:00:00Z</meta></metadata>
<manifest>{items}</manifest><spine>{spine}</spine></package>""",
            **{f"book/{name}": page for name, page in pages.items()},
            **(more or {}),
        }
    )
