"""The bytes of a document as text, whatever their encoding."""

from __future__ import annotations

import codecs
import re

MOSTLY = 0.2  # of the bytes that are not ASCII: so many may be wrong in UTF-8
SAMPLE = 64_000  # bytes; of a larger file its words with letters beyond ASCII are guessed from

_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]+)|<\?xml[^>]{0,80}?encoding=["']([\w:.-]+)"""
    rb"""|\A(?:.*\n)?.*coding[:=][ \t]*([\w.-]+)""",
    re.IGNORECASE,
)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_WORDS = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
_SIGN = "[\u00a1-\u00b6\u00b8-\u00bf\u00d7\u00f7\u20ac\u201a\u201c-\u2022\u02dc\u2039\u203a\u2122]"
# What no text of Western Europe has in windows-1252: letters of others, a sign inside a word, many of them in a row.
_NOT_WESTERN = re.compile(
    "[\u0160\u0161\u017d\u017e\u00d0\u00dd\u00de\u00f0\u00fd\u00fe\u0192\u02c6]"
    f"|[A-Za-z\u00c0-\u00ff]{_SIGN}[a-z\u00c0-\u00ff]|[^\\0-\\x7f\u2013\u2014\u2026\u2022\u00b7\u00a0]{{5}}"
)


def is_binary(data: bytes) -> bool:
    """Whether the bytes are not text: they hold zeros and are not UTF-16."""
    return b"\0" in data[:8_000] and not _utf16(data)


def text_of(data: bytes, encoding: str | None = None) -> str:
    """Bytes as text with plain line ends; what cannot be decoded becomes U+FFFD.

    `encoding` is what the outside says, by any label that the web's Encoding Standard knows.
    """
    text = data.decode(_codec_name(encoding) or charset(data), errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").removeprefix("\ufeff")


def charset(data: bytes) -> str:
    """By byte order mark, else UTF-16 by its zeros, else UTF-8 if nearly all fits, else as declared, else a guess."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    if wide := _utf16(data):
        return wide
    if _is_utf8(data):
        return "utf-8"
    declared = _DECLARED.search(data[:4_000])
    named = _codec_name((declared[1] or declared[2] or declared[3]).decode("ascii")) if declared else None
    return named if named and named != "utf-8" else _guess(data)


def _codec_name(label: str | None) -> str | None:
    """Python's name for a label of the Encoding Standard: `iso-8859-1` means windows-1252, `gb2312` means gbk."""
    import webencodings

    found = webencodings.lookup(label) if label else None
    return found.codec_info.name if found else None


def _utf16(data: bytes) -> str | None:
    """The UTF-16 that the bytes are: by their mark, or because every second byte is zero in much of the text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    begin = data[:4_000]
    pairs = len(begin) // 2
    even, odd = begin[0::2].count(0), begin[1::2].count(0)
    if pairs and odd > 0.4 * pairs and not even:
        return "utf-16-le"
    return "utf-16-be" if pairs and even > 0.4 * pairs and not odd else None


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8 but for a few: a bad byte does not make all the others another encoding."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        wrong = len(data) - len(data.decode("utf-8", errors="ignore").encode("utf-8"))
        beyond = sum(map(len, _BEYOND_ASCII.findall(data)))
        return wrong <= MOSTLY * beyond
    return True


def _guess(data: bytes) -> str:
    """windows-1252 where the whole file reads well in it, else what its words look like."""
    try:
        western = not _NOT_WESTERN.search(data.decode("cp1252"))
    except UnicodeDecodeError:
        western = False
    if western:
        return "cp1252"
    from charset_normalizer import from_bytes

    best = from_bytes(data if len(data) <= SAMPLE else b" ".join(_WORDS.findall(data))[:SAMPLE]).best()
    return best.encoding if best else "cp1252"
