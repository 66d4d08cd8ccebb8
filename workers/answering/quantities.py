"""The measured and counted things a sentence names, in base units so that 1 minute equals 60 seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.answering import words
from workers.answering.vocabulary import STOP

_UNITS: dict[str, tuple[str, float]] = {
    name: (dimension, factor)
    for names, dimension, factor in (
        ("ns nanosecond nanoseconds", "time", 1e-9),
        ("µs us microsecond microseconds", "time", 1e-6),
        ("ms msec msecs millisecond milliseconds", "time", 1e-3),
        ("s sec secs second seconds", "time", 1),
        ("min mins minute minutes", "time", 60),
        ("h hr hrs hour hours", "time", 3_600),
        ("d day days", "time", 86_400),
        ("week weeks", "time", 7 * 86_400),
        ("fortnight fortnights", "time", 14 * 86_400),
        ("month months", "time", 30.44 * 86_400),
        ("year years yr yrs", "time", 365.25 * 86_400),
        ("decade decades", "time", 3652.5 * 86_400),
        ("century centuries", "time", 36525 * 86_400),
        ("bit bits", "bytes", 0.125),
        ("b byte bytes octet octets", "bytes", 1),
        ("k kb kib kilobyte kilobytes kibibyte kibibytes", "bytes", 1024),
        ("mb mib megabyte megabytes mebibyte mebibytes", "bytes", 1024**2),
        ("gb gib gigabyte gigabytes gibibyte gibibytes", "bytes", 1024**3),
        ("tb tib terabyte terabytes tebibyte tebibytes", "bytes", 1024**4),
        ("% percent", "share", 0.01),
        ("mm millimetre millimetres millimeter millimeters", "length", 1e-3),
        ("cm centimetre centimetres centimeter centimeters", "length", 1e-2),
        ("m metre metres meter meters", "length", 1),
        ("km kilometre kilometres kilometer kilometers", "length", 1e3),
        ("inch inches", "length", 0.0254),
        ("foot feet ft", "length", 0.3048),
        ("mile miles", "length", 1609.344),
        ("mg milligram milligrams", "mass", 1e-6),
        ("g gram grams", "mass", 1e-3),
        ("kg kilogram kilograms kilo kilos", "mass", 1),
        ("tonne tonnes", "mass", 1e3),
        ("lb lbs pound pounds", "mass", 0.45359),
        ("ounce ounces oz", "mass", 0.02835),
        ("ml millilitre millilitres milliliter milliliters", "volume", 1e-3),
        ("l litre litres liter liters", "volume", 1),
        ("gallon gallons", "volume", 3.785),
        ("°c celsius", "°C", 1),
        ("°f fahrenheit", "°F", 1),
        ("hz hertz", "frequency", 1),
        ("khz", "frequency", 1e3),
        ("mhz", "frequency", 1e6),
        ("ghz", "frequency", 1e9),
        ("w watt watts", "power", 1),
        ("kw kilowatt kilowatts", "power", 1e3),
        ("v volt volts", "voltage", 1),
        ("dollar dollars usd", "dollars", 1),
        ("euro euros eur", "euros", 1),
    )
    for name in names.split()
}
_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: value for value, word in enumerate(_ONES.split())}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_PARTS = frozenset(("half", "third", "thirds", "quarter", "quarters", "fifth", "tenth"))
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "dozen": 12}
_LABELLED = re.compile(
    r"\b(port|version|release|v|status|code|level|rfc|section|chapter|step|error|page|table|figure|part|appendix|line|column|"
    r"python|java|windows|linux|http|tls|ssl|ipv|pep|section|no)[\s/.]?(?:code\s)?(\d[\d.]*\d|\d)(?![\d%])",
    re.IGNORECASE,
)
_YEAR = re.compile(
    r"\b(?:in|since|from|until|till|by|of|around|before|after|during|(?:January|February|March|April|May|June|July|August|"
    r"September|October|November|December)(?: \d{1,2},)?) (1[5-9]\d\d|20\d\d)\b(?! (?:\w+s|%))",
    re.IGNORECASE,
)
_PHRASES = (
    (re.compile(r"\bhalf an? (minute|hour|day|year)\b", re.IGNORECASE), r"0.5 \1"),
    (re.compile(r"\ba quarter of an? (hour|year|century)\b", re.IGNORECASE), r"0.25 \1"),
    (
        re.compile(
            r"\b(?:a|one) (?:full |whole |single )?"
            r"(second|minute|hour|day|week|fortnight|month|year|decade|century|dozen)\b",
            re.IGNORECASE,
        ),
        r"1 \1",
    ),
    (re.compile(r"\b(?:one|a) half of\b|\bhalf of\b", re.IGNORECASE), "50 percent of"),
    (re.compile(r"\b(?:one|a) third of\b", re.IGNORECASE), "33.3 percent of"),
    (re.compile(r"\btwo[ -]thirds of\b", re.IGNORECASE), "66.7 percent of"),
    (re.compile(r"\b(?:one|a) quarter of\b", re.IGNORECASE), "25 percent of"),
    (re.compile(r"\bthree[ -]quarters of\b", re.IGNORECASE), "75 percent of"),
    (re.compile(r"\b(?:one|a) fifth of\b", re.IGNORECASE), "20 percent of"),
    (re.compile(r"\b(?:one|a) tenth of\b", re.IGNORECASE), "10 percent of"),
    (re.compile(r"\btwice\b", re.IGNORECASE), "2 times"),
    (re.compile(r"\bthrice\b", re.IGNORECASE), "3 times"),
    (
        re.compile(
            r"(\d)(?:-|\u00a0| )(?=(?:second|minute|hour|day|week|month|year|byte|bit|mile|metre|meter)\b)",
            re.IGNORECASE,
        ),
        r"\1 ",
    ),
    (re.compile(r"\$\s?(\d[\d.,]*)"), r"\1 dollars"),
    (re.compile(r"\u20ac\s?(\d[\d.,]*)"), r"\1 euros"),
)
_ONE = r"\d[\d,]*(?:\.\d+)?|\b(?:" + "|".join(_WORDS) + r")\b"
_NUMBER = re.compile(
    r"(?P<near>\b(?:about|around|approximately|roughly|nearly|almost|some)\s+|~)?"
    r"(?P<bound>\b(?:at least|a minimum of|no (?:fewer|less) than|"
    r"(?:more|larger|bigger|greater|longer|higher|older) than|"
    r"over|exceed(?:s|ing)?|above|beyond|up to|at most|a maximum of|no more than|not more than|"
    r"(?:less|fewer|smaller|shorter|lower) than|under|below|within|limited to|a limit of)\s+)?"
    rf"(?:between\s+)?(?<![\w.])(?P<low>{_ONE})(?:\s?(?:-|\u2013|to|and|or)\s?(?P<high>{_ONE}))?"
    r"\s?(?P<scale>hundred|thousand|million|billion|dozen)?\s?-?(?P<unit>%|°[CF]|[a-zµ]+)?(?![\w])",
    re.IGNORECASE,
)
_COUNTS = re.compile(
    r"\d|\b(?:"
    + "|".join([*_WORDS, *_SCALES, "half", "third", "quarter", "fifth", "tenth", "twice", "thrice"])
    + r")\b|\ban? (?:second|minute|hour|day|week|fortnight|month|year|decade|century|dozen)",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(
    r"least|minimum|no (?:less|fewer)|(?:more|larger|bigger|greater|longer|higher|older) than|over|exceed|above|beyond",
    re.IGNORECASE,
)


_SLACK = {"bytes": 0.07}  # 64 KB and 64 KiB are written for the same amount


@dataclass(frozen=True)
class Quantity:
    """A number with its meaning: `low` and `high` in base units of `dimension` ("time" in seconds, or "#replica")."""

    dimension: str
    low: float
    high: float
    bound: str = "is"  # "is", "most", "least"
    shown: str = ""
    near: bool = False

    def agrees(self, other: Quantity) -> bool:
        """Whether both can be true of one thing: overlapping ranges, or equal within 1 % (12 % where one is rough).

        Labels and dates ("port 80", "in 2019") are equal or not.
        """
        slack = 0.12 if self.near or other.near else _SLACK.get(self.dimension, 0.01)
        slack = 0.0 if self.dimension.startswith(("label:", "date")) else slack
        spread = slack * max(abs(self.high), abs(other.high))
        if {self.bound, other.bound} == {"is", "least"}:
            least, exact = (self, other) if self.bound == "least" else (other, self)
            return exact.high >= least.low - spread
        if {self.bound, other.bound} == {"most", "least"}:
            return True
        return self.low <= other.high + spread and other.low <= self.high + spread

    def equals(self, other: Quantity) -> bool:
        """Whether both name the same amount."""
        return (self.agrees(other) and self.bound == other.bound) or (self.low, self.high) == (other.low, other.high)


def quantities(sentence: str) -> list[Quantity]:
    """The quantities of a sentence, in order."""
    found: list[Quantity] = []
    if not _COUNTS.search(sentence):
        return found

    def take(match: re.Match[str], dimension: str, value: float) -> str:
        found.append(Quantity(dimension, value, value, shown=" ".join(match[0].split())))
        return " "

    for pattern, replacement in _PHRASES:
        sentence = pattern.sub(replacement, sentence)
    sentence = _LABELLED.sub(lambda m: take(m, "label:" + _label(m[1]), _version(m[2])), sentence)
    for year in _YEAR.finditer(sentence):
        found.append(Quantity("date", float(year[1]), float(year[1]), shown=year[1]))
    sentence = _YEAR.sub(" ", sentence)
    for match in _NUMBER.finditer(sentence):
        if (quantity := _quantity(match, sentence)) is not None:
            found.append(quantity)
    return found


def is_unit(word: str) -> bool:
    """Whether a word (lower case) is a unit when a number stands before it."""
    return word in _UNITS


def is_number(word: str) -> bool:
    """Whether a word (lower case) is a number."""
    return word[:1].isdigit() or word in _WORDS or word in _SCALES or word in _PARTS


def _quantity(match: re.Match[str], sentence: str) -> Quantity | None:
    low = _value(match["low"])
    if low is None:
        return None
    high = _value(match["high"]) if match["high"] else low
    unit = (match["unit"] or "").lower()
    if high is None or (match["low"].lower() == "one" and unit not in _UNITS):
        return None  # "one of", "one or more" count nothing
    scale = _SCALES.get((match["scale"] or unit).lower(), 1)
    if not match["scale"] and unit in _SCALES:
        after = re.match(r"\s([a-z]+)", sentence[match.end() :], re.IGNORECASE)
        unit = after[1].lower() if after else ""
    dimension, factor = _UNITS.get(unit, ("", 1.0))
    if dimension == "bytes" and unit in ("b", "k") and "".join(match["unit"]).islower():
        dimension = ""
    if not dimension:
        dimension = "#" + words.stem(unit) if len(unit) > 2 and unit not in STOP else "#"
    bound = match["bound"]
    return Quantity(
        dimension,
        min(low, high) * scale * factor,
        max(low, high) * scale * factor,
        bound="is"
        if not bound or bound.strip().lower() == "within"
        else "least"
        if _AT_LEAST.search(bound) and not bound.lower().startswith(("no more", "not more"))
        else "most",
        shown=" ".join(match[0].split()).strip(" ,"),
        near=match["near"] is not None,
    )


def _value(number: str) -> float | None:
    if number[:1].isdigit():
        try:
            return float(number.replace(",", ""))
        except ValueError:
            return None
    value = _WORDS.get(number.lower())
    return None if value is None else float(value)


def _label(word: str) -> str:
    word = word.lower()
    return "version" if word in ("v", "release") else word


def _version(number: str) -> float:
    """3.10 after 3.9: each part of a version weighs a ten-thousandth of the one before."""
    return sum(int(part) / 10_000.0**place for place, part in enumerate(number.split(".")[:4]) if part)
