"""What two statements of different documents are to each other: the same, contrary, or not to be compared.

Rules, strict on purpose, because a false contradiction costs more trust than a missed one. Two statements are compared
only when they speak of the same matter: most of what the shorter one says stands in the other too, weighed by how rare
the words are; neither names something the other does not; their conditions and versions do not differ. Then they
contradict when an amount of the same kind differs, when one denies what the other affirms, or when they use opposite
words for the same thing; they agree when none of these is so and the amounts are equal.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workers.answering import synonyms, words
from workers.answering.claims import Claim
from workers.answering.quantities import Quantity

DENIES = "one denies what the other says"


@dataclass(frozen=True)
class Weights:
    """How much each stem says: rare ones more, words common in any manual less."""

    of: Mapping[str, float]
    everywhere: frozenset[str] = frozenset()  # names that so many documents have that they tell nothing apart

    def sum(self, stems: Iterable[str]) -> float:
        return sum(self.of.get(stem, 1.0) for stem in stems)


@dataclass(frozen=True)
class Verdict:
    """What two claims are to each other; `likeness` from 0 to 1."""

    kind: str  # "agree", "amount" or "conflict"
    likeness: float
    why: str = ""


def weights(claims: Sequence[Claim]) -> Weights:
    """Inverse document frequency from 0.4 to 1, times 0.4 for words common in any manual."""
    seen = Counter(stem for claim in claims for stem in claim.matter)
    common = {synonyms.meaning(stem) for stem in words.common_stems()}
    top = math.log(1 + len(claims)) or 1.0
    places = {claim.document for claim in claims}
    named: dict[str, set[str]] = defaultdict(set)
    for claim in claims:
        for name in claim.names:
            named[name].add(claim.document)
    everywhere = frozenset(name for name, at in named.items() if len(at) > max(2, 0.3 * len(places)))
    return Weights(
        {s: (0.4 + 0.6 * math.log((1 + len(claims)) / n) / top) * (0.4 if s in common else 1) for s, n in seen.items()},
        everywhere,
    )


def compare(a: Claim, b: Claim, weigh: Weights) -> Verdict | None:
    """What two claims of different documents are to each other; None where nothing can be said."""
    shared = a.matter & b.matter
    solid = [stem for stem in shared if weigh.of.get(stem, 1.0) > 0.4]
    if not solid or len(shared) < 2:
        return None
    both, of_a, of_b = weigh.sum(shared), weigh.sum(a.matter), weigh.sum(b.matter)
    likeness, held = 2 * both / (of_a + of_b), both / min(of_a, of_b)
    if held < 0.5 or likeness < 0.4 or _apart(a, b, weigh.everywhere):
        return None
    whole = a.whole or b.whole
    unlike = _conditions_unlike(a, b)
    same, differing = _amounts(a.amounts, b.amounts)
    subject = a.head in b.matter, b.head in a.matter
    if differing:
        fits = any(subject) and held >= 0.6 and likeness >= 0.5 and (len(solid) > 1 or len(shared) > 2)
        fits = fits and (len(solid) > 2 or not _narrower(a, b))
        if unlike or whole or not fits or _opposite(a, b):
            return None
        return Verdict("amount", likeness, f"{differing[0][0].shown} against {differing[0][1].shown}")
    if conflict := _opposite(a, b) or _denial(a, b) or _swapped(a, b):
        if same and _is_limit(a) != _is_limit(b):
            return Verdict("agree", likeness)  # "accepts up to 5", "refuses more than 5"
        about_one = all(subject) or (any(subject) and held > 0.95 and len(solid) > 2)  # "X does Y", "Y is done"
        if unlike or same or not about_one or likeness < 0.6 or len(solid) < 2 or whole:
            return None
        if (
            a.commands
            or b.commands
            or (a.names ^ b.names) - weigh.everywhere
            or (a.scope and b.scope and not a.scope & b.scope)
        ):
            return None
        return Verdict("conflict", likeness, conflict)
    if unlike > 0.5 or (bool(a.denied) != bool(b.denied) and not a.sides & b.sides):
        return None
    if bool(a.amounts) != bool(b.amounts) and likeness < 0.7:
        return None  # one gives a number, the other only speaks of the same things
    enough = (
        (likeness >= 0.6 and len(solid) >= 3)
        or (likeness >= 0.5 and len(solid) >= 3 and all(subject))
        or (likeness >= 0.7 and len(solid) >= 2 and all(subject))
        or (same and likeness >= 0.45 and len(solid) >= 2)
    )
    return Verdict("agree", likeness) if enough else None


def _apart(a: Claim, b: Claim, everywhere: frozenset[str]) -> bool:
    """Whether the two name different subjects."""
    only_a, only_b = a.matter - b.matter, b.matter - a.matter
    if (a.names - b.names - everywhere) and (b.names - a.names - everywhere):
        return True
    groups = synonyms.apart()
    in_a = {group for stem in only_a for group in groups.get(stem, ())}
    if any(group in in_a for stem in only_b for group in groups.get(stem, ())):
        return True
    for stem in a.matter & b.matter:  # "read timeout" and "connect timeout"
        x, y = a.before.get(stem, ""), b.before.get(stem, "")
        if x in only_a and y in only_b:
            return True
    return False


def _narrower(a: Claim, b: Claim) -> bool:
    """Whether one puts a word before a shared one that the other has not: "recursion depth" is not any depth."""
    return any(
        one.before.get(stem, "") in one.matter - other.matter
        for one, other in ((a, b), (b, a))
        for stem in a.matter & b.matter
    )


def _conditions_unlike(a: Claim, b: Claim) -> float:
    """Which share of the conditions of one is not spoken of in the other, from 0 to 1; 1 for different versions."""
    if a.versions != b.versions:
        return 1.0
    shares = [
        len(one.conditions - other.matter) / len(one.conditions) for one, other in ((a, b), (b, a)) if one.conditions
    ]
    return max(shares, default=0.0)


def _amounts(a: Sequence[Quantity], b: Sequence[Quantity]) -> tuple[bool, list[tuple[Quantity, Quantity]]]:
    """Whether an amount is equal, and the pairs of amounts of one kind that cannot both hold."""
    kinds = {q.dimension for q in a} & {q.dimension for q in b} - {"label:version"}
    same, differing = False, []
    for kind in kinds:
        of_a, of_b = [q for q in a if q.dimension == kind], [q for q in b if q.dimension == kind]
        if any(x.equals(y) for x in of_a for y in of_b):
            same = True
        elif len(of_a) == len(of_b) == 1 and not of_a[0].agrees(of_b[0]):
            differing.append((of_a[0], of_b[0]))
    return same, differing


def _denial(a: Claim, b: Claim) -> str:
    for one, other in ((a, b), (b, a)):
        denied = one.denied - one.conditions
        if other.head in denied:
            continue  # "the enforcement of keys" does not say that keys are enforced
        if denied and not other.denied and denied <= other.matter - other.conditions:
            return DENIES if not one.sides & other.sides else ""
    return ""


def _opposite(a: Claim, b: Claim) -> str:
    opposed = synonyms.opposed()
    for number, side in a.sides:
        if f"\u00b1{number}" in a.conditions | b.conditions:
            continue
        if (number, 1 - side) in b.sides and (number, side) not in b.sides and (number, 1 - side) not in a.sides:
            x, y = (next((w for w in words.words(c.text) if opposed.get(w, (-1,))[0] == number), "") for c in (a, b))
            return f"{x} against {y}" if words.stem(x) != words.stem(y) else DENIES
    return ""


def _swapped(a: Claim, b: Claim) -> str:
    """Whether the two put the same two events in opposite orders."""
    straight = min(len(a.earlier & b.earlier), len(a.later & b.later))
    crossed = min(len(a.earlier & b.later), len(a.later & b.earlier))
    return "what comes first is the other way round" if crossed > straight else ""


def _is_limit(claim: Claim) -> bool:
    return any(amount.bound == "least" for amount in claim.amounts)
