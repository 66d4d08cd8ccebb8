"""The sentences around a hit: what a reader sees of a passage first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workers.reading.document import CODE, sentences

MAX_CHARACTERS = 400
MARK, UNMARK = "\x02", "\x03"
SHORT = 40  # characters; a shorter sentence is a label or a signature more often than a statement
ENDS = ".!?…)\"'”’"
CODE_WORTH = 0.3  # of prose with the same words


@dataclass(frozen=True)
class Excerpt:
    """At most 400 characters, whole sentences where they fit; `position` is where it starts in the passage."""

    text: str
    position: int


@dataclass(frozen=True)
class _Sentence:
    text: str
    position: int
    under: int  # number of the anchor it stands under: what explains one function is not joined to the next
    weight: float
    prose: bool

    @property
    def says(self) -> bool:
        """Whether it may stand at the end: "For example:" announces what the excerpt does not show."""
        return self.text[-1] in ENDS or (len(self.text) > 2 * SHORT and self.text[-1] != ":")


def excerpt(marked: str, weights: Mapping[str, float], anchors: Sequence[tuple[int, str]] = ()) -> Excerpt:
    """The run of neighbouring sentences that says most about the question.

    `marked` is the passage with \\x02 and \\x03 around the question's words; `weights` says what each word of the
    question is worth; `anchors` where the passage's parts begin. Prose is preferred to code, and of equals the first.
    """
    said = list(_sentences(marked, weights, [at for at, _ in anchors]))
    if not said:
        return Excerpt("", 0)
    best = max(range(len(said)), key=lambda at: (_worth(said, at), -at))
    if not said[best].prose:
        return Excerpt(_short(said[best].text), said[best].position)
    first = last = best
    size = len(said[best].text)
    while True:
        if last + 1 < len(said) and _fits(said[last + 1], said[best], size):
            last, size = last + 1, size + len(said[last + 1].text) + 1
        elif first and _fits(said[first - 1], said[best], size):
            first, size = first - 1, size + len(said[first - 1].text) + 1
        else:
            break
    while last > best and not said[last].says:
        last -= 1
    text = " ".join(each.text for each in said[first : last + 1])
    return Excerpt(_short(text.removeprefix("- ")), said[first].position)


def _fits(other: _Sentence, best: _Sentence, size: int) -> bool:
    return other.prose and other.under == best.under and size + len(other.text) < MAX_CHARACTERS


def _worth(said: list[_Sentence], at: int) -> float:
    here = said[at]
    near = sum(other.weight for other in said[max(0, at - 1) : at + 2] if other.under == here.under) - here.weight
    own = here.weight * (1.0 if here.prose else CODE_WORTH) * (0.6 if len(here.text) < SHORT else 1.0)
    return (own + near / 6) * (1.0 if here.says else 0.8)


def _sentences(marked: str, weights: Mapping[str, float], starts: Sequence[int]) -> Iterator[_Sentence]:
    position = 0
    for paragraph in marked.split("\n\n"):
        plain = _plain(paragraph)
        code = plain.startswith(CODE)
        start = 0
        for sentence in _windows(paragraph) if code else sentences(paragraph):
            text = _plain(sentence).strip("\n") if code else _plain(sentence).strip()
            start = max(plain.find(text, start), 0)
            if text:
                under = bisect_right(starts, position + start)
                yield _Sentence(text, position + start, under, _weight(sentence, weights), not code)
        position += len(plain) + 2


def _windows(code: str) -> Iterator[str]:
    """Code in parts of whole lines that fit into an excerpt."""
    part: list[str] = []
    for line in code.splitlines():
        if part and sum(len(_plain(each)) + 1 for each in part) + len(_plain(line)) > MAX_CHARACTERS:
            yield "\n".join(part)
            part = []
        part.append(line)
    yield "\n".join(part)


def _weight(sentence: str, weights: Mapping[str, float]) -> float:
    """The sum over the different words of the question; forms of one word count once."""
    seen: dict[str, float] = {}
    for part in sentence.split(MARK)[1:]:
        word = part.split(UNMARK, 1)[0].lower()
        term = max(weights, key=lambda each: _shared(each, word), default=word)
        seen[term] = weights.get(term, 0.0)
    return sum(seen.values())


def _shared(term: str, word: str) -> int:
    count = 0
    for one, other in zip(term, word, strict=False):
        if one != other:
            break
        count += 1
    return count


def _plain(text: str) -> str:
    return text.replace(MARK, "").replace(UNMARK, "")


def _short(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - 1].rsplit(None, 1)[0].rstrip(" ,;:") + "…"
