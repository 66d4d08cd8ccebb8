"""What a list of definitions names, and how it explains it, as one statement: `-q, --quiet — Say nothing.`."""

from __future__ import annotations

from collections.abc import Sequence

MAX_TERMS = 120  # characters of terms before an explanation; longer ones, as of functions, stay blocks of their own


def explain(terms: Sequence[str], text: str) -> list[str]:
    """The blocks for some terms and the first paragraph that explains them.

    A term that ends in a colon is a label; a question, and what a list or code explains, stay apart from it.
    """
    named = [term for each in terms if (term := each.strip(" \u00b6#\u2014"))]
    if not named:
        return [text]
    last = named[-1]
    joined = ", ".join(dict.fromkeys(term.rstrip(":") for term in named))
    if len(joined) > MAX_TERMS or last.endswith("?") or "\n" in joined or text.startswith(("- ", "1. ", " ")):
        return [*named, text]
    return [f"{joined}: {text}" if last.endswith(":") else f"{joined} \u2014 {text}"]
