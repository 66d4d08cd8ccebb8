"""PURE: how fast a model reads and writes, from its last calls, and what therefore fits into a time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

CALLS = 8  # that are remembered
CROWDED_SECONDS = 60.0  # that a wait for a place at the server is expected again: other processes ask it, too
ALIKE = 3  # calls in a row that find the same beginning of a prompt in the server's cache
OLD_SECONDS = 600.0  # after which a call says nothing any more: the machine may be idle again
SMALLEST_READ = 48  # tokens; below, the way there and back is what was measured
SMALLEST_WRITTEN = 4
CHARACTERS_A_TOKEN = 4.0  # till the server has counted
NEVER_CHARACTERS = 9.0  # a token has: the server has read less than it was sent
MORE_CHARACTERS = 1.2  # times as many as usual, and a round number of tokens, say the same: Ollama fills its context
ROUND_TOKENS = 256
MARGIN = 0.9  # of a time is planned


@dataclass(frozen=True)
class MeasuredCall:
    """One call: tokens read (without those it had in its cache) and seconds till the first word; words and seconds."""

    at: float
    read: int = 0
    reading_seconds: float = 0.0
    written: int = 0
    writing_seconds: float = 0.0
    cached: int = 0  # tokens of the prompt that it did not have to read
    waited: float = 0.0  # seconds for a place at the server, where that says how long it read itself


@dataclass(frozen=True)
class Room:
    """What one call may carry so that it ends in its time; nothing where `why` says that none can."""

    prompt_tokens: int
    reply_tokens: int
    characters_a_token: float = CHARACTERS_A_TOKEN
    why: str = ""

    @property
    def characters(self) -> int:
        """Of the whole prompt, about."""
        return int(self.prompt_tokens * self.characters_a_token)


class Pace:
    """The speeds of one model, in tokens a second; None until a call has shown them."""

    def __init__(self) -> None:
        self._calls: deque[MeasuredCall] = deque(maxlen=CALLS)
        self._counts: deque[tuple[int, int]] = deque(maxlen=CALLS)

    def add(self, measured: MeasuredCall) -> None:
        """Remembers a call."""
        self._calls.append(measured)

    def counted(self, characters: int, tokens: int) -> bool:
        """Remembers how many characters a token has; False where the server has read far less than it was sent."""
        if tokens < SMALLEST_READ:
            return True
        usual, found = self.characters_a_token, characters / tokens
        if found > NEVER_CHARACTERS or (tokens % ROUND_TOKENS == 0 and found > MORE_CHARACTERS * usual):
            return False
        self._counts.append((characters, tokens))
        return True

    @property
    def characters_a_token(self) -> float:
        """Of the last prompts."""
        characters, tokens = (sum(one[n] for one in self._counts) for n in (0, 1))
        return characters / tokens if tokens else CHARACTERS_A_TOKEN

    def tokens(self, characters: int) -> int:
        """About how many tokens a text has."""
        return math.ceil(characters / self.characters_a_token)

    def reading(self, now: float) -> float | None:
        """Tokens of a prompt a second."""
        found = [(c.read, c.reading_seconds) for c in self._recent(now) if c.read >= SMALLEST_READ]
        return _rate(found)

    def writing(self, now: float) -> float | None:
        """Tokens of a reply a second."""
        found = [(c.written, c.writing_seconds) for c in self._recent(now) if c.written >= SMALLEST_WRITTEN]
        return _rate(found)

    def seconds(self, prompt: int, reply: int, now: float) -> float | None:
        """How long a call takes; None where the speed is not known."""
        reading, writing = self.reading(now), self.writing(now)
        if reading is None:
            return None
        return self.waiting(now) + self._unread(prompt) / reading + (reply / writing if writing else 0.0)

    def waiting(self, now: float) -> float:
        """Seconds that a call waits at the server itself."""
        found = [call.waited for call in self._calls if now - call.at < CROWDED_SECONDS]
        return sum(found) / len(found) if found else 0.0

    def usual_reply(self, most: int, now: float) -> int:
        """Tokens that a reply is expected to have, of so many that it may have."""
        found = [call.written for call in self._recent(now) if call.written >= SMALLEST_WRITTEN]
        return min(most, sum(found) // len(found)) if found else most

    def reply_within(self, seconds: float, prompt: int, now: float) -> int | None:
        """Tokens that can be written in a time in which the prompt is read first; None where that is not known."""
        reading, writing = self.reading(now), self.writing(now)
        if reading is None or writing is None:
            return None
        return int(max(0.0, seconds - self.waiting(now) - self._unread(prompt) / reading) * writing)

    def room(self, seconds: float, *, prompt: int, reply: int, now: float) -> Room:
        """Up to so many tokens of prompt and reply, as far as they fit: half of the time is the reply's at the most.

        A reply is planned to be about as long as the last ones were.
        """
        ratio = self.characters_a_token
        reading, writing = self.reading(now), self.writing(now)
        planned = max(0.0, seconds - self.waiting(now)) * MARGIN
        if writing is not None:
            reply = min(reply, int(planned / 2 * writing))
            planned -= self.usual_reply(reply, now) / writing
        if reading is not None:
            read = int(planned * reading)
            prompt = min(prompt, read + min(read, self._cached()))
        return Room(prompt, reply, ratio)

    def _unread(self, prompt: int) -> int:
        """Tokens of a prompt that the server will not find in its cache, but for at most half of it."""
        return prompt - min(prompt // 2, self._cached())

    def _cached(self) -> int:
        """Tokens of instructions, which the last calls have had in common."""
        return min((call.cached for call in list(self._calls)[-ALIKE:]), default=0)

    def _recent(self, now: float) -> list[MeasuredCall]:
        return [call for call in self._calls if now - call.at < OLD_SECONDS]


def _rate(found: list[tuple[int, float]]) -> float | None:
    if not found:
        return None
    return sum(tokens for tokens, _ in found) / max(0.001, sum(seconds for _, seconds in found))
