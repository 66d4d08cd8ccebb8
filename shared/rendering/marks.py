"""Which words of a text are the question's own, so that a reader sees why the text is shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from shared.report.model import AskedWord

Marked = list[tuple[str, bool]]  # pieces of a text in order, and whether each is a word of the question
SHORTEST_STEM = 4  # letters; a shorter word is marked only as it is
LONGEST_ENDING = 3  # letters by which two forms of a word may differ at their ends

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def marker(words: Sequence[AskedWord]) -> Callable[[str], Marked]:
    """A function that finds these words in a text: as they were asked or searched, also with other endings.

    Words of scripts without spaces are found inside of runs; `read-only` also as `read only`.
    """
    said = list(dict.fromkeys(form for word in words for form in (word.word, word.searched) if form.strip()))
    stems = [folded for form in said if (folded := _fold(form)) and _WORD.fullmatch(folded)]
    literal = _literal(form for form in said if _UNSPACED.search(form) or not _WORD.fullmatch(form))

    def marked(text: str) -> Marked:
        spans = [found.span() for found in _WORD.finditer(text) if _is_form(_fold(found[0]), stems)]
        if literal is not None:
            spans += [found.span() for found in literal.finditer(text)]
        return _cut_at(text, spans)

    return marked if said else lambda text: [(text, False)]


def _is_form(word: str, stems: Iterable[str]) -> bool:
    return any(word == stem or _alike(word, stem) for stem in stems)


def _alike(one: str, other: str) -> bool:
    """Whether two words differ in their endings alone, by a share of their length that a stem leaves."""
    common = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        common += 1
    least = min(len(one), len(other))
    return common >= SHORTEST_STEM and common >= 0.7 * least and max(len(one), len(other)) - common <= LONGEST_ENDING


def _literal(forms: Iterable[str]) -> re.Pattern[str] | None:
    """What is found letter by letter: words of several parts, and of scripts without spaces."""
    found = []
    for form in forms:
        parts = [re.escape(part) for part in _WORD.findall(form)]
        if parts:
            whole = r"[\W_]?".join(parts)
            found.append(whole if _UNSPACED.search(form) else rf"(?<![^\W_]){whole}(?![^\W_])")
    return re.compile("|".join(sorted(found, key=len, reverse=True)), re.IGNORECASE) if found else None


def _cut_at(text: str, spans: list[tuple[int, int]]) -> Marked:
    pieces: Marked = []
    at = 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        start = max(start, at)
        if start > at:
            pieces.append((text[at:start], False))
        if pieces and pieces[-1][1]:  # touches the one before: one mark
            pieces[-1] = (pieces[-1][0] + text[start:end], True)
        else:
            pieces.append((text[start:end], True))
        at = end
    if at < len(text):
        pieces.append((text[at:], False))
    return pieces


def _fold(word: str) -> str:
    """Without case and accents."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))
