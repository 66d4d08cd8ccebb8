"""Jupyter notebooks (.ipynb, nbformat 4): text cells as they are, code with what it printed as code."""

from __future__ import annotations

import json
import re

from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats import markdown

MAX_OUTPUT_LINES = 20  # of what one cell printed
FENCE = "~" * 8

_DATA = re.compile(r"!\[[^\]]*\]\((?:data|attachment):[^)]*\)")


def read(data: bytes) -> Document:
    """Raises Unreadable if it is not a notebook."""
    try:
        book = json.loads(data)
        cells = book["cells"] if "cells" in book else [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
        parts = [part for cell in cells for part in _parts(cell)]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Unreadable(f"is not a notebook ({type(exc).__name__})") from exc
    return markdown.read("\n\n".join(parts))


def _parts(cell: dict[str, object]) -> list[str]:
    """A cell as Markdown."""
    source = _join(cell.get("source", cell.get("input", "")))
    if cell["cell_type"] != "code":
        return [_DATA.sub("", source)]
    outputs = cell.get("outputs")
    printed = [_output_text(each) for each in outputs] if isinstance(outputs, list) else []
    whole = "\n\n".join(text.strip("\n") for text in (source, *printed) if text.strip())
    return [f"{FENCE}\n{whole}\n{FENCE}"] if whole else []


def _output_text(output: dict[str, object]) -> str:
    data = output.get("data")
    text = _join(data.get("text/plain", "") if isinstance(data, dict) else output.get("text", ""))
    return "\n".join(text.splitlines()[:MAX_OUTPUT_LINES])


def _join(text: object) -> str:
    return "".join(str(line) for line in text) if isinstance(text, list) else str(text)
