"""Two statements side by side: the same, contrary, or nothing that can be said."""

from __future__ import annotations

import pytest

from shared.report import Evidence
from workers.answering import comparison, quantities
from workers.answering.claims import claims
from workers.answering.text import Sentence


def verdict(one: str, other: str) -> str | None:
    """What two statements of different documents are to each other."""
    found = [
        claims(Sentence(said, 0, core=said), Evidence(id=place, title=place, location=place), place)
        for place, said in (("a", one), ("b", other))
    ]
    weigh = comparison.weights([claim for some in found for claim in some])
    verdicts = [v for a in found[0] for b in found[1] if (v := comparison.compare(a, b, weigh)) is not None]
    return verdicts[0].kind if verdicts else None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The default request timeout is 30 seconds.", "By default, the request timeout is 60 seconds."),
        ("The broker listens on port 7420 by default.", "The broker listens on port 7400 by default."),
        ("The compiler was first released in 2016.", "The compiler was first released to the public in 2018."),
        ("Up to 64 channels are allowed on a connection.", "A connection allows up to 128 channels."),
        ("Windows is supported for production nodes.", "Windows is not supported for production nodes."),
        ("Cookies are sent to other hosts.", "Cookies are no longer sent to other hosts."),
        ("Compression is enabled by default for topics.", "Compression for topics is disabled by default."),
        ("A password is required for the console.", "A password is optional for the console."),
        ("Replication to followers is synchronous.", "Replication to followers is asynchronous."),
        ("The router installs firmware updates automatically.", "Firmware updates have to be installed manually."),
        ("Passengers always leave the deck.", "Passengers never leave the deck."),
        ("Pruning increases the harvest of apples.", "Pruning decreases the harvest of apples."),
        ("The index is locked before the pages are copied.", "The index is locked after the pages are copied."),
    ],
)
def test_contraries_are_found(one, other):
    """Amounts, denials, opposite words and the order of events."""
    assert verdict(one, other) in ("amount", "conflict")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("An idle connection is closed after 60 seconds.", "Idle connections are closed after one minute."),
        (
            "Messages are written to disk before the broker acknowledges.",
            "The broker acknowledges after messages are on disk.",
        ),
        ("The largest message the broker accepts is 1 MiB.", "The broker refuses messages larger than 1,024 KB."),
        ("The guest network is switched off by default.", "By default, the guest network is disabled."),
        ("Compression is not enabled for topics by default.", "Compression of topics is disabled by default."),
    ],
)
def test_the_same_in_other_words_is_agreement(one, other):
    """Units are converted, and two denials cancel out."""
    assert verdict(one, other) == "agree"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The connect timeout is 5 seconds.", "The read timeout is 30 seconds."),
        ("In version 2 the timeout is 10 seconds.", "In version 3 the timeout is 30 seconds."),
        ("The default timeout is 10 seconds.", "In version 3 the default timeout is 30 seconds."),
        ("On Linux the cache holds 64 MB of pages.", "On Windows the cache holds 32 MB of pages."),
        ("If compression is on, the limit is 5 MB.", "If encryption is on, the limit is 9 MB."),
        ("The POP3 client uses port 110 by default.", "The IMAP4 client uses port 993 by default."),
        ("The publisher sends 100 messages in a batch.", "The consumer sends 500 messages in a batch."),
        ("The minimum size of a page is 512 bytes.", "The maximum size of a page is 65536 bytes."),
        ("At least three nodes are needed.", "Five nodes are needed in a cluster."),
        ("A message that is not acknowledged is sent again.", "A message is acknowledged and sent again."),
        ("The order is guaranteed within a partition.", "There is no guarantee of order between partitions."),
        ("Keys are enforced.", "If the option is off, keys are not enforced."),
        ("The default maximum trigger recursion depth is 1000.", "The maximum depth is 4095."),
        ("Enable the breakpoints specified.", "Mark the breakpoint as disabled."),
        ("Keys of tables are not enforced.", "Query or clear the enforcement of keys."),
        ("The pump runs for 10 minutes.", "The festival lasts for 3 days."),
    ],
)
def test_different_subjects_and_conditions_are_no_contradiction(one, other):
    """A false contradiction is worse than a missed one."""
    assert verdict(one, other) in (None, "agree")


@pytest.mark.parametrize(
    ("sentence", "dimension", "low"),
    [
        ("It waits one minute.", "time", 60),
        ("It waits half an hour.", "time", 1800),
        ("It stays for seven days.", "time", 604_800),
        ("It takes 5 MiB of memory.", "bytes", 5 * 1024**2),
        ("It costs $1,200 to repair.", "dollars", 1200),
        ("More than a fifth of water is too much.", "share", 0.2),
        ("There are three replicas.", "#replica", 3),
        ("The broker uses port 8080.", "label:port", 8080),
        ("It was built in 1884.", "date", 1884),
    ],
)
def test_amounts_are_read_in_base_units(sentence, dimension, low):
    """Seconds, bytes, shares; counted things by their stem."""
    assert [(q.dimension, q.low) for q in quantities.quantities(sentence)] == [(dimension, pytest.approx(low))]
