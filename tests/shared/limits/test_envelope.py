"""The envelope: what was sealed opens with the same key and body and nothing else, and a hop only shrinks it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import EnvelopeRefused, LimitReached
from shared.limits.envelope import MAX_DEPTH, Envelope, derive_key, narrow, open_envelope, seal

names = st.text(max_size=20)
limits = st.none() | st.integers(0, 10**6)
envelopes = st.builds(
    Envelope,
    task=names,
    step=names,
    attempt=st.integers(1, 9),
    milliseconds=st.integers(0, 86_400_000),
    calls=limits,
    tokens=limits,
    depth=st.integers(0, MAX_DEPTH),
    ancestry=st.lists(names, max_size=5).map(tuple),
    may_call=st.lists(names, max_size=5).map(tuple),
    tenant=names,
)
KEY = b"k" * 32


@given(envelopes, st.binary(max_size=200), st.binary(min_size=1, max_size=40))
def test_what_was_sealed_comes_out_as_it_went_in(envelope: Envelope, body: bytes, key: bytes) -> None:
    assert open_envelope(seal(envelope, key=key, body=body), key=key, body=body) == envelope


@given(envelopes, st.data())
def test_a_header_changed_anywhere_is_refused(envelope: Envelope, data: st.DataObject) -> None:
    header = seal(envelope, key=KEY, body=b"body")
    at = data.draw(st.integers(0, len(header) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda c: c != header[at]))
    changed = header[:at] + other + header[at + 1 :]
    if _same(changed, header):
        return

    with pytest.raises(EnvelopeRefused):
        open_envelope(changed, key=KEY, body=b"body")


def _same(one: str, other: str) -> bool:
    """Whether only bits that base64 does not use differ: the signature's last character carries two spare ones."""
    return (
        one[:-1] == other[:-1]
        and one[-1] in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
        and (
            base64.urlsafe_b64decode(one.partition(".")[2] + "=")
            == base64.urlsafe_b64decode(other.partition(".")[2] + "=")
        )
    )


@given(st.text(max_size=100))
def test_garbage_is_refused_and_nothing_else(header: str) -> None:
    with pytest.raises(EnvelopeRefused):
        open_envelope(header, key=KEY, body=b"")


def test_another_body_another_key_and_another_version_are_refused() -> None:
    envelope = Envelope(task="t", step="s", attempt=1, milliseconds=5)
    header = seal(envelope, key=KEY, body=b"body")
    claims = json.loads(base64.urlsafe_b64decode(header.partition(".")[0] + "=="))

    assert claims["v"] == 1
    for wrong in ({"key": b"x" * 32, "body": b"body"}, {"key": KEY, "body": b"bodY"}, {"key": KEY, "body": b""}):
        with pytest.raises(EnvelopeRefused):
            open_envelope(header, **wrong)


@given(envelopes, st.integers(0, 10**8), limits, limits)
def test_a_hop_never_has_more_than_it_was_given(
    parent: Envelope, milliseconds: int, calls: int | None, tokens: int | None
) -> None:
    if parent.depth >= MAX_DEPTH or "me" in parent.ancestry:
        with pytest.raises(LimitReached):
            narrow(parent, agent="me", step="s", milliseconds=milliseconds)
        return

    child = narrow(parent, agent="me", step="s", milliseconds=milliseconds, calls=calls, tokens=tokens)

    assert child.milliseconds == min(milliseconds, parent.milliseconds)
    for mine, given_, wished in ((child.calls, parent.calls, calls), (child.tokens, parent.tokens, tokens)):
        assert mine == min((v for v in (given_, wished) if v is not None), default=None)
    assert (child.depth, child.ancestry[-1], child.tenant) == (parent.depth + 1, "me", parent.tenant)


def test_nobody_asks_itself_round_a_circle() -> None:
    first = Envelope(task="t", step="s", attempt=1, milliseconds=5, ancestry=("writer", "critic"))

    with pytest.raises(LimitReached, match="writer > critic"):
        narrow(first, agent="writer", step="again", milliseconds=5)


def test_each_agent_has_a_key_of_its_own() -> None:
    keys = {derive_key(secret, agent) for secret in (b"a" * 32, b"b" * 32) for agent in ("one", "two")}

    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
