"""PURE: which files are documents that a researcher can read, by the endings of their names."""

from __future__ import annotations

from os.path import splitext

MAX_BYTES = 20_000_000  # of one document: a larger one is not read
MARKDOWN = frozenset((".md", ".markdown", ".mdown", ".mkd"))
HTML = frozenset((".html", ".htm", ".xhtml"))
TEXT = frozenset((".txt", ".text", ".log", ".tex", ""))  # "": a name without an ending, README say
PACKED = frozenset((".pdf", ".docx", ".odt", ".ods", ".epub", ".xlsx"))  # not once more as .gz
MARKED_UP = frozenset((".ipynb", ".csv", ".tsv", ".rst", ".rest", ".eml", ".org", ".adoc", ".asciidoc"))
_PROGRAMS = (
    "bash bat c cc cpp cs dart ex exs fish fs go graphql h hpp hs java jl js jsx kt kts lua m mjs ml nix php pl pm"
    " proto ps1 py pyi r rb rs scala sh sql svelte swift tcl tf ts tsx vb vue zig zsh"
)
_SETTINGS = "cfg conf cnf ini json jsonc properties service toml xml yaml yml"
SOURCE = frozenset(f".{ending}" for ending in f"{_PROGRAMS} {_SETTINGS}".split())
SUFFIXES = MARKDOWN | HTML | TEXT | PACKED | MARKED_UP | SOURCE


def kind(name: str) -> str | None:
    """The suffix that decides how a file is read, without `.gz`; None for files that are not documents."""
    stem, suffix = splitext(name.lower())
    if suffix == ".gz":
        _, suffix = splitext(stem)
        return suffix if suffix in SUFFIXES - PACKED else None
    return suffix if suffix in SUFFIXES else None
