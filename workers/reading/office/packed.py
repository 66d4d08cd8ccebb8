"""The members of a zip file and the XML in them, within bounds: what unpacks to more is not read."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import TYPE_CHECKING

from workers.reading.documents.leftout import Unreadable

if TYPE_CHECKING:
    from lxml.etree import XMLSyntaxError, _Element

MAX_MEMBERS = 10_000
MAX_MEMBER_BYTES = 40_000_000  # unpacked; a sheet of 100,000 rows has 30 MB
MAX_TOTAL_BYTES = 100_000_000  # of all members that are read


class ZippedFile:
    """A zip file. Every method raises Unreadable."""

    def __init__(self, data: bytes) -> None:
        self._left = MAX_TOTAL_BYTES
        try:
            self._file = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as exc:
            raise Unreadable(f"is damaged or encrypted ({type(exc).__name__})") from exc
        if len(self._file.namelist()) > MAX_MEMBERS:
            raise Unreadable(f"has more than {MAX_MEMBERS:,} parts")
        self.names = frozenset(self._file.namelist())

    def read(self, name: str) -> bytes:
        """A member's content."""
        try:
            member = self._file.getinfo(name)
            if member.flag_bits & 1:
                raise Unreadable("is encrypted")
            with self._file.open(member) as stream:  # what its head says of its size is not believed
                data = stream.read(min(MAX_MEMBER_BYTES, self._left) + 1)
        except KeyError as exc:
            raise Unreadable(f"has no part {name!r}") from exc
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as exc:
            raise Unreadable(f"is damaged ({type(exc).__name__})") from exc
        self._left -= len(data)
        if len(data) > MAX_MEMBER_BYTES or self._left < 0:
            raise Unreadable(f"unpacks to more than {MAX_MEMBER_BYTES // 1_000_000} MB")
        return data

    def xml(self, name: str) -> _Element:
        return xml(self.read(name))

    def xml_if_there(self, name: str) -> _Element | None:
        return self.xml(name) if name in self.names else None


def xml(data: bytes) -> _Element:
    """The root of an XML file; no entities but XML's own are expanded, and nothing outside it is loaded.

    Raises Unreadable, also for what is nested more than 256 deep, and MemoryError.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as exc:
        raise no_xml(exc) from exc


def no_xml(exc: XMLSyntaxError) -> Unreadable:
    """What is wrong with a part. Raises MemoryError where it is the memory that it needs."""
    from lxml.etree import ErrorTypes

    if getattr(exc, "code", 0) == ErrorTypes.ERR_NO_MEMORY:  # lxml's types leave `code` out
        raise MemoryError
    return Unreadable(f"has a part that is not XML ({str(exc)[:100]})")


def beside(name: str, target: str) -> str:
    """The member that a link in the member `name` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target)).lstrip("/")
