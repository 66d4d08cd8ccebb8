"""The sets in tests/quality are well formed; scores give a right answer its marks, and a wrong one none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quality import formats, scoring, sets, tables
from tests.quality.scoring import Answer, Marks
from tests.quality.sets import Question

SETS = sets.every()
KEPT = Question("q", "How long are backups kept?", "fact", "en", "dev", ("backups.md",), (("30 days", "a month"),))
BOTH = Question("q", "How long, and where?", "two parts", "en", "dev", ("backups.md",), (("30 days",), ("the box",)))
ABSENT = Question("q", "Do you ship to Norway?", "absent", "en", "dev")


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_a_set_is_well_formed(one):
    """Every question is new, of a known kind, and has a page and phrases, or is one that has no answer."""
    assert one.packages or (sets.NOTES / one.notes).is_dir()
    assert all(len(package.sha256) == 64 for package in one.packages)
    assert len({question.ask for question in one.questions}) == len(one.questions) >= 16
    for question in one.questions:
        assert question.kind in sets.KINDS, question
        assert bool(question.pages) is bool(question.keys) is not question.absent, question
        assert all(any(char.isalnum() for char in key) for group in question.keys for key in group), question
        assert question.kind != "two parts" or len(question.keys) > 1, question


def test_the_sets_hold_enough_questions_of_both_halves():
    questions = [question for one in SETS for question in one.questions]

    assert len({question.id for question in questions}) == len(questions)
    assert {question.split for question in questions} == {"dev", "held"}
    assert 0.07 < sum(question.absent for question in questions) / len(questions) < 0.15


def test_notes_hold_the_answers_about_them(tmp_path):
    """Where our own notes are the documents, each answer stands in one of its pages, or in several together."""
    for one in SETS:
        if one.packages or not one.notes:
            continue
        formats.write(sets.NOTES / one.notes, tmp_path / one.name)
        for question in one.questions:
            paths = [tmp_path / one.name / page for page in question.pages]
            assert all(path.is_file() for path in paths), question
            texts = [path.read_text(encoding="utf-8") for path in paths if path.suffix not in formats.MAKERS]
            if len(texts) == len(paths) and not question.absent:
                assert scoring.holds("\n".join(texts), question.keys), question


def test_the_right_answer_gets_every_mark():
    told = Answer(("We keep backups for **30\n days**.",), (), ("backups.md#backups",), ("kept for 30 days",))

    assert scoring.marks(KEPT, told) == Marks(
        first=True, shown=True, document_first=True, document_in_three=True, retrieved=True
    )


def test_a_wrong_answer_gets_no_mark():
    told = Answer(("We keep bees.",), ("130 days of rain.",), ("bees.md", "rain.md"), ("Bees.",))

    assert scoring.marks(KEPT, told) == Marks()


def test_lower_answer_counts_as_shown_not_first():
    """An answer below the first is shown but not first."""
    told = Answer(("We keep bees.",), ("We keep backups for a month.",), ("bees.md", "backups.md"), ())

    assert scoring.marks(KEPT, told) == Marks(shown=True, document_in_three=True)


def test_what_stands_too_far_down_is_not_shown():
    told = Answer(("x" * 700 + " 30 days",), (), (), ())

    assert scoring.marks(KEPT, told) == Marks(shown=True)
    assert scoring.marks(KEPT, Answer(("x" * 1_600 + " 30 days",))) == Marks()


def test_one_of_two_parts_is_no_answer():
    assert scoring.marks(BOTH, Answer(("They are kept for 30 days.",))) == Marks()
    assert scoring.marks(BOTH, Answer(("They are kept for 30 days, on the box.",))).first


@pytest.mark.parametrize(
    "told",
    [
        Answer(),
        Answer(("Nothing was found that answers this question.",)),
        Answer(("Your documents do not seem to answer this; no document mentions: Norway.",)),
        Answer(("A recipe for 30 days.",), answered=False),
    ],
)
def test_admission_is_right_only_without_an_answer(told):
    """An admission is right only where the documents do not answer."""
    assert scoring.marks(ABSENT, told) == Marks(admitted=True)
    assert scoring.marks(KEPT, told) == Marks(wrong_nothing=True)


def test_noise_instead_of_an_admission_gets_no_mark():
    assert scoring.marks(ABSENT, Answer(("Ship the soup to the table.",), answered=True)) == Marks()


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("seven connections", "there are _seven_\n   connec‐\n   tions", True),
        ("--dry-run", "use --dry-\n   run", True),
        ("30 days", "130 days", False),
        ("port 80", "port 8080", False),
        ("早上九点", "营业时间是早上九点到晚上六点。", True),
        ("Röntgen", "die RÖNTGENSTRAHLEN", True),
        ("old", "cold", False),
    ],
)
def test_phrases_match_despite_case_and_markup(phrase, text, found):
    """Phrases are found whatever their case markup and line ends."""
    assert scoring.holds(text, [[phrase]]) is found


def test_the_tables_count_answerable_and_absent_questions_apart():
    """Where there is a run before, each figure stands beside the one of that run."""
    absent = tables.Result("notes", ABSENT, Answer(), Marks(admitted=True))
    run = tables.Run((tables.Result("notes", KEPT, Answer(), Marks(first=True, shown=True)), absent), {"notes": 2.0})
    before = tables.Run((tables.Result("notes", KEPT, Answer(), Marks()), absent), {"notes": 3.0})

    assert "| notes | 1 | 1 | 1 | 0 | 0 | 0 | 0 | 1 of 1 |" in tables.figures(run)
    assert "| notes | 1 | 0 → 1 | 0 → 1 | 0 → 0 | 0 → 0 | 0 → 0 | 0 → 0 | 1 → 1 of 1 |" in tables.figures(run, before)
    assert "| notes | 0.00 → 0.00 | 0.00 → 0.00 | 3.0 → 2.0 |" in tables.figures(run, before)


def test_office_files_are_made_of_notes(tmp_path):
    """`letter.docx.md` becomes `letter.docx`, a zip; other notes are copied as they are."""
    notes, folder = tmp_path / "notes", tmp_path / "folder"
    notes.mkdir()
    (notes / "letter.docx.md").write_text("# A letter\n\n- one & two\n")
    (notes / "plain.md").write_text("# Plain\n")

    formats.write(notes, folder)

    assert sorted(path.name for path in folder.iterdir()) == ["letter.docx", "plain.md"]
    assert Path(folder / "letter.docx").read_bytes().startswith(b"PK")
