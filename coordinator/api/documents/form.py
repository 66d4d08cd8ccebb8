"""A form with files (multipart/form-data, RFC 7578), read part by part as it comes, so that none is held in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request

from shared.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartParser

TYPE = "multipart/form-data"
FIELD_BYTES = 10_000  # of a field that is no file


@dataclass(frozen=True)
class Field:
    """One part of a form; `filename` is None for what is no file. `chunks` is its content, once, before the next."""

    name: str
    filename: str | None
    chunks: AsyncIterator[bytes]

    async def text(self) -> str:
        """What is no file, whole. Raises `BadRequest`."""
        found = bytearray()
        async for chunk in self.chunks:
            found += chunk
            if len(found) > FIELD_BYTES:
                raise BadRequest(f"The field {self.name!r} of the form is too large.")
        return found.decode("utf-8", "replace")


async def read_fields(request: Request) -> AsyncIterator[Field]:
    """The parts in the form's order. Raises `BadRequest` for what is no such form."""
    form = _Form(request)
    while (head := await form.next()) is not None:
        disposition = _options(head.get("content-disposition", ""))
        chunks = form.content()
        yield Field(disposition.get("name", ""), disposition.get("filename"), chunks)
        async for _ in chunks:  # what was not read of it
            pass


class _Form:
    """Events of the parser, in their order: a head (dict), content (bytes), the end of a part (None)."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self._events: deque[dict[str, str] | bytes | None] = deque()
        self._head: dict[str, str] = {}
        self._name = self._value = b""
        self._parser = self._make_parser(request.headers.get("content-type", ""))
        self._over = False

    async def next(self) -> dict[str, str] | None:
        """The head of the next part, None after the last."""
        event = await self._event()
        assert not isinstance(event, bytes)
        return event

    async def content(self) -> AsyncIterator[bytes]:
        """The content of the part that was begun."""
        while (event := await self._event()) is not None:
            assert isinstance(event, bytes)
            yield event

    async def _event(self) -> dict[str, str] | bytes | None:
        from python_multipart.exceptions import FormParserError

        while not self._events:
            if self._over:
                return None
            chunk = await anext(self._stream, b"")
            try:
                self._parser.write(chunk)
            except FormParserError as exc:
                raise BadRequest(f"The form cannot be read: {exc}") from exc
            if not chunk and not self._over:
                raise BadRequest("The form ends in the middle.")
        return self._events.popleft()

    def _make_parser(self, content_type: str) -> MultipartParser:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        boundary = _options(content_type).get("boundary", "")
        if not content_type.lower().startswith(TYPE) or not boundary:
            raise BadRequest(f"This is no form with a file: its Content-Type is not {TYPE}, with a boundary.")
        callbacks: Any = {
            "on_part_begin": self._head.clear,
            "on_header_field": self._take_name,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": lambda: self._events.append(dict(self._head)),
            "on_part_data": lambda data, start, end: self._events.append(bytes(data[start:end])),
            "on_part_end": lambda: self._events.append(None),
            "on_end": self._end,
        }
        try:
            return MultipartParser(boundary.encode("latin-1"), callbacks)
        except FormParserError as exc:
            raise BadRequest(f"The form cannot be read: {exc}") from exc

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._head[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def _end(self) -> None:
        self._over = True


def _options(header: str) -> dict[str, str]:
    """The options of a header's value; names of files are UTF-8 (RFC 7578, section 5.1)."""
    from python_multipart.multipart import parse_options_header

    return {
        name.decode("latin-1"): value.decode("utf-8", "replace")
        for name, value in parse_options_header(header)[1].items()
    }
