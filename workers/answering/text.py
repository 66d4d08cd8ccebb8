"""Whole, clean sentences out of passages: statements that can be quoted by themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.answering import examples, prose
from workers.answering.prose import LABEL, blocks
from workers.answering.vocabulary import AUXILIARY, BEFORE_NOUN, NUMBERS, PAST, STOP, SUBORDINATES, VERBS, words_of
from workers.answering.words import stem, terms, words

MIN_WORDS, MAX_WORDS, MAX_CHARACTERS = 4, 60, 420  # of a sentence that may be quoted
ENGLISH = 0.15  # of the words of an English text at least so many are grammar; the rules on verbs are for those alone

_NAVIGATION = re.compile(
    r"^(?:see|table of contents|on this page|previous|next|home|index|modules|menu|skip to|edit (?:this|on)|"
    r"back to top|copyright|©|all rights reserved|"
    r"last (?:updated|modified)|read more|click here|see also|navigation|search|"
    r"(?:new|changed|added|deprecated) (?:in|since) version|cookie|subscribe|sign (?:in|up)|share (?:this|on))\b",
    re.IGNORECASE,
)
_ABBREVIATED = re.compile(
    r"\b(?:approx|ca|cf|resp|incl|excl|max|min|sec|fig|no|vol|pp|ch|dept|est|vs|etc|e\.g|i\.e)\.\s*$", re.IGNORECASE
)
_DANGLING = re.compile(
    r"^(?!it (?:takes|is (?:not |also )?(?:possible|impossible|necessary|important|safe|advisable|recommended|best)) )"
    r"(?:this|that|these|those|it|its|they|them|their|he|she|his|her|we|however|but|and|or|so|therefore|thus|hence|then|"
    r"also|otherwise|instead|here|there it|such|moreover|furthermore|additionally|consequently|nevertheless|"
    r"nonetheless|similarly|likewise|conversely|meanwhile|finally|secondly|thirdly|again|yet|still|both|neither|either|another|others|"
    r"indeed|of course|on the other hand|by contrast|the (?:former|latter|above|following|same|other|second)|"
    r"in (?:this|that|these|those|such|both|either|other|addition|contrast|turn|particular|fact|general|short|summary|"
    r"practice|the (?:above|former|latter|same|second))|for (?:example|instance|this|that|these)|"
    r"as (?:a result|such|mentioned|noted|described|shown|above|before|well)|(?:at|after) (?:this|that)|"
    r"(?:with|because of) (?:this|that|these)|to (?:do|avoid) (?:this|that|so)|if (?:this|that|it|they|so|not)|"
    r"when (?:this|that|it|they))\b(?!-)",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"^(?:\w+,? )?(?:it|they|he|she|this|that|these|those|both|neither|either|the (?:former|latter|other|same))\b",
    re.IGNORECASE,
)
# "this method" and the like, unless the thing was named before in the same sentence, or is the document itself.
_THIS = re.compile(
    r"\b(?:this|these|those)\s+(?!(?:is|are|was|were|can|may|might|will|would|could|should|must|has|have|in|on|of|at)\b|"
    r"do|who|that|which|with|means|makes|allows|lets|causes|gives|leads|happens|module|package|document|page|chapter|"
    r"section|guide|library|manual|specification|standard|tutorial|book|year|week|month|day)"
    r"(?:(?:first|second|last|new|same|kind of|type of|particular)\s+)?(\w+)",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\s*:\s+\S")  # "these formats: Markdown, HTML and JSON" leans on nothing
_HEADLESS = re.compile(
    r"^(?:is|are|was|were|has|can|may|same|similar|like|equivalent|subclass|superclass|alias|called|raised|used|given|"
    r"if so|see|please|returned|available|deprecated|defaults?) ",
    re.IGNORECASE,
)
_POINTS_ELSEWHERE = re.compile(
    r"\b(?:(?:the|in|see|as|shown|described|listed) (?:following|below|above)|see the|refer to|"
    r"(?:see|shown|listed|described|given|discussed|mentioned) (?:below|above|also|earlier|later|here|next)|"
    r"(?:this|next|previous|following) (?:section|chapter|example|table|figure|tutorial|page|document|article|post)|"
    r"(?:table|section|figure|example|chapter|listing|appendix) [\dA-Z]|(?:below|above)(?=[.,;:)])|"
    r"for (?:more|further) (?:details|information)|let's|let us|we'll|we will)\b",
    re.IGNORECASE,
)
_FOLLOWING = re.compile(r"\b(?:following|below|like this|as follows)\b", re.IGNORECASE)
_CODE_WORD = re.compile(
    r"^(?:[a-z]+[._][\w.]+(?:\(\))?|[\w.]+\(.*|[a-z]+[A-Z]\w*|--?[a-z][\w-]*|/\w\S*|[a-z]+\d[\w.]*)"
)
_ENDED = re.compile(r"\w[\w)\]\"']+[.!?]\s+$")
_RESIDUE = re.compile(r"[{}<>=|\\]{2}|https?://\S+\.$")
_AFTER_VERB = BEFORE_NOUN - {"of", "and", "or"} | {"up", "about", "only", "out", "over", "between"}
_PLURALS = words_of("children people men women data criteria media you we they i who")
_FROM = [[word] for word in ("from", "by", "in", "for", "as", "to", "with", "at", "on")]
_BEFORE_COMMAND = frozenset(("to", "if", "for", "when", "in"))  # "To add a column, use ..."
_NOUN_GOES_ON = frozenset(("of", "and", "or", ""))  # "settings of", "names and"
_OBJECT = words_of("a an the its their his her our your my this that these those each every any some no all it them")


@dataclass(frozen=True)
class Sentence:
    """One quotable statement. `alone` is False when it leans on the sentence before it, which `text` then includes."""

    text: str
    position: int  # its place in the passage, from 0
    alone: bool = True
    core: str = ""  # what it claims itself, without the sentence before; "" where its subject stands in that one
    code: str = ""  # the code it announces, with which `text` ends


def sentences(passage: str) -> list[Sentence]:
    """The statements of a passage that can be quoted by themselves, in order.

    Headings, code, tables, navigation, fragments and questions are left out. A sentence that begins with "this",
    "it", "however" is given together with the one before it, or left out where there is none. Rows of tables come
    last, where their cells have names; they are quoted, but not compared with other statements.
    """
    found: list[Sentence] = []
    english = is_english(passage)
    codes = examples.announced(passage)
    for block in blocks(passage):
        before = ""
        said = split(examples.ended(block))
        for place, text in enumerate(said):
            if text.endswith(":") and (code := codes.get(block, "")) and place == len(said) - 1:
                found += _announcing(text, code, before, len(found))
            elif not is_statement(text, english=english, follows=place > 0):
                before = ""
            elif not _leans(text):
                found.append(Sentence(text, len(found), core=text))
                before = text
            elif before and len(before) + len(text) < MAX_CHARACTERS:
                core = "" if _PRONOUN.match(text) else text
                found.append(Sentence(f"{before} {text}", len(found), alone=False, core=core))
                before = ""
            else:
                before = ""
    if purpose := prose.purpose(passage):
        return [Sentence(purpose, 0)]
    rows = (row for row in prose.rows(passage) if len(row.split()) >= MIN_WORDS and len(row) <= MAX_CHARACTERS)
    return found + [Sentence(row, place) for place, row in enumerate(rows, max(1, len(found)))]


def _announcing(text: str, code: str, before: str, position: int) -> list[Sentence]:
    """What announces code, together with it; its colon may stand for the verb."""
    if not is_statement(f"{text[:-1]}.", english=False, follows=bool(before)):
        return []
    alone = not _leans(text)
    if not (alone or before) or len(before) + len(text) + len(code) > MAX_CHARACTERS:
        return []
    shown = f"{text} {code}" if alone else f"{before} {text} {code}"
    return [Sentence(shown, position, alone=alone, code=code)]


def split(block: str) -> list[str]:
    """The sentences of one paragraph of English."""
    from sentencex import segment  # type: ignore[import-untyped]

    joined: list[str] = []
    for piece in segment("en", block):
        before = joined[-1] if joined else ""
        lower = piece[:1].islower() and not _CODE_WORD.match(piece) and not _ENDED.search(before)
        if before and (lower or not before[-1].isspace() or _ABBREVIATED.search(before)):
            joined[-1] += piece  # "asyncio.Task", "approx. 3", "e.g. this"
        else:
            joined.append(piece)
    return [re.sub(r"(?<!\.)\.\.$", ".", sentence) for piece in joined if (sentence := LABEL.sub("", piece.strip()))]


def is_english(passage: str) -> bool:
    """Whether a text has as much English grammar as English has."""
    all_words = words(passage[:2_000])
    return sum(word in STOP for word in all_words) >= ENGLISH * len(all_words)


def is_statement(text: str, *, english: bool = True, follows: bool = False) -> bool:
    """Whether this is a whole sentence of prose that states something; in other languages verbs are not looked for.

    After another sentence (`follows`) it may begin in small letters, as a command or a name does.
    """
    parts = text.split()
    if _HEADLESS.match(text):
        return False
    if not MIN_WORDS <= len(parts) <= MAX_WORDS or len(text) > MAX_CHARACTERS:
        return False
    core = text.rstrip("\"'\u201d\u2019)")
    if not core.endswith((".", "!")) or core.endswith(("...", "\u2026")) or _NAVIGATION.match(text):
        return False
    explains = not follows and prose.EXPLAINED.match(text) is not None  # the dash stands for "is" or "does"
    first = text.lstrip("\"'\u201c\u2018(")
    named = follows and not STOP.issuperset(words(parts[0]))
    if not (first[:1].isupper() or first[:1].isdigit() or named or _CODE_WORD.match(first) or explains):
        return False
    if text.count("(") != text.count(")") or text.count('"') % 2 or text.count("[") != text.count("]"):
        return False
    verb = not english or explains or _has_verb(parts)
    said = prose.EXPLAINED.sub("", text) if explains else text
    letters = sum(c.isalpha() or c == " " for c in said)
    return letters / len(said) > 0.8 and not _RESIDUE.search(text) and verb


def _has_verb(parts: list[str]) -> bool:
    """Whether a sentence has a verb of its own, and is not the mere name of something."""
    inside = False  # a clause that begins with "that" or "when": its verb is not the sentence's
    lower = [word.lower().strip(".,;:!()\"'") for word in parts]
    for place, word in enumerate(lower):
        around = (lower[place - 1] if place else "", lower[place + 1] if place + 1 < len(lower) else "")
        if word in SUBORDINATES:
            inside = True
        elif _tells_which(lower, place):
            continue
        elif word in VERBS and lower[0] in _BEFORE_COMMAND and parts[place - 1].endswith(","):
            return True
        elif _is_verb(word, *around) or (place > 1 and _ends_clause(parts, lower, place)):
            if not inside:
                return True
            inside = False
        if parts[place].endswith(","):
            inside = False
    return False


def _tells_which(lower: list[str], place: int) -> bool:
    """Whether a past form only tells which things are meant: "the number of lines read from a file"."""
    past = lower[place].endswith("ed") or lower[place] in PAST
    return past and "of" in lower[max(0, place - 2) : place - 1] and lower[place + 1 : place + 2] in _FROM


def _is_verb(word: str, before: str, after: str) -> bool:
    if word in AUXILIARY:
        return True
    if before in BEFORE_NOUN:
        return False
    if word in VERBS:
        return not before or before.endswith("s") or before in _PLURALS or before in NUMBERS
    if word.endswith("s") and (word[:-1] in VERBS or word[:-2] in VERBS or word[:-3] + "y" in VERBS):
        return True
    if word.endswith("ed") or word in PAST:
        return bool(before)
    return bool(before) and _inflected(word, before, after)


def _inflected(word: str, before: str, after: str) -> bool:
    """Whether an unknown word agrees with the noun before it as a verb does: "a worker renews", "workers renew the"."""
    if not word.isalpha() or (before in STOP and before not in _PLURALS | {"it", "he", "she"}):
        return False
    if _is_plural(word):
        return after in _AFTER_VERB or after[:1].isdigit() or not (after in _NOUN_GOES_ON or _is_plural(before))
    return word not in STOP and _is_plural(before) and after in _OBJECT and not word.endswith(("ing", "ly"))


def _ends_clause(parts: list[str], lower: list[str], place: int) -> bool:
    """Whether the word is the verb of a clause of three: "the lease lapses"."""
    starts = place == 2 or parts[place - 3].endswith(",")
    return (
        starts
        and lower[place - 2] in _OBJECT
        and _is_plural(lower[place])
        and not _is_plural(lower[place - 1])
        and (place + 1 == len(lower) or parts[place].endswith((",", ".")))
    )


def _is_plural(word: str) -> bool:
    """Whether a word ends like a plural, or like a verb in the third person."""
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


def _leans(text: str) -> bool:
    """Whether a sentence needs the one before it: it begins with "it" or "however", or says "this method"."""
    if _DANGLING.match(text):
        return True
    return any(
        stem(m[1].lower()) not in terms(text[: m.start()]) and not _LISTED.match(text, m.end())
        for m in _THIS.finditer(text)
    )


def lacks_subject(text: str) -> bool:
    """Whether a statement begins with its verb, as entries of a reference do ("Returns the size of the file.")."""
    first = text.split(" ", 1)[0].lower()
    return _is_verb(first, "the option", "the") and first.endswith("s")


def commands(text: str) -> bool:
    """Whether a statement tells the reader to do something ("Open the file.")."""
    return text.split(" ", 1)[0].lower() in VERBS


def points_elsewhere(sentence: Sentence) -> bool:
    """Whether a statement speaks of its page ("see below", "the following table") and so says less when quoted.

    What follows it as code is quoted with it.
    """
    said = _FOLLOWING.sub(" ", sentence.text) if sentence.code else sentence.text
    return _POINTS_ELSEWHERE.search(said) is not None
