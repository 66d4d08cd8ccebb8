"""What a reader sees first, and what not twice: the answer or the admission, then the rest, and where each stands."""

from __future__ import annotations

import pytest
from lxml import html as lxml_html

from shared import rendering
from shared.rendering.links import source_link
from shared.rendering.marks import marker
from shared.rendering.passage import ShownPassage
from shared.report.model import ADMITTED, AskedWord, Cited, NumberedSource, Report, Section

WORDS = [AskedWord(word="backups", weight=2, passages=3), AskedWord(word="kept", weight=1, passages=9)]
SOURCES = [
    NumberedSource(
        id="a",
        number=1,
        title="Handbook",
        heading="Backups › Retention",
        location="handbook.md",
        modified="2026-05-03",
        excerpt="Backups are kept for 30 days.",
        provider="local",
    ),
    NumberedSource(id="b", number=2, title="Notes", location="https://a.test/n", language="en"),
]
ANSWER = Cited(statement="Backups are kept for 30 days.", citations=[1])
MORE = Cited(statement="A backup of a test is kept for 7 days.", citations=[2])


def answered(**fields) -> Report:
    """A report with an answer, one passage more, and two sources."""
    more = Section(title="More from these documents", findings=[MORE])
    return Report(
        **{
            "title": "How long are backups kept?",
            "question": "How long are backups kept?",
            "answered": True,
            "words": WORDS,
            "summary": [ANSWER],
            "sections": [more],
            "sources": SOURCES,
        }
        | fields
    )


def tree(report: Report):
    return lxml_html.document_fromstring(rendering.to_html(report, source_link("sources/")))


def words(element) -> str:
    return " ".join(element.text_content().split())


def test_the_answer_stands_first_with_the_questions_words_marked():
    answer = tree(answered()).xpath("//main/*[2]")[0]

    assert answer.get("class") == "answer"
    assert [mark.text for mark in answer.iter("mark")] == ["Backups", "kept"]


def test_a_passage_names_its_place_and_opens_it():
    """Document, headings and date, above the text; the link leads to the passage in its place."""
    where = tree(answered()).xpath("//section[@class='answer']//p[@class='where']")[0]

    assert words(where) == "Handbook › Backups › Retention 3 May 2026 1"
    assert [a.get("href") for a in where.iter("a")] == ["sources/1", "#source-1"]


def test_no_sentence_stands_twice():
    """Neither in another section nor as the excerpt of its source."""
    again = Section(title="Again", findings=[ANSWER.model_copy(update={"citations": [1, 2]})])
    report = answered(sections=[again])

    assert words(tree(report)).count("kept for 30 days") == 1
    assert rendering.to_markdown(report).count("kept for 30 days") == 1
    assert "Again" not in words(tree(report))


@pytest.mark.parametrize("machinery", ["strong support", "disputed", "term", "local", "0.9"])
def test_no_machinery_is_shown(machinery):
    support = ANSWER.model_copy(update={"support": "strong support"})
    report = answered(summary=[support], key_terms=["term"], confidence=0.9)

    assert machinery not in words(tree(report).find("body"))
    assert machinery not in rendering.to_markdown(report)


def test_each_part_of_a_question_has_its_answer():
    parts = [
        ANSWER.model_copy(update={"question": "How long?"}),
        MORE.model_copy(update={"question": "And tests? (backups)"}),
    ]
    report = answered(summary=parts, sections=[])

    assert [h.text for h in tree(report).iter("h2")][:2] == ["How long?", "And tests?"]
    assert "**And tests?**\n\nA backup of a test" in rendering.to_markdown(report)


def test_unanswered_part_is_stated_beside_the_answer():
    """A part that nothing answers is said beside the answer."""
    gap = Cited(statement="Your documents do not seem to answer “And tests?”.", citations=[])
    page = tree(answered(summary=[ANSWER, gap]))

    assert words(page.xpath("//p[@class='gap']")[0]) == gap.statement


def admitted(**fields) -> Report:
    nearest = Section(title="Nearest passages", findings=[ANSWER])
    absent = AskedWord(word="Norway", weight=3)
    said = Cited(statement=f"{ADMITTED}.", citations=[])
    return answered(**{"answered": False, "summary": [said], "sections": [nearest], "words": [*WORDS, absent]} | fields)


def test_an_admission_comes_before_everything():
    """It is a notice that names what no document has; what follows is called what it is."""
    page = tree(admitted())
    notice = page.xpath("//main/*[2]")[0]

    assert notice.get("class") == "notice"
    assert words(notice) == f"{ADMITTED}. No document has Norway."
    assert [h.text for h in page.iter("h2")][:1] == ["Nearest passages"]
    assert rendering.answer_to_markdown(admitted()).startswith(f"**{ADMITTED}.**\n\nNo document has *Norway*.")


def test_admission_states_its_words_once():
    """An admission that names the words itself says them once."""
    said = Cited(statement=f"{ADMITTED}: nobody mentions Norway.", citations=[])

    assert words(tree(admitted(summary=[said]))).count("Norway") == 1


def test_nearest_pages_are_named_without_an_answer():
    """With what was searched, the spelling, and what was left out."""
    spelled = AskedWord(word="fierwall", searched="firewall", weight=1, passages=2)
    report = admitted(
        summary=[], sections=[], words=[spelled], searched=["6 files in net"], notes=["Not read: old.doc (unknown)."]
    )
    page = words(tree(report))

    assert f"{ADMITTED}. Searched: 6 files in net" in page
    assert page.count("6 files in net") == 1
    assert "Searched for firewall instead of “fierwall”." in page
    assert "Nearest pages Handbook" in page
    assert "Not read: old.doc (unknown)." in page
    assert "Searched for *firewall* instead of “fierwall”." in rendering.to_markdown(report)


def test_models_report_cites_in_line():
    """A report of a model's own words cites them in their line."""
    report = answered(written=True, summary=[ANSWER.model_copy(update={"citations": [1, 2]})])

    assert "30 days. [1](#source-1) [2](#source-2)" in rendering.to_markdown(report)
    assert words(tree(report).xpath("//section[@class='answer']")[0]) == "Backups are kept for 30 days.12"


def test_a_report_that_was_stored_before_still_renders():
    """With what it says about agreement, and without answers, words and dates."""
    old = {
        "title": "T",
        "question": "Q",
        "summary": [{"statement": "It is 30.", "citations": [1], "support": "strong support"}],
        "agreements": [{"statement": "Both say 30.", "citations": [1]}],
        "contradictions": [{"about": "it", "sides": [{"statement": "It is 31.", "evidence": ["a"]}], "why": "30, 31"}],
        "key_terms": ["thirty"],
        "sources": [{"id": "a", "number": 1, "title": "D", "location": "d.md", "provider": "local"}],
    }
    report = Report.model_validate(old)

    for shown in (rendering.to_markdown(report), words(tree(report))):
        for said in ("It is 30.", "Both say 30.", "It is 31.", "d.md"):
            assert said in shown


@pytest.mark.parametrize("date", ["", "yesterday", "2026-13-01", "0"])
def test_a_date_that_cannot_be_read_is_not_shown(date):
    sources = [SOURCES[0].model_copy(update={"modified": date})]

    assert not list(tree(answered(sources=sources)).iter("time"))


@pytest.mark.parametrize(
    ("asked", "text", "marks"),
    [
        ("backup", "Backups and a backup", ["Backups", "backup"]),
        ("renewing", "It renews a renewal.", ["renews", "renewal"]),
        ("Sicherungen", "eine Sicherung, sicher", ["Sicherung"]),
        ("Bücher", "ein Buch, das Buch", ["Buch", "Buch"]),
        ("read-only", "read only, readonly, READ_ONLY; I read", ["read only", "readonly", "READ_ONLY"]),
        ("MAX_TASKS", "max_tasks, tasks", ["max_tasks"]),
        ("--since", "the option --since=TIME", ["since"]),
        ("C", "C and D, can", ["C"]),
        ("营业", "营业时间", ["营业"]),
        ("server", "The service has servers.", ["servers"]),
        ("international", "internal", []),
    ],
)
def test_words_are_marked_in_their_other_forms_too(asked, text, marks):
    pieces = marker([AskedWord(word=asked)])(text)

    assert [piece for piece, is_marked in pieces if is_marked] == marks
    assert "".join(piece for piece, _ in pieces) == text


def test_the_spelling_that_was_searched_is_marked():
    pieces = marker([AskedWord(word="fierwall", searched="firewall")])("A firewall.")

    assert ("firewall", True) in pieces


def test_a_passage_stands_between_what_comes_before_and_after():
    place = ShownPassage(
        SOURCES[0], "Kept 30 days.", "Made at night.", "Then deleted.", "It has changed.", "How?", WORDS
    )
    page = lxml_html.document_fromstring(rendering.passage_to_html(place, back="../report.html"))

    assert [words(s) for s in page.iter("section")] == [
        "It has changed.",
        "Made at night.",
        "Kept 30 days.",
        "Then deleted.",
    ]
    assert page.xpath("//a[@href='../report.html']")[0].text == "← How?"
    assert [mark.text for mark in page.iter("mark")] == ["Kept"]
    assert "Made at night.\n\n---\n\nKept 30 days.\n\n---\n\nThen deleted." in rendering.passage_to_markdown(place)
