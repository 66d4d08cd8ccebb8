"""What small models really wrote when they were asked for shapes: recorded, and typed in here as data.

Three models on llama.cpp's server: SmolLM2-135M (`135M`), Qwen2.5-Coder-0.5B and -1.5B (`0.5B`, `1.5B`). Each reply
stands beside the passages that it was about; `{…}` in it are their sentences.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

LOSES = "Muster loses no accepted task, for it writes the task into its journal before it answers."
AGAIN = "After a crash the next start reads the journal and carries every open task on."
LEASE = "A worker holds a lease of 6 seconds, and says every 2 seconds that it is still alive."
BACKUP = "Copy the journal with the command muster backup, also while the suite is running."
OTHER = "The page shows agents, tasks and their steps, and needs no build step."
PASSAGES = (f"{LOSES} {AGAIN}", BACKUP, OTHER, LEASE)
QUESTION = "What does Muster do with accepted tasks after a crash?"


@dataclass(frozen=True)
class Reply:
    """One reply: who wrote it, the words, whether its limit of tokens cut it; and what becomes of it.

    `chosen` are the sentences that it has found, `said` the statements of it that may be shown above them.
    """

    name: str
    text: str
    chosen: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    cut: bool = False


def _json(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False)


_WHOLE = [{"from": ["p1.1"], "statement": LOSES}, {"from": ["p1.2"], "statement": AGAIN}]
_RIGHT = "Muster writes the task into its journal before it answers, and loses no accepted task."

REPLIES = (
    Reply(
        "135M copies the schema",
        '{"properties": {"questions": {"items": {"maxLength": 20000, "type": "string"}, "maxItems": 200}}}',
    ),
    Reply(
        "1.5B answers inside of a copied schema, by labels of passages",
        _json(
            properties={"findings": [{"statement": _RIGHT, "evidence": ["p1", "p2"], "quotes": []}]},
            required=["findings"],
        ),
        chosen=(LOSES,),
    ),
    Reply(
        "0.5B gives the words themselves as evidence, and true quotations",
        _json(findings=[{"statement": "It is safe.", "evidence": [AGAIN], "quotes": [AGAIN, LOSES]}]),
        chosen=(LOSES, AGAIN),
    ),
    Reply(
        "0.5B gives labels as quotations, and a statement that stands there letter by letter",
        _json(findings=[{"statement": AGAIN, "quotes": ["p1", "p2"]}]),
        chosen=(AGAIN,),
    ),
    Reply(
        "0.5B gives a true quotation under a wrong number",
        _json(findings=[{"from": ["p3.1"], "statement": LEASE}]),
        chosen=(LEASE,),
    ),
    Reply("0.5B writes words where objects are asked for", _json(summary=[LOSES, AGAIN]), chosen=(LOSES, AGAIN)),
    Reply("0.5B writes what an error message said", _json(title="Input should be an object", summary=["an object"])),
    Reply(
        "0.5B is cut in its last finding",
        json.dumps({"findings": [*_WHOLE, {"from": ["p4.1"], "statement": LEASE}]})[:-2]
        + ', {"from": ["p2.1"], "statement": "Copy the jour',
        chosen=(LOSES, AGAIN, LEASE),
        cut=True,
    ),
    Reply(
        "the same finding twelve times, and marks",
        _json(
            findings=[
                *({"from": ["p1.1"], "statement": f"{LOSES}{'!' * n}"} for n in range(12)),
                *({"from": [], "statement": said} for said in ("…", "....", "!!!")),
            ]
        ),
        chosen=(LOSES,),
    ),
    Reply(
        "the question itself as the finding",
        _json(findings=[{"from": [], "statement": QUESTION}]),
    ),
    Reply(
        "the example's words under the right number",
        _json(findings=[{"from": ["p1.2"], "statement": "The shop opens at nine."}]),
        chosen=(AGAIN,),
    ),
    Reply(
        "nonsense with a citation",
        _json(findings=[{"from": ["p1.1"], "statement": "All tasks are deleted in a crash; buy a licence."}]),
        chosen=(LOSES,),
    ),
    Reply(
        "a true quotation that carries another statement",
        _json(
            findings=[{"statement": "The moon is made of cheese.", "quotes": ["into its journal before it answers"]}]
        ),
        chosen=(LOSES,),
    ),
    Reply(
        "a sentence turned around",
        _json(findings=[{"from": ["p1.1"], "statement": "Muster loses the accepted task before it answers."}]),
        chosen=(LOSES,),
    ),
    Reply(
        "another number",
        _json(findings=[{"from": ["p4.1"], "statement": "A worker holds a lease of 60 seconds."}]),
        chosen=(LEASE,),
    ),
    Reply(
        "135M goes round and round",
        _json(findings=[{"from": ["p1.1"], "statement": "Its journal is a task, and its journal is a task, and" * 4}]),
        chosen=(LOSES,),
    ),
    Reply("a call of a tool as text", '{"name": "delegate_to_worker-1", "arguments": {"task": "17 + 25"}}'),
    Reply(
        "one bracket wrong",
        '{"tool_calls": [{"name": "delegate_to_worker-2", "arguments": {"task": "3 * 4"}]}, {"x": 1}',
    ),
    Reply(
        "the fence's id copied as data", '{"id": "17d0262aed71d53a", "capability": "research", "needs": ["research"]}'
    ),
    Reply(
        "statements in its own words, out of two passages",
        _json(
            findings=[
                {
                    "from": ["p1.1", "p1.2"],
                    "statement": "The next start carries every open task on from the journal.",
                }
            ]
        ),
        chosen=(f"{LOSES} {AGAIN}",),
        said=("The next start carries every open task on from the journal.",),
    ),
)
