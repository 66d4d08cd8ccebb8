"""One flipped bit in a journal is refused by name or makes no difference: no task is lost or changed without a word."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from shared.db.mark import write_mark
from shared.errors import StorageBroken
from tests.support.rot import OTHER, REFUSED, all_places, fill, read_all, try_places

PLACES = 60  # of some thousands; `python -m tests.support.rot` tries more

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("checkpoints", [False, True], ids=["in the log", "in the file"])
def test_flipped_bit_loses_nothing_silently(tmp_path: Path, checkpoints: bool) -> None:
    """Everything that can be read back is compared; the whole files are read as they were without a flip."""
    journal = fill(tmp_path, ended=70 if checkpoints else 10, open=5, checkpoints=checkpoints)
    file = "muster.db" if checkpoints else "muster.db-wal"
    places = Random(12).sample([place for place in all_places(journal, 7) if place[0] == file], PLACES)

    found = list(try_places(journal, places))

    assert [place for place, outcome, _ in found if outcome == OTHER] == []
    assert Counter(outcome for _, outcome, _ in found)[REFUSED] > 0
    assert all("restore FOLDER" in said for _, outcome, said in found if outcome == REFUSED)


def test_missing_mark_is_made_and_said(tmp_path: Path) -> None:
    journal = fill(tmp_path, ended=3, open=1, checkpoints=False)
    Path(f"{journal}-mark").unlink()

    asyncio.run(read_all(journal))

    assert Path(f"{journal}-mark").is_file()


def test_mark_of_a_longer_journal_is_refused(tmp_path: Path) -> None:
    """As when an older copy of the file is put in its place: so many events are missing."""
    journal = fill(tmp_path, ended=3, open=1, checkpoints=False)
    mark = Path(f"{journal}-mark")
    write_mark(journal, int(mark.read_text().split()[0]) + 7)

    with pytest.raises(StorageBroken, match=r"lacks its last 7 events.*restore FOLDER.*check --accept-loss"):
        asyncio.run(read_all(journal))
