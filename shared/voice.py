"""PURE: a reply's words on their way out: at once, unless they may turn out to be a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

HELD_CHARACTERS = 240  # what a model says before it calls a tool is shorter, mostly
FENCE = "```"


class Voice:
    """Passes words on to `say`; `said` is all that went out, which is the answer.

    An agent that can act (`acts`) may write a call into its text or make one after a few words. So the beginning is
    held back, and everything from a fence or of a text that begins like JSON, until the reply has ended.
    """

    def __init__(self, say: Callable[[str], Awaitable[None]], *, acts: bool) -> None:
        self._say = say
        self._acts = acts
        self._said: list[str] = []
        self._held: list[str] = []  # of the present reply
        self._undecided, self._free, self._spoke = True, False, False

    @property
    def said(self) -> str:
        return "".join(self._said)

    async def hear(self, piece: str) -> None:
        """More words of the reply."""
        self._held.append(piece)
        if not self._acts:
            await self._let_out(len(piece))
        elif self._free:
            await self._until_a_fence()
        elif self._undecided and sum(map(len, self._held)) >= HELD_CHARACTERS:
            self._undecided = False
            self._free = "".join(self._held).lstrip()[:1] not in ("{", "[", "`")
            if self._free:
                await self._until_a_fence()

    async def end(self, *, answer: bool) -> None:
        """The reply has ended: its rest goes out if it is the answer, else it was only the way there."""
        if answer:
            await self._let_out(sum(map(len, self._held)))
        elif self._spoke:
            await self.say("\n\n")
        self._held = []
        self._undecided, self._free, self._spoke = True, False, False

    async def say(self, text: str) -> None:
        """Words of our own."""
        self._said.append(text)
        await self._say(text)

    async def _until_a_fence(self) -> None:
        text = "".join(self._held)
        fence = text.find(FENCE)
        self._free = fence < 0
        await self._let_out(len(text.rstrip("`")) if self._free else fence)

    async def _let_out(self, count: int) -> None:
        text = "".join(self._held)
        self._held = [text[count:]] if count < len(text) else []
        if count:
            self._spoke = True
            await self.say(text[:count])
