"""Text in the markup of other tools, tables, mails, notebooks and programs keep what they say in its form."""

from __future__ import annotations

import json
import time
from email.message import EmailMessage

import pytest

from workers.reading import readers
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats import separated, source


def read(text: str | bytes, suffix: str):
    return readers.parse(text if isinstance(text, bytes) else text.encode(), suffix)


def said(text: str | bytes, suffix: str) -> list[tuple[str, list[str]]]:
    return [(" › ".join(each.heading), [block.text for block in each.blocks]) for each in read(text, suffix).sections]


RST = """
=======
Mooring
=======

.. toctree::
   :maxdepth: 2

   other

Tie the *bowline* first, see :ref:`the knots <knots>` and :py:func:`~rope.tie`.

#. Throw
#. Pull

   - hard
   - again

.. note:: Not at ebb.

.. _fees:

Fees
----

.. list-table::
   :header-rows: 1

   * - Boat
     - Fee
   * - Dinghy
     - 20 EUR

.. option:: -q, --quiet

   Says nothing.

.. code-block:: sh

   make fast

.. versionadded:: 3.2
   The second rope.

bow
    The front of a boat.

.. mdinclude-of-nobody:: x
   :odd: option

   It has text.
"""


def test_rst_reads_directives_and_roles():
    """RST reads Sphinx's directives and roles as well as its own."""
    assert said(RST, ".rst") == [
        (
            "Mooring",
            [
                "Tie the bowline first, see the knots and tie.",
                "1. Throw",
                "2. Pull",
                "  - hard",
                "  - again",
                "Note: Not at ebb.",
            ],
        ),
        (
            "Mooring › Fees",
            [
                "Dinghy | Fee: 20 EUR",
                "-q, --quiet — Says nothing.",
                "    make fast",
                "Versionadded: 3.2 The second rope.",
                "bow — The front of a boat.",
                "x — It has text.",
            ],
        ),
    ]


def test_rst_anchors_match_the_built_page():
    """RST anchors are those of the page that is made from it."""
    assert [each.anchor for each in read("A B\n===\n\nx\n\nC D\n---\n\ny\n\nE\n---\n\nz\n", ".rst").sections] == [
        "a-b",
        "c-d",
        "e",
    ]


def test_rst_reads_no_other_file(tmp_path):
    (tmp_path / "secret").write_text("secret")
    named = f"   :file: {tmp_path}/secret\n\n"
    text = f".. include:: {tmp_path}/secret\n\n.. raw:: html\n{named}.. csv-table::\n{named}The tide.\n"

    assert said(text, ".rst") == [("", ["The tide."])]


ADOC = """= Mooring
Author Name <a@example.org>
:rope: bowline

// a comment
Tie the *{rope}* first, see <<fees,the fees>> and https://example.org[the site].

* Ropes
** of hemp
. Throw
. Pull

NOTE: Not at ebb.

[[fees]]
== Fees

.What it costs
|===
|Boat |Fee

|Dinghy |20 EUR
|===

`-q`, `--quiet`:: Says nothing.
bow::
  The front of a boat.

[source,sh]
----
make fast
----
"""


def test_asciidoc_keeps_lists_terms_tables_and_code():
    document = read(ADOC, ".adoc")

    assert document.title == "Mooring"
    assert [each.anchor for each in document.sections] == ["mooring", "fees"]
    assert said(ADOC, ".adoc") == [
        (
            "Mooring",
            [
                "Tie the bowline first, see the fees and the site.",
                "- Ropes",
                "  - of hemp",
                "    1. Throw",
                "    2. Pull",
                "Note: Not at ebb.",
            ],
        ),
        (
            "Mooring › Fees",
            [
                "What it costs",
                "Dinghy | Fee: 20 EUR",
                "-q, --quiet — Says nothing.",
                "bow — The front of a boat.",
                "    make fast",
            ],
        ),
    ]


ORG = """#+TITLE: Harbour
# a comment
* TODO Mooring :boat:
SCHEDULED: <2026-05-01 Fri>
:PROPERTIES:
:ID: 1
:END:
Tie the *bowline* first, see [[https://example.org][the site]].
- Ropes
  - of hemp
- bow :: The front of a boat.

1. Throw
2. Pull
** Fees
| Boat   | Fee    |
|--------+--------|
| Dinghy | 20 EUR |
#+begin_src sh
make fast
#+end_src
"""


def test_org_keeps_lists_terms_tables_and_code():
    assert read(ORG, ".org").title == "Harbour"
    assert said(ORG, ".org") == [
        (
            "TODO Mooring",
            [
                "SCHEDULED: 2026-05-01",
                "Tie the bowline first, see the site.",
                "- Ropes",
                "  - of hemp",
                "bow — The front of a boat.",
                "1. Throw",
                "2. Pull",
            ],
        ),
        ("TODO Mooring › Fees", ["Dinghy | Fee: 20 EUR", "    make fast"]),
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Boat,Fee\nDinghy,20 EUR\n", ["Dinghy | Fee: 20 EUR"]),
        ('Boat;Fee;Since\nDinghy;"20,50";2024\n"A\nB";1;\n', ["Dinghy | Fee: 20,50 | Since: 2024", "A B | Fee: 1"]),
        ("Boat\tFee\nDinghy, red\t20 EUR\n", ["Dinghy, red | Fee: 20 EUR"]),
        ("1,2\n3,4\n", ["1 | 2", "3 | 4"]),
        ("Boat\nDinghy\n", ["Boat", "Dinghy"]),
    ],
)
def test_rows_of_separated_values_have_the_names_of_columns(text, rows):
    assert said(text, ".csv") == [("", rows)]


def test_long_table_says_where_reading_stopped():
    """A long table says that its end is not read."""
    document = read("Boat,Fee\n" + "Dinghy,20\n" * (separated.MAX_ROWS + 5), ".csv")

    assert document.note == "has more than 20,000 rows; the rest is not read"
    assert len(document.sections[0].blocks) == separated.MAX_ROWS - 1


def test_notebook_gives_text_code_and_output():
    """A notebook is its text its code and what that printed."""
    cells = [
        {"cell_type": "markdown", "source": ["# Tides\n", "\n", "- high\n", "- low ![x](data:image/png;base64,AAAA)"]},
        {
            "cell_type": "code",
            "source": "print(height)",
            "outputs": [{"output_type": "stream", "text": ["7 m\n"]}, {"data": {"text/plain": "42", "image/png": "A"}}],
        },
        {"cell_type": "markdown", "source": "## Springs\n\nAfter a new moon."},
    ]

    assert said(json.dumps({"cells": cells, "nbformat": 4}), ".ipynb") == [
        ("Tides", ["- high", "- low", "    print(height)\n    7 m\n    42"]),
        ("Tides › Springs", ["After a new moon."]),
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 1}', '{"cells": [{}]}', "[" * 100_000])
def test_what_is_no_notebook_says_so(text):
    with pytest.raises((Unreadable, RecursionError)):
        read(text, ".ipynb")


def test_mail_gives_head_text_and_attachment_names():
    """A mail is its head and text and its attachments are named."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Date"] = (
        "Ann <ann@example.org>",
        "Bob <bob@example.org>",
        "Fri, 1 May 2026 10:00:00 +0200",
    )
    mail["Subject"] = "Fees für 2026"
    mail.set_content("Hello Bob,\n\nthe fee is 20 EUR.\n")
    mail.add_alternative("<p>html</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="fees.pdf")

    document = read(mail.as_bytes(), ".eml")

    assert (document.title, document.modified) == ("Fees für 2026", "2026-05-01")
    assert [block.text for section in document.sections for block in section.blocks] == [
        "From: Ann <ann@example.org>",
        "To: Bob <bob@example.org>",
        "Date: Fri, 01 May 2026 10:00:00 +0200",
        "Hello Bob,",
        "the fee is 20 EUR.",
    ]
    assert document.note == "has attachments that are not read: fees.pdf"


def test_html_mail_is_read_as_a_page():
    """A mail in HTML only is read as a page."""
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ann@example.org", "Fees"
    mail.set_content("<h2>Boats</h2><ul><li>Dinghy</li></ul>", subtype="html")

    assert said(mail.as_bytes(), ".eml")[-1] == ("Fees › Boats", ["- Dinghy"])


PROGRAM = '''"""How to moor a boat.

Tie the bowline first.
"""

# The rope must be dry,
# always.
def tie(rope):
    """Ties it."""
    return rope  # done
'''


def test_program_comments_are_prose():
    """Comments of a program are prose and the rest is code."""
    assert said(PROGRAM, ".py") == [
        (
            "",
            [
                "How to moor a boat.",
                "Tie the bowline first.",
                "The rope must be dry, always.",
                "    def tie(rope):",
                "Ties it.",
                "        return rope  # done",
            ],
        )
    ]


@pytest.mark.parametrize(
    ("text", "suffix", "blocks"),
    [
        ("; where it listens\n[server]\nport = 8000\n", ".ini", ["where it listens", "    [server]\n    port = 8000"]),
        ("# where\nport: 8000\n\nname: x\n", ".yaml", ["where", "    port: 8000", "    name: x"]),
        ("/* How it\n * works. */\nint a;\n", ".c", ["How it works.", "    int a;"]),
        ('{"port": 8000}\n', ".json", ['    {"port": 8000}']),
        ("#!/bin/sh\n# Backs up.\nrsync a b\n", ".sh", ["/bin/sh Backs up.", "    rsync a b"]),
        ("The tide is high.\n", "", ["The tide is high."]),
    ],
)
def test_settings_and_programs_of_all_kinds(text, suffix, blocks):
    assert [block for _, found in said(text, suffix) for block in found] == blocks


def test_what_programs_write_for_programs_is_not_read():
    with pytest.raises(Unreadable, match="is machine-generated"):
        read("var a=1;" * 1_000, ".js")
    with pytest.raises(Unreadable, match="is code or data of more than 500,000 characters"):
        read("a = 1\n" * source.MAX_CHARACTERS, ".py")


@pytest.mark.parametrize("suffix", [".rst", ".adoc", ".org", ".csv", ".py", ".json", ".eml", ".ipynb", ""])
def test_what_is_not_text_says_so(suffix):
    with pytest.raises(Unreadable):
        read(b"\x7fELF\0\0\0\1" * 10, suffix)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("*a/_" * 10_000 + "\n" + "[[" * 10_000 + "\n" + "<2026-01-01 " * 10_000, ".org"),
        ("*a_`" * 10_000 + "\n" + "<<" * 10_000 + "\nxref:" * 10_000 + "\nxref:[" * 10_000, ".adoc"),
        ("`a" * 10_000 + "\n\n" + "*" * 10_000, ".rst"),
        ('"' * 10_001, ".csv"),
    ],
)
def test_marks_without_end_take_no_time(text, suffix):
    began = time.process_time()
    read(text, suffix)

    assert time.process_time() - began < 3
