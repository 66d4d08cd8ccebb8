"""Markdown in any of its dialects becomes plain text, by the conventions of documents."""

import time

import pytest

from workers.reading.formats import markdown

MARKDOWN = """---
title: "The harbour"
---
Before any heading.

# Mooring *boats*

Tie the `bowline` first,
then wait.

## What's new?

- one
- two

```sh
# not a heading
make fast
```

## What's new?

| knot | strength |
|------|----------|
| reef | weak     |
"""


def texts(text: str) -> list[str]:
    return [block.text for section in markdown.read(text).sections for block in section.blocks]


def test_markdown_has_githubs_anchors_and_plain_text():
    document = markdown.read(MARKDOWN)

    assert document.title == "The harbour"
    assert [(section.heading[-1:], section.anchor) for section in document.sections] == [
        ((), ""),
        (("Mooring boats",), "mooring-boats"),
        (("What's new?",), "whats-new"),
        (("What's new?",), "whats-new-1"),
    ]
    assert [block.text for block in document.sections[2].blocks] == [
        "- one",
        "- two",
        "    # not a heading\n    make fast",
    ]
    assert document.sections[3].blocks[-1].text == "reef | strength: weak"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("> [!TIP]\n> The spare key hangs behind the door.", ["Tip: The spare key hangs behind the door."]),
        ("> [!note]- On keys\n> They hang.", ["On keys: They hang."]),
        (":::tip\nIt hangs.\n:::", ["Tip: It hangs."]),
        (":::warning[Beware]\nIt is cold.\n:::", ["Beware: It is cold."]),
        ("::: columns\nIt is cold.\n:::", ["It is cold."]),
        ('!!! danger "Do not"\n    Never do this.\n\n    - Not once', ["Do not: Never do this.", "- Not once"]),
        ("!!! note\n    It hangs.", ["Note: It hangs."]),
        ("```{note}\nIt *hangs*.\n```", ["Note: It hangs."]),
        ("**Note**: It hangs.", ["Note: It hangs."]),
    ],
)
def test_notes_say_what_they_are(written, read):
    assert texts(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1. Open.\n2. Close.", ["1. Open.", "2. Close."]),
        ("3) Open.\n4) Close.", ["3. Open.", "4. Close."]),
        ("- One\n  - Two\n    1. Three\n- Four", ["- One", "  - Two", "    1. Three", "- Four"]),
        ("1. Run it:\n\n   ```\n   make\n   ```\n\n   Wait.", ["1. Run it:", "    make", "  Wait."]),
        ("- One.\n\n  More.\n- Two.", ["- One.\n  More.", "- Two."]),
        ("- [ ] Milk\n- [x] Tea", ["- \u2610 Milk", "- \u2611 Tea"]),
        (
            "There are three kinds of locks:\n- Padlocks\n- Others",
            ["There are three kinds of locks:", "- Padlocks", "- Others"],
        ),
        ("> Quoted\n> text.\n>\n> - item", ["Quoted text.", "- item"]),
        ("Term\n: Its explanation.", ["Term \u2014 Its explanation."]),
        ("    make\n\n    test", ["    make\n    test"]),
        ("1 Sea Road  \nPort Town", ["1 Sea Road\nPort Town"]),
    ],
)
def test_lists_quotes_and_code_keep_their_form(written, read):
    assert texts(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{% include nav.html %}\nThe {{ site.name }} harbour {: .big}", "The harbour"),
        ("{{< tip >}} The harbour {/* later */}", "The harbour"),
        ("import Tabs from '@theme/Tabs';\n\nThe harbour", "The harbour"),
        ("<Tabs>\n\nThe harbour\n\n</Tabs>", "The harbour"),
        ('<Accordion title="Where is it?">\nBehind.\n</Accordion>', "Where is it?\nBehind."),
        ("Run `{{ this }}` and {ref}`that`", "Run {{ this }} and that"),
        ("See [[Page|the page]] and [[Other#Part]]", "See the page and Other"),
        ("Said[^1] so.", "Said so."),
        ("[^1]: Because of the moon.", "Because of the moon."),
        ("10<sup>3</sup> m<sup>2</sup>", "10³ m²"),
        ("![](data:image/png;base64,AAAA)The harbour", "The harbour"),
        ("[![Build](https://x.org/b.svg)](https://x.org) The harbour", "The harbour"),
        ("Type cd <folder> and press <kbd>Enter</kbd>", "Type cd <folder> and press Enter"),
        ("<details><summary>Why?</summary>\n\nThe *moon*.\n\n</details>", "Why? The moon."),
        ("It costs ~~20~~ 15 euros", "It costs 15 euros"),
        ("<!-- hidden -->\n\nThe harbour", "The harbour"),
    ],
)
def test_what_only_programs_understand_is_no_text(written, read):
    assert " ".join(texts(written)) == read


@pytest.mark.parametrize(
    ("front", "title", "modified"),
    [
        ("---\ntitle: Tides\ndate: 2024-05-06\n---", "Tides", "2024-05-06"),
        (
            "---\ntitle: 'The sea: tides'\ndate: 2023-01-01\nlastmod: 2024-05-06T07:08:09Z\n---",
            "The sea: tides",
            "2024-05-06",
        ),
        ("---\ntitle: The sea: tides\n---", "The sea: tides", ""),
        ('+++\ntitle = "Tides"\ndate = 2024-05-06\n+++', "Tides", "2024-05-06"),
        ("---\n[broken\nkey: x\n---", "Boats", ""),
        ("---\n---", "Boats", ""),
    ],
)
def test_front_matter_gives_title_and_date(front, title, modified):
    """Front matter gives title and date and is no text."""
    document = markdown.read(f"{front}\n# Boats\n\nThey float.\n")

    assert (document.title, document.modified) == (title, modified)
    assert [block.text for block in document.sections[0].blocks] == ["They float."]


def test_a_text_between_two_lines_is_no_front_matter():
    assert texts("---\nThe tide is high.\n\n---\n\nThe end.") == ["The tide is high.", "The end."]


def test_headings_may_be_underlined_and_give_their_anchor_themselves():
    document = markdown.read("Tides\n=====\n\nRise.\n\nEbb {#out .x}\n---\n\nFalls.\n\n### Flood {/* #in */}\n\nComes.")

    assert [(each.heading, each.anchor) for each in document.sections] == [
        (("Tides",), "tides"),
        (("Tides", "Ebb"), "out"),
        (("Tides", "Ebb", "Flood"), "in"),
    ]


@pytest.mark.parametrize(
    "text",
    ["[" * 1_000_000, "*" * 1_000_000, "<" * 1_000_000, "." * 40_000, ">" * 100_000 + "x", "> " * 100_000 + "x"],
)
def test_time_is_linear(text):
    begin = time.process_time()
    markdown.read(text)

    assert time.process_time() - begin < 5
