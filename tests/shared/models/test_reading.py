"""What a model has written is made use of: thoughts aside, shapes found in whatever stands around them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from shared.models.reading import parse_reply
from shared.models.servers.thoughts import Speech
from shared.models.shapes import example, response_format


class Found(BaseModel):
    statement: str
    sources: list[str]


class Answer(BaseModel):
    """What the tests ask for."""

    title: str = ""
    findings: list[Found] = Field(max_length=500)


ONE = {"statement": 'Use {} or "[x]".', "sources": ["p1.2"]}
TWO = {"statement": "The moon\npulls.", "sources": ["p1.1", "p2.3"]}
WHOLE = json.dumps({"title": "Tides", "findings": [ONE, TWO]})


def statements(text: str) -> list[str] | None:
    found = parse_reply(text, Answer)
    return None if found is None else [f.statement for f in found[0].findings]


# --- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"Sure! Here is it:\n{WHOLE}\nI hope {{this}} helps.",
        f'{{"properties": {WHOLE}, "required": ["findings"]}}',
        f'{{"answer": {WHOLE}}}',
        json.dumps([ONE, TWO]),
        WHOLE.replace("\\n", "\n"),
        f"First [1] I thought, then: {WHOLE}",
    ],
)
def test_a_shape_is_found_in_whatever_stands_around_it(text):
    assert statements(text) == [ONE["statement"], TWO["statement"]]


def test_the_schema_itself_is_no_answer():
    assert statements(json.dumps(Answer.model_json_schema())) is None


@pytest.mark.parametrize(
    "text", ["", "no", "{", "[[[[", "}{", '{"findings": [', "[" * 100_000, '{"findings": {"a": 1}}']
)
def test_what_is_no_shape_is_none(text):
    assert statements(text) is None


def test_an_item_of_another_shape_is_left_out():
    """The 0.5B's summary: words where objects are asked for."""
    assert statements(json.dumps({"findings": ["Words.", ONE, {"statement": 7}, TWO]})) == [
        ONE["statement"],
        TWO["statement"],
    ]


@given(st.integers(0, len(WHOLE)))
def test_of_a_cut_reply_whole_items_are_kept(end):
    """Wherever it is cut: no half statement, no statement without its sources, and none lost that was whole."""
    kept = statements(WHOLE[:end])

    ends = [WHOLE.index(json.dumps(one)) + len(json.dumps(one)) for one in (ONE, TWO)]
    expected = [one["statement"] for one, at in zip((ONE, TWO), ends, strict=True) if at <= end]
    assert (kept or []) == expected


@given(st.recursive(st.integers() | st.text() | st.none(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))
def test_reading_never_fails(value):
    for text in (json.dumps(value), json.dumps(value)[:-1]):
        found = parse_reply(text, Answer)
        assert found is None or isinstance(found[0], Answer)


def test_list_is_kept_up_to_its_error():
    """A list that goes wrong in the middle is kept so far."""
    found = parse_reply(f'{{"findings": [{json.dumps(ONE)}, {json.dumps(TWO)}], oops}}', Answer)

    assert found is not None
    assert [len(found[0].findings), found[1]] == [2, False]


def test_schemas_are_small_and_leave_nothing_out():
    """llama.cpp refuses a grammar with thousands of repetitions, and models leave out what they may."""
    schema = response_format(Answer)["json_schema"]["schema"]

    assert schema["required"] == ["title", "findings"]
    assert schema["properties"]["findings"]["maxItems"] <= 40
    assert schema["properties"]["title"]["maxLength"] <= 600
    assert schema["$defs"]["Found"]["required"] == ["statement", "sources"]
    assert "What the tests ask for" not in json.dumps(schema)


def test_the_example_has_no_words_to_copy():
    assert example(Answer) == '{"title": "…", "findings": [{"statement": "…", "sources": ["…"]}]}'


# --- thoughts -------------------------------------------------------------------------------------

THOUGHT = [
    ("<think>Hm.</think>The moon.", "The moon."),
    ("<think>\nHm, `</think>` is a mark.\n</think>\n\nThe moon.", "The moon."),
    ("\n<THINK>Hm.</think> The moon.", "The moon."),
    ("[THINK]Hm.[/THINK]The moon.", "The moon."),
    ("Hm.\n</think>\n\nThe moon.", "The moon."),
    ("Hm.</think>No.</think>The moon.", "The moon."),
    ("<think>Hm.</think>\n<think>Hm.</think>The moon.", "The moon."),
    ("<think>Hm, without an end", ""),
    ("Write `<think>` or `</think>`, and 1 < 2.", "Write `<think>` or `</think>`, and 1 < 2."),
    ("The moon.\n<think>Hm.</think>It pulls.", "The moon.\nIt pulls."),
    ("a < b </thin", "a < b </thin"),
]


@pytest.mark.parametrize(("text", "said"), THOUGHT)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_thoughts_are_no_words_however_they_are_cut(text, said, size):
    speech, heard = Speech(), ""
    for at in range(0, len(text), size):
        heard += speech.hear(text[at : at + size])
    heard += speech.end()

    assert speech.words == said
    assert heard.endswith(said)
    assert heard == said or speech.closed_alone


def test_unclosed_thinking_is_understood_at_its_end():
    """A model whose template opens its thoughts is heard when they end."""
    speech = Speech(holds=True)

    heard = [speech.hear(piece) for piece in ("Hm, the ", "sun?", "\n</think>", "\n\nThe ", "moon.")]

    assert [heard, speech.end()] == [["", "", "", "The ", "moon."], ""]
    assert speech.thoughts == "Hm, the sun?\n"


@given(st.text(alphabet="<>/think`\n []", max_size=60), st.integers(1, 9))
def test_cutting_changes_nothing(text, size):
    whole, cut = Speech(), Speech()
    whole.hear(text)
    whole.end()
    for at in range(0, len(text), size):
        cut.hear(text[at : at + size])
    cut.end()

    assert cut.words == whole.words
