"""What may be quoted from a passage, and what may not."""

from __future__ import annotations

import pytest

from workers import prose, shapes, text, words


def quoted(passage: str) -> list[str]:
    return [sentence.text for sentence in text.sentences(passage)]


@pytest.mark.parametrize(
    "junk",
    [
        "# The default timeout is 30 seconds.",
        "```\nThe timeout is set here.\n```",
        "    timeout = connect(30)\n    return timeout;",
        "| option | the default is 30 seconds. |",
        "The following list",
        "and the rest of the sentence is here.",
        "See also the chapter on timeouts.",
        "Table of contents is shown here.",
        "How long is the default timeout?",
        "The number of lines in the file.",
        "The number of lines read from the source.",
        "The order of settings in files.",
        "A table of task names.",
        "Agent settings and their defaults.",
        "A read-only description of the dialect.",
        "The function takes the arguments (host, port.",
        "The server is started as follows:",
        "The timeout is described in the documenta...",
    ],
)
def test_what_is_no_statement_is_not_quoted(junk):
    """Headings, code, tables, fragments, questions and navigation are never quoted."""
    assert quoted(junk) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "The default timeout is 30 seconds.",
        "asyncio.run() starts the event loop.",
        "When a task is cancelled, asyncio.CancelledError is raised in the task at the next opportunity.",
        "The index takes approx. 3.5 MB, i.e. four pages.",
        "Children under six travel free of charge.",
        "It takes three weeks from the egg to the bee.",
        "The largest message that the broker accepts is 1 MiB.",
        "A lease lasts 6 seconds.",
        "Each worker renews it.",
        "A worker renews leases quickly.",
        "Workers renew the lease every 2 seconds.",
        "After six seconds of silence, the lease lapses.",
        "The report comes in these formats: Markdown (the default), HTML and JSON.",
    ],
)
def test_a_whole_statement_is_quoted_as_it_stands(sentence):
    """Dots in names, numbers and abbreviations end no sentence."""
    assert quoted(f"Some words come first in the text. {sentence} Other words come after it here.")[1] == sentence


def test_a_sentence_may_begin_with_a_command():
    """A command or name in small letters after a full stop begins a sentence of its own; an abbreviation ends none."""
    found = quoted("Set the folder and start Muster. make demo asks one question, e.g. the default. etcd is not used.")

    assert found == [
        "Set the folder and start Muster.",
        "make demo asks one question, e.g. the default.",
        "etcd is not used.",
    ]


def test_a_sentence_that_leans_on_another_is_given_with_it():
    """ "This" and "however" at the start need what came before."""
    found = quoted("The queue is bounded to ten items. However, it can be enlarged by the caller.")

    assert found[1] == "The queue is bounded to ten items. However, it can be enlarged by the caller."


@pytest.mark.parametrize("start", ["This method", "It", "However, the pool", "In that case the pool", "The latter"])
def test_a_sentence_that_leans_on_nothing_is_left_out(start):
    """Without the sentence before, nobody knows what "this" is."""
    assert quoted(f"{start} blocks the whole thread.") == []


def test_marks_are_taken_off():
    """Markdown, reStructuredText and HTML marks, and pilcrows, are no part of a statement."""
    passage = "The **default** of `timeout`\u00b6 is [30 s](http://x.test/a) in :func:`wait` &amp; <b>elsewhere</b>."

    assert quoted(passage) == ["The default of timeout is 30 s in wait & elsewhere."]


def test_placeholders_in_angle_brackets_stay():
    """ "<commit>" in a command is no HTML tag."""
    assert quoted("The command git reset <commit> moves the branch.") == [
        "The command git reset <commit> moves the branch."
    ]


def test_wrapped_lines_are_one_paragraph_and_items_are_their_own():
    """Lines that an editor wrapped belong together; each list item is a block."""
    assert list(prose.blocks("one\ntwo\n\n- three\n  four\n- five")) == ["one two", "three four", "five"]


def test_other_languages_are_quoted_without_the_rules_on_english_verbs():
    """A German sentence is kept, though no English verb is in it."""
    german = "Der Zeitraum beträgt dreißig Tage und beginnt mit der Anmeldung."

    assert quoted(german) == [german]


def test_words_of_one_stem_are_the_same_term():
    """Inflections meet; grammar carries nothing; identifiers fall into their parts."""
    assert words.terms("The retries were retried") == ["retri", "retri"]
    assert words.terms("urllib.request") == ["urllib", "request"]
    assert words.terms("URLopener urlopen") == ["urlopener", "urlopen"]


def test_what_a_list_of_terms_explains_is_joined_to_its_explanation():
    """AsciiDoc's marks are taken away, and a question that a list answers is not repeated."""
    passage = "-d:: --delete:: Delete a branch, which must be merged.\n\nHow do I undo it?:: The usual way is a revert."

    said = [one.text for one in text.sentences(passage)]

    assert said == ["-d, --delete \u2014 Delete a branch, which must be merged.", "The usual way is a revert."]


def test_a_definition_may_use_the_long_name():
    """ "What is WAL?" is answered by what defines its long name, and not by what WAL is by the way."""
    shape = shapes.shape("What is WAL?", {"wal": 1.0})

    defined = shape.bonus("Write-Ahead Logging (WAL) is a standard method for keeping data whole.")

    assert defined > shape.bonus("WAL is automatically enabled on every server.")
