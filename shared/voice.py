"""PURE: a reply's words on their way out: at once, unless they may turn out to be a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

HELD_CHARACTERS = 240  # what a model says before it calls a tool is shorter, mostly


class Voice:
    """Passes words on to `say`; `said` is all that went out, which is the answer.

    An agent that can act (`acts`) may write a call into its text or make one after a few words. So the beginning is
    held back, and everything from a fence or from a text that begins like JSON, until the reply has ended.
    """

    def __init__(self, say: Callable[[str], Awaitable[None]], *, acts: bool) -> None:
        self._say = say
        self._acts = acts
        self._text = ""
        self._out = 0
        self.said = ""

    async def hear(self, piece: str) -> None:
        """More words of the reply."""
        self._text += piece
        await self._until(self._free())

    async def end(self, *, answer: bool) -> None:
        """The reply has ended: its rest goes out if it is the answer, else it was only the way there."""
        if answer:
            await self._until(len(self._text))
        elif self._out:
            await self.say("\n\n")
        self._text, self._out = "", 0

    async def say(self, text: str) -> None:
        """Words of our own."""
        self.said += text
        await self._say(text)

    async def _until(self, end: int) -> None:
        if end > self._out:
            start, self._out = self._out, end
            await self.say(self._text[start:end])

    def _free(self) -> int:
        """How much of the text can be no call."""
        if not self._acts:
            return len(self._text)
        if len(self._text) < HELD_CHARACTERS or self._text.lstrip()[:1] in ("{", "[", "`"):
            return 0
        fence = self._text.find("```")
        return fence if fence >= 0 else len(self._text.rstrip("`"))
