"""A report as data becomes a page, Markdown, or, out of whatever steps delivered, a plain report."""

from shared.rendering.blocks import blocks
from shared.rendering.links import Link, address
from shared.rendering.markdown import answer_to_markdown, beginning_to_markdown, passage_to_markdown, to_markdown
from shared.rendering.pages import PALETTE, markdown_to_html, markdown_to_part, passage_to_html, to_html
from shared.rendering.plain import number_sources, numbers, plain_report
from shared.report.safe import clean, code, escape_markdown, web_url

__all__ = [
    "PALETTE",
    "Link",
    "address",
    "answer_to_markdown",
    "beginning_to_markdown",
    "blocks",
    "clean",
    "code",
    "escape_markdown",
    "markdown_to_html",
    "markdown_to_part",
    "number_sources",
    "numbers",
    "passage_to_html",
    "passage_to_markdown",
    "plain_report",
    "to_html",
    "to_markdown",
    "web_url",
]
