"""A question in several parts, taken apart: "When does it open, and what does it cost?" """

from __future__ import annotations

import re

MAX_PARTS = 4
MAX_QUESTION = 1_000  # characters; a longer text is not a one-sentence question
_JOINTS = {  # what joins two questions, and the words that the second begins with
    "and|or|but": "how|what|why|when|where|which|who|whose",
    "und|oder|sowie": "wie|wieviel|was|warum|wann|wo|wohin|woher|welche[rsmn]?|wer|wem|wen|wessen|wozu",
    "et|ou": "comment|que|quoi|pourquoi|quand|où|quel(?:le)?s?|qui|combien",
    "y|e|o": "cómo|qué|por qué|cuándo|dónde|cuál(?:es)?|quién(?:es)?|cuánt[oa]s?|"
    "come|cosa|perché|quando|dove|qual[ei]?|chi|quant[oaie]|como|quê|onde|quais|quem",
    "en|of": "hoe|hoeveel|wat|waarom|wanneer|waar|welke|wie",
    "och|og|eller": "hur|vad|varför|när|var|vilken|vilka|vem|hvordan|hva|hvad|hvorfor|når|hvor|hvilken|hvem",
    "и|или|а": "как|что|почему|когда|где|кто|сколько|зачем|как(?:ой|ая|ое|ие)",
}
_CHINESE = r"[，；、]\s*(?:和|以及|并且|而且|还有)?(?=[^，；、]*(?:什么|怎么|多少|哪|谁|为什么|吗)[^，；、]*[?？]$)"
_NEXT = r"(?<=[?？])\s*(?=\S)"
_JOINT = re.compile(
    "|".join([*(rf"[,;]?\s+(?:{joint})\s+(?=(?:{asks})\b)" for joint, asks in _JOINTS.items()), _NEXT, _CHINESE]),
    re.IGNORECASE,
)


def parts(question: str) -> list[str]:
    """The parts of a question in order, at most `MAX_PARTS`; one that has no joint is its own only part."""
    if len(question) > MAX_QUESTION or "\n" in question.strip():
        return [question]
    found = [part.strip(" ,;，；") for part in _JOINT.split(question)]
    whole = all(len(part.split()) > 1 or (len(part) > 3 and not part.isascii()) for part in found)
    return found[:MAX_PARTS] if len(found) > 1 and whole else [question]
