"""Files become titled documents with sections, anchors and readable text, whatever their format and encoding."""

from __future__ import annotations

import pytest

from workers.language.sentences import sentences
from workers.reading import files
from workers.reading.documents.document import PASSAGE_WORDS, Document, DocumentBlock, DocumentSection, passages


def test_long_sections_split_evenly_at_block_ends():
    """Long sections are cut into parts of like length at block ends."""
    blocks = tuple(
        DocumentBlock(f"Sentence {number} says that the tide is high again today." * 4) for number in range(40)
    )

    parts = list(passages(Document("t", (DocumentSection(("t",), "", blocks),))))

    sizes = [len(part.text.split()) for part in parts]
    assert len(parts) == -(-sum(sizes) // PASSAGE_WORDS)
    assert max(sizes) <= PASSAGE_WORDS * 1.15
    assert max(sizes) - min(sizes) <= 80
    assert "\n\n".join(part.text for part in parts) == "\n\n".join(block.text for block in blocks)


@pytest.mark.parametrize("text", ["word " * 3_000, "w" * 100_000, "A sentence. " * 1_000, "    code()\n" * 2_000])
def test_a_block_longer_than_a_passage_is_cut(text):
    parts = list(passages(Document("t", (DocumentSection((), "", (DocumentBlock(text),)),))))

    assert max(len(part.text.split()) for part in parts) <= PASSAGE_WORDS * 1.15
    assert "".join("".join(part.text for part in parts).split()) == "".join(text.split())


def test_abbreviations_do_not_end_a_sentence():
    said = sentences("See e.g. Dr. Moon. He wrote (in 1988) of tides! Did he? Yes.")

    assert said == ["See e.g. Dr. Moon.", "He wrote (in 1988) of tides!", "Did he?", "Yes."]


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
