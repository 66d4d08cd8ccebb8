"""Whole, clean English sentences out of passages, and the words in them that carry meaning."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

MIN_WORDS, MAX_WORDS, MAX_CHARACTERS = 4, 60, 420  # of a sentence that may be quoted
MAX_PASSAGE_CHARACTERS = 20_000  # of one passage that are read

STOP = frozenset(
    "a about above after again all also am an and any are aren as at be because been before being below between both but "
    "by can cannot could couldn did didn do does doesn doing don down during each either else ever every few for from "
    "further had hadn has hasn have haven having he hence her here hers him his how however i if in into is isn it its "
    "itself just let ll may me might mine more most must my near neither no nor not of off on once only onto or other "
    "our ours out over own per quite rather re s same shall she should shouldn since so some such t than that the their "
    "theirs them then there thereby therefore these they this those though through thus to too toward under unless until up "
    "upon us ve very via was wasn we well were weren what whatever when where whether which while who whom whose why "
    "will with within without won would wouldn yet you your yours yes one ones etc eg ie vs much many mean explain tell "
    "describe please know soon always".split()
)

# Words so common in questions and manuals that sharing one says little; they count a fraction.
COMMON = frozenset(
    "use using used user users way ways make makes made get gets give gives given work works working thing things kind "
    "type types different difference differences differ compare comparison versus best better good new old first last "
    "next example examples case cases need needs needed want happen happens help possible able allow allows provide "
    "provides support supports supported say says says find set sets value values number numbers name names time times "
    "data information system systems method methods function functions object objects class classes file files default "
    "defaults option options result results return returns call calls called run runs change changes note see like "
    "part parts order main important long large small high low many several part document documents documentation page "
    "standard process processes server client request response protocol version versions handle handles do purpose "
    "role start stop add added create created between main exactly actually rule rules point line lines "
    "people person year years day days world general common usual usually often source sources does about instead summarize summarise summary overview report write list analyze analyse research study review "
    "exist exists existing become seem findings detail details information topic topics question questions answer answers text texts".split()
)

_FENCE = re.compile(r"^\s*(```|~~~)")
_NAV = re.compile(
    r"^(?:see|table of contents|on this page|previous|next|home|index|modules|menu|skip to|edit (?:this|on)|back to top|"
    r"copyright|©|all rights reserved|last (?:updated|modified)|read more|click here|see also|navigation|search|"
    r"(?:new|changed|added|deprecated) (?:in|since) version|cookie|subscribe|sign (?:in|up)|share (?:this|on))\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^(?:note|tip|warning|caution|important|hint|info|danger|attention)(?:\s*[:!\u2014-]\s+|\s+(?=[A-Z]))",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*+\u2022\u2013]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s")
_RULE = re.compile(r"^\s*([=\-~^\"'*+#_.])\1{2,}\s*$")
_TABLE = re.compile(r"^\s*\|.*|.*\|\s*$|^\s*[+|][-=+|]{3,}|.*\S \| \S.*\|")
_CODE_LINE = re.compile(
    r"^\s*(?:>>>|\.\.\. |\$ |#!|//|/\*|\* @|[})\];]+\s*$|import \w|from \w+ import|def \w+\(|class \w+[(:]|return\b.*[;)]$|.*[{;]\s*$|"
    r"(?:await |async |const |let |var )?[\w.\[\]]+\s*(?:[-+*/|&]?=|:=)\s*\S)"
)
_INNER_CAPITAL = re.compile(r"[A-Z][A-Z]+[a-z]{2}|[a-z][A-Z]")
_SYMBOLS = re.compile(r"[={}\[\];<>]|\w\(")
_INLINE = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\](?:\([^)\s]*(?:\s\"[^\"]*\")?\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"\[(?:\d{1,3}|edit|citation needed)\]"), ""),
    (re.compile(r"</?[a-zA-Z][^<>]{0,200}>"), ""),
    (re.compile(r"(?<!\w)(\*\*|__)(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=[^\s_])([^_]+?)(?<=\S)_(?!\w)"), r"\1"),
    (re.compile(r":(?:\w+:)?[\w-]+:`~?([^`<]+?)(?:\s*<[^>]*>)?`"), r"\1"),
    (re.compile(r"``?([^`]+)``?"), r"\1"),
    (re.compile("[\u00b6\u200b\ufeff\u00ad]"), ""),
)
_MARKED = re.compile("[*_`<\\[\u00b6\u200b\ufeff\u00ad]")
_ABBREVIATED = re.compile(
    r"\b(?:approx|ca|cf|resp|incl|excl|max|min|sec|fig|no|vol|pp|ch|dept|est|vs|e\.g|i\.e)\.\s*$", re.IGNORECASE
)
_DANGLING = re.compile(
    r"^(?:this|that|these|those|it|its|they|them|their|he|she|his|her|we|however|but|and|or|so|therefore|thus|hence|then|"
    r"also|otherwise|instead|here|there it|such|moreover|furthermore|additionally|consequently|nevertheless|nonetheless|"
    r"similarly|likewise|conversely|meanwhile|finally|secondly|thirdly|again|yet|still|both|neither|either|another|others|"
    r"in (?:this|that|these|those|such|both|either|other|addition|contrast|turn|particular|fact|general|short|summary|practice|the (?:above|former|latter|same|second))|"
    r"for (?:example|instance|this|that|these)|as (?:a result|such|mentioned|noted|described|shown|above|before|well)|"
    r"on the other hand|by contrast|at (?:this|that)|with (?:this|that|these)|because of (?:this|that)|to (?:do|avoid) (?:this|that|so)|"
    r"if (?:this|that|it|they|so|not)|when (?:this|that|it|they)|after (?:this|that)|the (?:former|latter|above|following|same|other|second))\b"
    r"(?!-)",
    re.IGNORECASE,
)
# "this method" and the like, unless the thing was named before in the same sentence, or is the document itself.
_THIS = re.compile(
    r"\b(?:this|these|those)\s+(?!is\b|are\b|was\b|were\b|can\b|may\b|might\b|will\b|would\b|could\b|should\b|must\b|"
    r"has\b|have\b|do|in\b|on\b|of\b|at\b|who|that|which|with|means|makes|allows|lets|causes|gives|leads|happens|"
    r"module|package|document|page|chapter|section|guide|library|manual|specification|standard|tutorial|book|year|week|month|day)"
    r"(?:(?:first|second|last|new|same|kind of|type of|particular)\s+)?(\w+)",
    re.IGNORECASE,
)
_HEADLESS = re.compile(
    r"^(?:is|are|was|were|has|can|may|same|similar|like|equivalent|subclass|superclass|alias|called|raised|used|given|if so|see|"
    r"please|returned|available|deprecated|defaults?) ",
    re.IGNORECASE,
)
_POINTS_ELSEWHERE = re.compile(
    r"\b(?:(?:the|in|see|as|shown|described|listed) (?:following|below|above)|(?:see|shown|listed|described|given|discussed|mentioned|below|above) "
    r"(?:below|above|also|earlier|later|here|next)|(?:this|next|previous|following) (?:section|chapter|example|table|figure|tutorial|page|"
    r"document|guide|article|lesson|post)|see the|refer to|for (?:more|further) (?:details|information)|let's|let us|we'll|we will)\b",
    re.IGNORECASE,
)
_WORD = re.compile(
    r"[A-Za-z\u00c0-\u024f\u0370-\u1fff][\w\u00c0-\u024f]*(?:[.\u2019'_-][A-Za-z\u00c0-\u024f0-9_]+)*|\d[\w.,%]*"
)
_CODE_WORD = re.compile(
    r"^(?:[a-z]+[._][\w.]+(?:\(\))?|[\w.]+\(.*|[a-z]+[A-Z]\w*|--?[a-z][\w-]*|/\w\S*|[a-z]+\d[\w.]*)"
)
_AUXILIARY = frozenset(
    "is are was were be been has have had do does did can could may might must shall should will would cannot let isn't aren't "
    "wasn't weren't hasn't haven't hadn't don't doesn't didn't can't couldn't won't wouldn't shouldn't mustn't needn't".split()
)
# Verbs that manuals use, in their base form; many are nouns too, so what stands before them decides.
_VERBS = frozenset(
    "accept act add affect aim allow answer appear apply arrive ask assign avoid be become begin behave belong block break "
    "bring build call cause change check choose clean close come compare consist contain continue control convert copy cost "
    "create cut define delete deliver depend describe die differ do drop emit enable end ensure exist expect expire explain "
    "export extend fail fall fetch find finish fit fix follow force free gain get give go grow guarantee handle happen help "
    "hold ignore implement import improve include increase indicate inherit install keep know lead learn leave let lie limit "
    "listen live load lock look lose maintain make manage map mark match mean measure move need occur offer open order own "
    "parse pass perform pick point prefer prevent produce protect provide publish put raise reach read receive recommend "
    "reduce refer refuse register reject release reload rely remain remove repeat replace report represent require reset "
    "resolve respond rest result return rise rotate run save say see send serve set share show specify spend split spread "
    "start stay stop store suggest support take tell tend test throw treat try turn use vary wait want wish work write "
    "yield".split()
)
_SUBORDINATES = frozenset("that which who whose where if when because while unless".split())
_BEFORE_NOUN = frozenset(
    "a an the of in on at for from by with to into its their his her our your my this that these those each every any some "
    "no all both more most other another such as per and or".split()
)
_AFTER_VERB = _BEFORE_NOUN - {"of", "and", "or"}


@dataclass(frozen=True)
class Sentence:
    """One quotable statement. `alone` is False when it leans on the sentence before it, which `text` then includes."""

    text: str
    position: int  # its place in the passage, from 0
    alone: bool = True


def sentences(passage: str) -> list[Sentence]:
    """The statements of a passage that can be quoted by themselves, in order.

    Headings, code, tables, navigation, fragments and questions are left out. A sentence that begins with "this",
    "it", "however" is given together with the one before it, or left out where there is none.
    """
    found: list[Sentence] = []
    for block in blocks(passage):
        before = ""
        for text in split(block):
            if not is_statement(text):
                before = ""
                continue
            if not _leans(text):
                found.append(Sentence(text, len(found)))
                before = text
            elif before and len(before) + len(text) < MAX_CHARACTERS:
                found.append(Sentence(f"{before} {text}", len(found), alone=False))
                before = ""
            else:
                before = ""
    return found


def blocks(passage: str) -> Iterator[str]:
    """The paragraphs and list items of a passage as single lines of plain text, without what is no prose."""
    for lines in _chunks(passage[:MAX_PASSAGE_CHARACTERS]):
        if _is_code(lines):
            continue
        block: list[str] = []
        for line in lines:
            bullet = _BULLET.match(line)
            if _RULE.match(line) and len(block) == 1:
                block = []  # the line before was a heading
            prose = not (_RULE.match(line) or _HEADING.match(line) or _TABLE.match(line))
            if (bullet or not prose) and block:
                yield plain(" ".join(block))
                block = []
            if prose:
                block.append(line[bullet.end() :] if bullet else line.strip())
        if block:
            yield plain(" ".join(block))


def plain(text: str) -> str:
    """A line without Markdown, reStructuredText and HTML marks, on one line."""
    if _MARKED.search(text):
        for pattern, replacement in _INLINE:
            text = pattern.sub(replacement, text)
    text = html.unescape(text) if "&" in text else text
    return _LABEL.sub("", " ".join(text.split()))


def split(block: str) -> list[str]:
    """The sentences of one paragraph of English."""
    from sentencex import segment  # type: ignore[import-untyped]

    joined: list[str] = []
    for piece in segment("en", block):
        before = joined[-1] if joined else ""
        lower = piece[:1].islower() and not _CODE_WORD.match(piece)
        if before and (lower or not before[-1].isspace() or _ABBREVIATED.search(before)):
            joined[-1] += piece  # "asyncio.Task", "approx. 3", "e.g. this"
        else:
            joined.append(piece)
    return [re.sub(r"\.\.$", ".", sentence) for piece in joined if (sentence := _LABEL.sub("", piece.strip()))]


def is_statement(text: str) -> bool:
    """Whether this is a whole sentence of prose that states something."""
    words = text.split()
    if _HEADLESS.match(text):
        return False
    if not MIN_WORDS <= len(words) <= MAX_WORDS or len(text) > MAX_CHARACTERS:
        return False
    core = text.rstrip("\"'\u201d\u2019)")
    if not core.endswith((".", "!")) or core.endswith(("...", "\u2026")) or _NAV.match(text):
        return False
    first = text.lstrip("\"'\u201c\u2018(")
    if not (first[:1].isupper() or first[:1].isdigit() or _CODE_WORD.match(first)):
        return False
    if text.count("(") != text.count(")") or text.count('"') % 2 or text.count("[") != text.count("]"):
        return False
    letters = sum(c.isalpha() or c == " " for c in text)
    return letters / len(text) > 0.8 and _has_verb(words) and not re.search(r"[{}<>=|\\]{2}|https?://\S+\.$", text)


def _has_verb(words: list[str]) -> bool:
    """Whether a sentence has a verb of its own, and is not the mere name of something."""
    inside = False  # a clause that begins with "that" or "when": its verb is not the sentence's
    lower = [word.lower().strip(".,;:!()\"'") for word in words]
    for place, word in enumerate(lower):
        around = (lower[place - 1] if place else "", lower[place + 1] if place + 1 < len(lower) else "")
        if word in _SUBORDINATES:
            inside = True
        elif _is_verb(word, *around):
            if not inside:
                return True
            inside = False
        if words[place].endswith(","):
            inside = False
    return False


def _is_verb(word: str, before: str, after: str) -> bool:
    if word in _AUXILIARY:
        return True
    if before in _BEFORE_NOUN:
        return False
    if word in _VERBS:
        return not before or before.endswith("s") or before in ("you", "we", "they", "i", "who")
    if word.endswith("s") and (word[:-1] in _VERBS or word[:-2] in _VERBS or word[:-3] + "y" in _VERBS):
        return True
    if word.endswith("ed"):
        return bool(before)
    return bool(before) and word.endswith("s") and not word.endswith(("ss", "us", "is")) and after in _AFTER_VERB


def _leans(text: str) -> bool:
    """Whether a sentence needs the one before it: it begins with "it" or "however", or says "this method"."""
    if _DANGLING.match(text):
        return True
    return any(stem(m[1].lower()) not in terms(text[: m.start()]) for m in _THIS.finditer(text))


def points_elsewhere(text: str) -> bool:
    """Whether a statement speaks of its page ("see below", "the following table") and so says less when quoted."""
    return _POINTS_ELSEWHERE.search(text) is not None


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order; dotted and hyphenated names stay whole."""
    return [word.lower().strip("'.,-_") for word in _WORD.findall(text.replace("\u2019", "'"))]


def terms(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order, repeated ones too."""
    return [stem for raw in _WORD.findall(text.replace("\u2019", "'")) for stem in _terms_of(raw)]


@lru_cache(maxsize=20_000)
def _terms_of(raw: str) -> tuple[str, ...]:
    word = raw.lower().strip("'.,-_")
    if word.isalpha():
        if word in STOP or len(word) < 2:
            return ()
        return (word if _INNER_CAPITAL.search(raw) else stem(word),)  # "URLopener" is no form of "urlopen"
    parts = re.split(r"[.'_-]", word) if not word[:1].isdigit() else [word]
    return tuple(stem(part) for part in parts if part and part not in STOP and (len(part) > 1 or part.isdigit()))


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The stem of an English word in lower case (Snowball's Porter2)."""
    return str(_stemmer().stemWord(word)) if word.isalpha() else word.rstrip(".,%")


@lru_cache(maxsize=1)
def common_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in COMMON)


def _chunks(passage: str) -> Iterator[list[str]]:
    """Runs of lines between blank lines, without fenced code."""
    lines: list[str] = []
    fenced = False
    for line in [*passage.splitlines(), ""]:
        fence = _FENCE.match(line)
        if (fence or not line.strip()) and lines:
            yield lines
            lines = []
        if not (fence or fenced) and line.strip():
            lines.append(line)
        fenced = fenced != bool(fence)


def _is_code(lines: list[str]) -> bool:
    codes = sum(_CODE_LINE.match(line) is not None for line in lines)
    indented = all(line.startswith(("    ", "\t")) for line in lines) and not _BULLET.match(lines[0])
    return codes * 2 > len(lines) or (indented and (codes > 0 or _SYMBOLS.search("".join(lines)) is not None))


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")
