"""Text in one spelling: documents and questions are compared and shown by it."""

from __future__ import annotations

import re
import unicodedata

# Soft hyphens, zero-width characters and marks of direction say nothing; the joiner stays inside an emoji.
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]|\u200d(?![\u2600-\U0001faff])"
)
# Wide and narrow forms, ligatures, letters for mathematics, odd spaces. Not superscripts and fractions:
# 10³ is not 103; not wide punctuation: it is right beside Han.
_COMPATIBLE = re.compile(
    "[\u00a0\u2000-\u200a\u202f\u205f\u3000\u01c4-\u01cc\u01f1-\u01f3\u2f00-\u2fd5\uf900-\ufaff\ufb00-\ufb4f"
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc\U0001d400-\U0001d7ff\U0002f800-\U0002fa1f]+"
)


def normalize(text: str) -> str:
    """The text composed (NFC), with compatible forms replaced (NFKC) where nothing is lost, without invisible marks."""
    if text.isascii():
        return text
    seen = _COMPATIBLE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), _INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", seen)
