"""What may be quoted from a passage, and what may not."""

from __future__ import annotations

import pytest

from workers.answering import prose, shapes, text, words


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
        "To rename the branch, use the option -m.",
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


def test_names_between_underscores_stay():
    """`__enter__` is a name, `__this is__` is bold."""
    assert quoted("It is entered here. The method __enter__() is called, and __this is__ bold.")[-1].endswith(
        "The method __enter__() is called, and this is bold."
    )


def test_links_and_roles_of_restructuredtext_are_their_text():
    """Addresses and the marks of roles are no words."""
    assert quoted("An `LRU cache <https://x.test/a_(b)>`_ works as :mod:`!cache` and :func:`~tools.cache` say.") == [
        "An LRU cache works as cache and tools.cache say."
    ]


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


@pytest.mark.parametrize(
    "statement",
    [
        "--amend \u2014 Replace the tip of the branch by creating a new commit.",
        "functools.cache() \u2014 Simple lightweight unbounded function cache.",
        "context manager \u2014 An object which controls the environment seen in a block.",
        "-l, --list \u2014 List tags.",
    ],
)
def test_what_a_list_explains_is_a_statement(statement):
    """The dash stands for the verb."""
    assert quoted(statement) == [statement]


def test_what_announces_code_is_quoted_with_it():
    """Neither says anything alone; a fence and reStructuredText's colons are code as well."""
    code = "ALTER TABLE products ADD COLUMN size integer;"
    said = f"To add a column, use a command like: {code}"

    assert quoted(f"To add a column, use a command like:\n\n    {code}\n\nIt is null.") == [said]
    assert quoted(f"To add a column, use a command like:\n```sql\n{code}\n```") == [said]
    assert quoted(f"To add a column, use a command like::\n\n    {code}") == [said]


def test_lines_of_code_are_told_apart():
    """On one line, the ends of the code's lines are still seen."""
    passage = "The simplest example of reading a file:\n\n    with open(name) as file:\n        print(file.read())"

    assert quoted(passage) == [
        "The simplest example of reading a file: with open(name) as file: \u23ce print(file.read())"
    ]


def test_code_that_leans_on_the_sentence_before_is_given_with_it():
    """ "This can be changed with" needs what "this" is; without it, it is left out."""
    code = "This can be changed with:\n\n    SET size = 3"

    assert quoted(f"The pool has two places. {code}")[1] == (
        "The pool has two places. This can be changed with: SET size = 3"
    )
    assert quoted(code) == []


@pytest.mark.parametrize(
    "code",
    ["    o--o--o--o <-- old head\n          \\\n", "    a = 1\n" * 7, f"    {'x' * 201}", "", "The pool is large."],
)
def test_what_announces_no_short_code_is_not_quoted(code):
    """Pictures and listings are no statement, and neither is what announces them."""
    assert "The pool is used like this:" not in " ".join(quoted(f"The pool is used like this:\n\n{code}"))


def test_what_a_page_of_a_manual_is_for_is_a_statement():
    """It has no full stop, and is all that stands under its heading."""
    assert quoted("git-gc - Cleanup unnecessary files") == ["git-gc \u2014 Cleanup unnecessary files."]


def test_a_definition_may_use_the_long_name():
    """ "What is WAL?" is answered by what defines its long name, and not by what WAL is by the way."""
    shape = shapes.shape("What is WAL?", {"wal": 1.0})

    defined = shape.bonus("Write-Ahead Logging (WAL) is a standard method for keeping data whole.")

    assert defined > shape.bonus("WAL is automatically enabled on every server.")


@pytest.mark.parametrize(
    ("asked", "answer", "other"),
    [
        (
            "What does git commit --amend do?",
            "--amend \u2014 Replace the tip.",
            "--no-edit \u2014 Use --amend as it is.",
        ),
        ("What does os.path.join do?", "join() \u2014 Join paths.", "os.path.split() \u2014 Undoes os.path.join()."),
        ("What does work_mem set?", "work_mem \u2014 Sets the memory.", "hash_mem \u2014 Sets a share of work_mem."),
        ("What does the VACUUM command do?", "VACUUM reclaims storage.", "VACUUM commands are slow."),
        ("How do I list tags?", "-l \u2014 List tags.", "--format \u2014 A string for each tag of the list."),
        (
            "How do I create a user?",
            "CREATE USER \u2014 define a role.",
            "Any user \u2014 a role that may create tables.",
        ),
        ("How do I add a column?", "To add a column, alter the table.", "Added columns are empty in the table."),
    ],
)
def test_the_answer_begins_with_what_was_asked_for(asked, answer, other):
    """What a thing does is said of the thing; how to do something begins with doing it."""
    shape = shapes.shape(asked, {})

    assert shape.bonus(answer) > shape.bonus(other)
