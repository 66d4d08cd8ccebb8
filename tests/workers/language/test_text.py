"""Documents and questions are spelled in one way, and what is shown stays what it was."""

import pytest

from workers.language.text import normalize


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("o\ufb03ce \ufb01le", "office file"),
        ("Grö\u00dfe Gro\u0308\u00dfe", "Größe Größe"),
        ("Donau\u00addampf zero\u200bwidth \ufeffmark", "Donaudampf zerowidth mark"),
        ("ＡＢＣ１２３　ｶﾞｲﾄﾞ", "ABC123 ガイド"),
        ("10\u00a0km", "10 km"),
        ("10³ cm², 2½ cups, H₂O, 5 ™", "10³ cm², 2½ cups, H₂O, 5 ™"),
        ("营业时间，是什么？九点。", "营业时间，是什么？九点。"),
        ("👩\u200d🔧 mends", "👩\u200d🔧 mends"),
    ],
)
def test_one_spelling(written, read):
    assert normalize(written) == read
