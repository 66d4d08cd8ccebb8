"""Bytes become the text that their writer saw, whatever they are encoded in."""

import time

import pytest

from workers.reading.documents import decoding

GERMAN = "Größe und Höhe der Flut, für alle Häfen"
XML = '<?xml version="1.0" encoding="koi8-r"?>'
RUSSIAN = "Прилив приходит два раза в день, и лодки стоят у причала."


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Größe".encode(), "Größe"),
        ("\ufeffGröße".encode(), "Größe"),
        ("Größe".encode("utf-16"), "Größe"),
        ("Größe\nund mehr".encode("utf-16-le"), "Größe\nund mehr"),
        ("Größe".encode("utf-16-be"), "Größe"),
        (XML.encode() + RUSSIAN.encode("koi8-r"), XML + RUSSIAN),
        (b"one\r\ntwo\rthree\0", "one\ntwo\nthree"),
    ],
)
def test_what_says_its_encoding_is_read_in_it(data, expected):
    assert decoding.text_of(data) == expected


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        ("Le café est ouvert à neuf heures, été comme hiver. « Déjà vu »", "cp1252"),
        ("perché più città è così", "cp1252"),
        ("¿Cuándo abre el museo? Mañana, señor.", "cp1252"),
        ("Der Preis beträgt 5 €, „wie immer“ – sagt er.", "cp1252"),
        ("The opening hours of the café are 9 to 5. " * 30, "cp1252"),
        ("Zażółć gęślą jaźń, proszę przyjść później", "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        ("营业时间是早上九点到晚上六点。会议室在三楼。", "gbk"),
        ("会議室は三階にあります。予約は必要ありません。", "shift_jis"),
    ],
)
def test_undeclared_text_is_guessed_as_western(text, encoding):
    """What does not say it is guessed as a western text first."""
    assert decoding.text_of(text.encode(encoding)) == text


@pytest.mark.parametrize(("label", "encoding"), [("iso-8859-1", "cp1252"), ("gb2312", "gbk"), ("latin1", "cp1252")])
def test_labels_mean_what_the_web_means_by_them(label, encoding):
    """Encoding Standard, section 4.2: from a page, and from the outside."""
    text = "„Ärger“ – 5 €" if encoding == "cp1252" else "朱镕基"

    assert text in decoding.text_of(f'<meta charset="{label}">'.encode() + text.encode(encoding))
    assert decoding.text_of(text.encode(encoding), label) == text


def test_few_bad_bytes_do_not_change_decoding():
    """A few bad bytes do not make the text another."""
    assert decoding.text_of((GERMAN * 20).encode() + b" \xff\xfe bad").startswith(GERMAN)


def test_the_whole_file_decides():
    assert decoding.text_of(b"plain " * 20_000 + "Größe".encode("cp1252")).endswith("Größe")
    assert decoding.text_of(b"plain " * 20_000 + "Größe".encode()).endswith("Größe")


def test_an_encoding_that_nobody_knows_is_none():
    assert decoding.text_of("Größe".encode(), "klingon") == "Größe"


def test_binary_is_not_text():
    assert decoding.is_binary(b"\x7fELF\0\0\0\1\0\0")
    assert not decoding.is_binary("Größe und Höhe".encode("utf-16-le"))


@pytest.mark.parametrize("data", [b"\x80" * 1_000_000, b"a\xe9" * 1_000_000, b"<meta" * 200_000 + b"\xff"])
def test_time_is_linear(data):
    begin = time.process_time()
    decoding.text_of(data)

    assert time.process_time() - begin < 3
