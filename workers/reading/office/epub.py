"""E-books (.epub, EPUB 3.3): the pages of the book in reading order, each read as HTML."""

from __future__ import annotations

from urllib.parse import unquote

from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats import html
from workers.reading.formats.outline import Outline, day
from workers.reading.office.packed import ZippedFile, beside

CONTAINER = "META-INF/container.xml"
FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # encrypted fonts leave text alone


def read(data: bytes) -> Document:
    """Raises Unreadable for a book that is damaged or protected."""
    packed = ZippedFile(data)
    _refuse_protected(packed)
    root = packed.xml(CONTAINER).find(".//{*}rootfile")
    path = root.get("full-path") if root is not None else None
    if not path:
        raise Unreadable("contains no book")
    package = packed.xml(path)
    outline = Outline(package.findtext(".//{http://purl.org/dc/elements/1.1/}title") or "")
    pages = {each.get("id"): each for each in package.iterfind(".//{*}manifest/{*}item")}
    for entry in package.iterfind(".//{*}spine/{*}itemref"):
        page = pages.get(entry.get("idref"))
        if page is None or "html" not in (page.get("media-type") or "") or "nav" in (page.get("properties") or ""):
            continue
        name = beside(path, unquote(page.get("href") or ""))
        if name in packed.names:
            outline.take(html.read(packed.read(name), "utf-8"), level=1)
    changed = (each.text or "" for each in package.iterfind(".//{*}meta[@property='dcterms:modified']"))
    return outline.document(modified=day(next(changed, "")))


def _refuse_protected(packed: ZippedFile) -> None:
    encryption = packed.xml_if_there("META-INF/encryption.xml")
    methods = () if encryption is None else encryption.iter("{http://www.w3.org/2001/04/xmlenc#}EncryptionMethod")
    if any(each.get("Algorithm") not in FONTS for each in methods):
        raise Unreadable("is copy-protected")
