"""PURE: tells what a model says from what it thinks or has copied from around its data, however its reply is cut."""

from __future__ import annotations

import re

from shared.models.servers.fence import strip_marks

_OPEN = re.compile(r"(?:\A|(?<=\n))[ \t]*(?:<think(?:ing)?>|<thought>|\[THINK\])\s*", re.IGNORECASE)
_CLOSE = re.compile(r"(?<!`)(?:</think(?:ing)?>|</thought>|\[/THINK\])\s*", re.IGNORECASE)
_MAY_MARK = re.compile(r"</?d[^<>\n]{0,22}\Z")  # the beginning of a mark of `shared.models.servers.fence`
_LONGEST = 12  # characters of a mark: so much may be the beginning of one
_BEGINS = ("<think>", "<thinking>", "<thought>", "[think]", "</think>", "</thinking>", "</thought>", "[/think]")


class Speech:
    """One reply as it comes. Thoughts are between marks at the beginning of a line, or before a closing mark alone.

    A closing mark alone makes all words before it thoughts: who heard them has heard too much. With `holds` words are
    given out only when a closing mark or the end has come, as for a model whose template opens its thoughts itself.
    """

    def __init__(self, *, holds: bool = False) -> None:
        self.words = ""
        self.thoughts = ""
        self.closed_alone = False
        self._holds = holds
        self._thinking = False
        self._rest = ""
        self._given = 0

    def hear(self, piece: str) -> str:
        """The words that have become certain with this piece of the reply."""
        self._rest += piece
        self._read(final=False)
        return "" if self._holds else self._new()

    def think(self, piece: str) -> None:
        """Thoughts that the server itself has told from the words."""
        self.thoughts += piece

    def end(self) -> str:
        """The words that were held back till the reply was over."""
        self._read(final=True)
        self._holds = False
        return self._new()

    def _new(self) -> str:
        new = self.words[self._given :]
        self._given = len(self.words)
        return new

    def _read(self, *, final: bool) -> None:
        while True:
            closes = _CLOSE.search(self._rest)
            opens = None if self._thinking else self._opening()
            if closes and not (opens and opens.start() < closes.start()):
                self._close(closes)
            elif opens:
                self._say(self._rest[: opens.start()])
                self._rest, self._thinking = self._rest[opens.end() :], True
            else:
                break
        kept = 0 if final else _unsure(self._rest)
        certain, self._rest = self._rest[: len(self._rest) - kept], self._rest[len(self._rest) - kept :]
        if self._thinking:
            self.thoughts += certain
        else:
            self._say(certain)

    def _opening(self) -> re.Match[str] | None:
        """A mark at the beginning of a line, of which the line's beginning may have been given out already."""
        found = _OPEN.search(self._rest)
        starts_line = not self.words.strip() or self.words.rstrip(" \t").endswith("\n")
        return None if found and found.start() == 0 and not starts_line else found

    def _close(self, mark: re.Match[str]) -> None:
        before, self._rest = self._rest[: mark.start()], self._rest[mark.end() :]
        if self._thinking:
            self.thoughts += before
        else:
            self.thoughts += self.words + before
            self.words, self._given = "", 0
            self.closed_alone = True
        self._thinking = self._holds = False

    def _say(self, text: str) -> None:
        text = strip_marks(text)
        self.words += text if self.words else text.lstrip()


def _unsure(text: str) -> int:
    """How many characters at the end may belong to a mark of which the rest is still to come."""
    if found := _MAY_MARK.search(text):
        return len(text) - found.start()
    for length in range(min(_LONGEST, len(text)), 0, -1):
        end = text[-length:]
        if any(mark.startswith(end.lower()) for mark in _BEGINS):
            return length + (1 if text[: len(text) - length].endswith("`") else 0)
    return 1 if text.endswith("`") else 0
