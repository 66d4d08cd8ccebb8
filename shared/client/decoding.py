"""Bodies in gzip and deflate (RFC 9110, section 8.4.1), decoded in pieces that a cap can be held against."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import httpx

CODINGS = "gzip, deflate"  # the value of Accept-Encoding
PIECE_BYTES = 65_536  # decoded at once, so what a cap may be overrun by
_PLAIN = ("", "identity")
_KNOWN = ("gzip", "x-gzip", "deflate")


class BadCoding(httpx.RemoteProtocolError):
    """The answer is complete, and its body cannot be decoded."""


def parse_coding(said: bytes | None) -> str | None:
    """What a Content-Encoding means, None for nothing; raises `BadCoding` for one of no use."""
    name = (said or b"").decode("latin-1").strip().lower()
    if name in _PLAIN:
        return None
    if name not in _KNOWN:
        raise BadCoding(f"The response has the unsupported encoding {name!r}.")
    return name


class Decoder:
    """Decodes one body."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._unpacking: Any = None

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """What a piece of the body holds, 64 KB at a time; raises `BadCoding`."""
        if self._unpacking is None:
            raw = self._coding == "deflate" and piece[0] & 0x0F != 8  # some peers leave the zlib header out
            self._unpacking = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32)
        try:
            while piece and not self._unpacking.eof:
                if part := self._unpacking.decompress(piece, PIECE_BYTES):
                    yield part
                piece = self._unpacking.unconsumed_tail
        except zlib.error as exc:
            raise BadCoding(f"The response is not valid {self._coding}: {exc}") from exc

    def end(self) -> None:
        """Raises `BadCoding` if the body ended too early."""
        if self._unpacking is not None and not self._unpacking.eof:
            raise BadCoding(f"The response's {self._coding} data is truncated.")
