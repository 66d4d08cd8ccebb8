"""The bytes of a document as text, whatever their encoding."""

from __future__ import annotations

import codecs
import re

_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w-]+)|<\?xml[^>]{0,80}encoding=["']([\w-]+)""", re.I
)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def is_binary(data: bytes) -> bool:
    """Whether the bytes are no text: they hold zeros and are not UTF-16."""
    return b"\0" in data[:8_000] and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def text_of(data: bytes, encoding: str | None = None) -> str:
    """Bytes as text with plain line ends; what cannot be decoded becomes U+FFFD."""
    text = data.decode(encoding or charset(data), errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def charset(data: bytes) -> str:
    """By byte order mark, else UTF-8 if it fits, else what the page declares, else a guess from the bytes."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    declared = _DECLARED.search(data[:4_000])
    if declared:
        name = (declared[1] or declared[2]).decode("ascii")
        try:
            data[:4_000].decode(name, errors="replace")
        except LookupError:
            pass
        else:
            return name
    from charset_normalizer import from_bytes  # comes with trafilatura

    best = from_bytes(data[:65_536]).best()
    return best.encoding if best else "cp1252"
