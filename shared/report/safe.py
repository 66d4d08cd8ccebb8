"""What a source wrote stays text: without hidden characters, escaped for Markdown, and linked only to the web.

Control and direction characters are taken out everywhere (Unicode TR36, section 3.1).
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from shared.urls import is_http_url

# C0 and C1 controls, zero-width and direction characters, line separators, byte order marks, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^(?:#|[-+=](?=[\s=-]|$))|^\d{1,9}(?=[.)])")


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Text without control and direction characters; white space becomes single spaces, or stays with `keep_lines`."""
    text = _UNSEEN.sub(lambda c: "\n" if c[0] in "\r\u2028\u2029" else " " if c[0] < " " else "", text)
    return text if keep_lines else " ".join(text.split())


def web_url(location: str) -> str:
    """The location as a safe link target, or "" if it is not an http(s) address."""
    url = location.strip()
    if not is_http_url(url) or _UNSEEN.search(location):
        return ""
    return quote(urlsplit(url).geturl(), safe=":/?#@!$&+,;=%~-._")


def escape_markdown(text: str) -> str:
    """Text that any Markdown renderer shows as it is, also one with HTML enabled and one with GitHub's extensions."""
    escaped = _MARKS.sub(lambda mark: (mark[0] + "\\") if mark[0].isdigit() else "\\" + mark[0], clean(text))
    escaped = re.sub(r"&(?=#?\w+;)", "&amp;", escaped)
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """Text as a Markdown code span, fenced by more backticks than it has in a row (CommonMark, section 6.1)."""
    text = clean(text)
    fence = "`" * (longest_fence(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def longest_fence(text: str) -> int:
    """The longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
