"""Text above and below the line, spelled so that it can be read in plain text: 10³, H₂O, x^(a+b)."""

from __future__ import annotations

_ABOVE = str.maketrans("0123456789+-\u2212=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
_BELOW = str.maketrans("0123456789+-\u2212=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
MAX_ENDING = 4  # letters: "1st", "Mme", a trade mark


def above(text: str) -> str:
    """A superscript: by its own characters where Unicode has them, an ending as it is, else after `^`."""
    raised = text.translate(_ABOVE)
    if (not raised.isascii() and raised == text) or all(ord(char) > 127 for char in raised):
        return raised
    if text.isalpha() and 1 < len(text) <= MAX_ENDING:
        return text
    return f"^{text}" if text.isalnum() else f"^({text})"


def below(text: str) -> str:
    """A subscript: by its own characters where Unicode has them, else after `_`."""
    lowered = text.translate(_BELOW)
    return lowered if all(ord(char) > 127 for char in lowered) else f"_{text}"
