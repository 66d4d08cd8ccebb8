"""One way from text to words, for documents, questions and units of answers."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.language.languages import language_of
from workers.language.questions import content
from workers.language.words import terms


def asked(question: str, *others: str) -> list[str]:
    return [word.text for word in content(question, language_of(question), others)]


def held(question: str, text: str, language: str = "en") -> list[str]:
    """The words of the question that a text in `language` has."""
    there = set(terms(text, language))
    return [word.text for word in content(question, language_of(question), [language]) if word.held(there)]


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("How do I restart the printer?", "en"),
        ("C and D", "en"),
        ("Wie lege ich einen Benutzer an?", "de"),
        ("Wann öffnet das Büro?", "de"),
        ("¿Cómo creo un usuario?", "es"),
        ("como creo un usuario", "es"),
        ("Où se trouve la clé ?", "fr"),
        ("Come faccio un backup?", "it"),
        ("Como faço um backup?", "pt"),
        ("Hoe maak ik een back-up?", "nl"),
        ("Hur tar jag en säkerhetskopia?", "sv"),
        ("Hvad koster det, og hvornår?", "da"),
        ("Hva koster det, og hvor mye?", "no"),
        ("Miten teen varmuuskopion?", "fi"),
        ("Jak zrobić kopię zapasową?", "pl"),
        ("Jak zálohuji databázi?", "cs"),
        ("Yedek nasıl alınır?", "tr"),
        ("Hogyan készítek mentést?", "hu"),
        ("Cum fac o copie de rezervă?", "ro"),
        ("Как сделать резервную копию?", "ru"),
        ("Як зробити резервну копію?", "uk"),
        ("营业时间是什么？", "zh"),
        ("Docker 容器怎么启动？", "zh"),
        ("会議室はどこですか", "ja"),
        ("서버를 어떻게 시작하나요?", "ko"),
        ("uv lock", ""),
        ("MAX_TASKS", ""),
        ("restart printer", ""),
        ("", ""),
    ],
)
def test_short_questions_tell_their_language_or_nothing(question, language):
    assert language_of(question) == language


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("read-only", ["read", "onli", "readon"]),
        ("MAX_TASKS", ["max", "task", "maxtask"]),
        ("maxTasks", ["max", "task", "maxtask"]),
        ("GitHub", ["github"]),
        ("FileNotFoundError", ["file", "not", "found", "error", "filenotfounderror"]),
        ("--since", ["sinc", "--since"]),
        ("-q, --quiet", ["-q", "quiet", "--quiet"]),
        ("E404", ["e404"]),
        ("3.11 v3.11", ["3.11", "3.11"]),
        ("python3.11", ["python", "3.11", "python3.11"]),
        ("utf8 UTF-8", ["utf", "8", "utf8", "utf", "8", "utf8"]),
        ("5GB", ["5", "gb", "5gb"]),
        ("1,000 items", ["1000", "item"]),
        ("C, C++ and C#", ["c", "c++", "and", "c#"]),
        ("Straße, Øre, łódź", ["strasse", "ore", "lodz"]),
        ("the printer's", ["the", "printer"]),
        ("word¹ 10³", ["word", "10"]),
        ("__init__", ["init"]),
        ("三階です", ["三", "階", "三階", "階で", "です"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_names_stand_whole_and_in_parts(text, found):
    assert terms(text, "en") == found


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "retries", "retry"),
        ("de", "Häuser", "Haus"),
        ("de", "Überwachung", "Ueberwachung"),
        ("fr", "sauvegardes", "sauvegarder"),
        ("es", "copias", "copia"),
        ("ru", "копии", "копия"),
        ("cs", "databázi", "databáze"),
    ],
)
def test_forms_of_a_word_are_one_term(language, one, other):
    assert terms(one, language) == terms(other, language)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How is the backup restored?", ["backup", "restored"]),
        ("What is it?", ["What", "is", "it"]),
        ("What does the with statement do?", ["with", "statement"]),
        ("What does `not` do?", ["not"]),
        ("What does the other option do?", ["option"]),
        ("How does IT order laptops?", ["IT", "order", "laptops"]),
        ("What is the difference between C and D?", ["difference", "C", "D"]),
        ("Wie lege ich einen Benutzer an?", ["lege", "Benutzer"]),
        ("营业时间是什么？", ["营业", "业时", "时间"]),
        ("会議室はどこですか", ["会議", "議室"]),
        ("会议室在哪里？", ["会议", "议室"]),
        ("退款需要多少天", ["退款", "天"]),
        ("서버를 어떻게 시작하나요?", ["서버", "시작하나요"]),
        ("De quelles façons peut-on le faire ?", ["façons"]),
        ("?!", []),
    ],
)
def test_a_question_is_asked_by_the_words_that_count(question, words):
    assert asked(question) == words


@pytest.mark.parametrize(
    ("question", "text", "language"),
    [
        ("read-only mode", "The file system is read only in this mode.", "en"),
        ("What is max_tasks?", "maxTasks limits them.", "en"),
        ("lock file", "The lockfile pins them.", "en"),
        ("How do I back up?", "A backup is made at night.", "en"),
        ("Which timeout?", "It times out after a minute.", "en"),
        ("Wie lege ich einen Benutzer an?", "Einen Benutzer anlegen", "de"),
        ("Where does Nextcloud store files?", "Nextcloud speichert alle Files dort.", "de"),
        ("会議室はどこですか", "会議室は三階にあります。", "ja"),
        ("서버를 시작", "서버가 시작됩니다", "ko"),
    ],
)
def test_text_holds_a_word_in_any_form(question, text, language):
    """A text holds a word in any of its forms."""
    assert held(question, text, language)


def test_stems_are_right_in_every_thread():
    """A stemmer keeps the word in itself; two threads would cut each other's."""
    text = " ".join(f"searching{letter}s connected{letter}ing" for letter in "abcdefghijklmnopqrstuvwxyz") * 20
    expected = terms(text, "fi")
    with ThreadPoolExecutor(4) as threads:
        assert set(map(tuple, threads.map(terms, [text] * 8, ["fi"] * 8))) == {tuple(expected)}


@pytest.mark.parametrize("piece", ["1", "1.", "1,000,", ",000", "a-", "aB", "v1", "a1."])
def test_words_are_found_in_linear_time(piece):
    """The digits of pi are a text, too."""
    began = time.process_time()
    terms(piece * (100_000 // len(piece)), "en")

    assert time.process_time() - began < 2
