"""PURE: a reply's words on their way out: at once, unless they may turn out to be a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.agent_loop.calls.actions import Callables
from shared.agent_loop.calls.held import held_from

HELD_CHARACTERS = 240  # what a model says before it calls a tool is shorter, mostly


class Voice:
    """Passes words on to `say`; `said` is all that went out, which is the answer.

    A model that may call (`known`) may write a call into its text or make one after a few words. So the beginning of a
    reply is held back, and everything from where a call may begin, until it is clear that none does.
    """

    def __init__(self, say: Callable[[str], Awaitable[None]], *, known: Callables | None = None) -> None:
        self._say = say
        self._known = known
        self._said: list[str] = []
        self._reply: list[str] = []  # the present one
        self._held: list[str] = []  # of it
        self._undecided, self._closed, self._spoke, self._line_begins = True, False, False, True

    @property
    def said(self) -> str:
        return "".join(self._said)

    @property
    def heard(self) -> str:
        """What of the present reply was heard so far."""
        return "".join(self._reply)

    async def hear(self, piece: str) -> None:
        """More words of the reply."""
        self._reply.append(piece)
        self._held.append(piece)
        if self._known is None:
            await self._let_out(len(piece))
        elif self._undecided:
            if sum(map(len, self._held)) >= HELD_CHARACTERS:
                self._undecided = False
                self._closed = "".join(self._held).lstrip()[:1] in ("{", "[")
                await self._until_a_call(self._known)
        else:
            await self._until_a_call(self._known)

    async def end(self, *, answer: bool, instead: str | None = None, without: int = 0) -> None:
        """The reply has ended: its rest (or `instead`) goes out if it is the answer, else it was only the way there.

        `without`: so many of its last characters are half a call, and do not go out.
        """
        if answer and instead is not None and not self._spoke:
            await self.say(instead)
        elif answer:
            await self._let_out(max(0, sum(map(len, self._held)) - without))
        elif self._spoke:
            await self.say("\n\n")
        self._held, self._reply = [], []
        self._undecided, self._closed, self._spoke, self._line_begins = True, False, False, True

    async def say(self, text: str) -> None:
        """Words of our own."""
        self._said.append(text)
        await self._say(text)

    async def _until_a_call(self, known: Callables) -> None:
        if self._closed:
            return
        text = "".join(self._held)
        start = held_from(text, known, begins=self._line_begins)
        self._closed = len(text) - start > HELD_CHARACTERS  # nobody knows by now: the end of the reply will tell
        await self._let_out(start)

    async def _let_out(self, count: int) -> None:
        text = "".join(self._held)
        self._held = [text[count:]] if count < len(text) else []
        if count:
            self._spoke = True
            self._line_begins = text[count - 1] == "\n"
            await self.say(text[:count])
