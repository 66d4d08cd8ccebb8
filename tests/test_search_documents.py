"""Files become titled documents with sections, anchors and readable text, whatever their format and encoding."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from workers.language.sentences import sentences
from workers.language.words import count
from workers.reading import files, opened
from workers.reading.document import PASSAGE_WORDS, Block, Document, Section, passages


def test_long_sections_are_cut_into_parts_of_like_length_at_block_ends():
    blocks = tuple(Block(f"Sentence {number} says that the tide is high again today." * 4) for number in range(40))

    parts = list(passages(Document("t", (Section(("t",), "", blocks),))))

    sizes = [len(part.text.split()) for part in parts]
    assert len(parts) == -(-sum(sizes) // PASSAGE_WORDS)
    assert max(sizes) <= PASSAGE_WORDS * 1.15
    assert max(sizes) - min(sizes) <= 80
    assert "\n\n".join(part.text for part in parts) == "\n\n".join(block.text for block in blocks)


@pytest.mark.parametrize("text", ["word " * 3_000, "w" * 100_000, "A sentence. " * 1_000, "    code()\n" * 2_000])
def test_a_block_longer_than_a_passage_is_cut(text):
    parts = list(passages(Document("t", (Section((), "", (Block(text),)),))))

    assert max(len(part.text.split()) for part in parts) <= PASSAGE_WORDS * 1.15
    assert "".join("".join(part.text for part in parts).split()) == "".join(text.split())


def test_abbreviations_do_not_end_a_sentence():
    said = sentences("See e.g. Dr. Moon. He wrote (in 1988) of tides! Did he? Yes.")

    assert said == ["See e.g. Dr. Moon.", "He wrote (in 1988) of tides!", "Did he?", "Yes."]


def test_pdf_pages_are_sections(tmp_path):
    (tmp_path / "tide.pdf").write_bytes(_pdf("The tide is high today."))
    (tmp_path / "empty.pdf").write_bytes(_pdf(""))
    (tmp_path / "locked.pdf").write_bytes(_pdf("Secret.", password="p"))
    (tmp_path / "broken.pdf").write_bytes(_pdf("The tide is high today.")[:200])

    read = {file.path: opened.opened(file.where, file.path).document for file in files.look(tmp_path).files}

    assert [(each.heading, each.anchor) for each in read["tide.pdf"].sections] == [(("Page 1",), "page=1")]
    assert read["tide.pdf"].sections[0].blocks[0].text == "The tide is high today."
    assert read["empty.pdf"].note == "has no text in it (a scan?)"
    assert read["locked.pdf"].note == "is encrypted"
    assert "broken PDF" in read["broken.pdf"].note


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.md", {"a.md"}),
        ("sub", {"sub/a.md", "sub/deep/b.txt"}),
        ("sub/", {"sub/a.md", "sub/deep/b.txt"}),
        ("*.md", {"a.md", "sub/a.md"}),
        ("sub/**/*.txt", {"sub/deep/b.txt"}),
        ("**/a.md", {"a.md", "sub/a.md"}),
        ("none/*", set()),
    ],
)
def test_documents_are_chosen_by_file_folder_or_glob(pattern, expected):
    assert set(files.matching(["a.md", "sub/a.md", "sub/deep/b.txt"], pattern)) == expected


def test_unreadable_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        files.look(tmp_path / "none")


def _pdf(text: str, password: str = "") -> bytes:
    writer = PdfWriter()
    page = writer.add_blank_page(300, 300)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    content = DecodedStreamObject()
    content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
    page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    "text", ["漢" * 5_000, "漢字。" * 2_000, "word " * 3_000, "x" * 100_000, "    " + "code = 1\n    " * 900]
)
def test_passages_are_short_in_every_script(text):
    """Two characters of a script without spaces are a word, and what has no words is cut all the same."""
    found = list(passages(Document("Long", (Section((), "", (Block(text),)),))))

    assert all(len(each.text) <= 10_000 and count(each.text) <= 1.5 * PASSAGE_WORDS for each in found)
    assert "".join("".join(each.text for each in found).split()) == "".join(text.split())


def test_passages_have_one_spelling():
    [found] = passages(Document("Long", (Section(("O\ufb03ce",), "", (Block("re\u00adstart \uff21"),)),)))

    assert (found.heading, found.text) == ("Office", "restart A")
