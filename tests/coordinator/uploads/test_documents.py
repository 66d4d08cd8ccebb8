"""Uploaded documents over HTTP: taken whole or not at all, bounded, listed with who sent them, and removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.access.keys import make_key
from coordinator.uploads.part import Part
from shared.errors import MusterError
from tests.support.fakes import Network, Suite, uploading

TEXT = b"# Lease\n\nA lease lasts six seconds.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
async def suite(network: Network, folder: Path) -> AsyncIterator[Suite]:
    async with Suite(
        network, app=uploading(folder, upload_bytes=1_000, uploads_bytes=3_000, uploads_files=50)
    ) as suite:
        yield suite


async def put(suite: Suite, name: str, content: Any = TEXT, **more: Any) -> httpx.Response:
    return await suite.client.put(f"/documents/{name}", content=content, **more)


async def names(suite: Suite) -> list[str]:
    return [one["name"] for one in (await suite.client.get("/documents")).json()["documents"]]


def there(folder: Path) -> dict[str, bytes]:
    """What is in the folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def detail(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return str(answer.json()["detail"])


async def test_document_is_kept_and_listed(suite: Suite, folder: Path) -> None:
    """What was sent is in the folder as it was, and in the list."""
    answer = await put(suite, "lease.md")

    assert answer.status_code == 201
    assert (folder / "lease.md").read_bytes() == TEXT
    shown = (await suite.client.get("/documents")).json()
    assert [(one["name"], one["bytes"], one["sent_by"]) for one in shown["documents"]] == [
        ("lease.md", len(TEXT), None)
    ]
    assert (shown["bytes"], shown["trouble"], shown["searched_by"]) == (len(TEXT), None, [])
    assert shown["limits"] == {"document_bytes": 1_000, "bytes": 3_000, "documents": 50}


async def test_form_brings_several_files(suite: Suite, folder: Path) -> None:
    """As `curl -F file=@a.md -F file=@b.md` sends them; other fields are passed over."""
    files = [("note", (None, "hello")), ("file", ("a.md", b"A")), ("file", ("Überblick.md", b"B" * 900))]

    answer = await suite.client.post("/documents", files=files)

    assert answer.status_code == 201
    assert await names(suite) == ["a.md", "Überblick.md"]
    assert (folder / "Überblick.md").read_bytes() == b"B" * 900


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"--x\r\n", "multipart/form-data; boundary=x", "ends in the middle"),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\nhalf of',
            "multipart/form-data; boundary=x",
            "ends in the middle",
        ),
        (b"nothing", "multipart/form-data; boundary=x", "cannot be read"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "has no file"),
        (b"", "multipart/form-data", "boundary"),
        (TEXT, "text/markdown", "is no form"),
    ],
)
async def test_broken_form_is_refused(suite: Suite, body: bytes, kind: str, says: str) -> None:
    """And nothing of it is kept."""
    answer = await suite.client.post("/documents", content=body, headers={"Content-Type": kind})

    assert (answer.status_code, says in detail(answer)) == (400, True), answer.text
    assert await names(suite) == []


async def test_same_again_changes_nothing(suite: Suite) -> None:
    """Another content under a name is refused, unless it is to be replaced."""
    await put(suite, "lease.md")

    again, other = await put(suite, "lease.md"), await put(suite, "lease.md", b"other")
    replaced = await put(suite, "lease.md", b"other", params={"replace": "true"})

    assert (again.status_code, again.json()["documents"][0]["status"]) == (200, "unchanged")
    assert (other.status_code, "replace=true" in detail(other)) == (409, True)
    assert (replaced.status_code, replaced.json()["documents"][0]["status"]) == (200, "replaced")


async def test_document_is_removed(suite: Suite, folder: Path) -> None:
    await put(suite, "lease.md")

    answer, again = [await suite.client.delete("/documents/lease.md") for _ in range(2)]

    assert answer.json() == {"name": "lease.md", "status": "removed"}
    assert again.status_code == 404
    assert there(folder) == {}


async def chunks(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


async def test_too_large_is_refused(suite: Suite, folder: Path) -> None:
    """One that says its size, one that does not, and one in a form."""
    said = await put(suite, "a.md", b"x" * 1_001)
    silent = await put(suite, "b.md", chunks(900, 200))
    form = await suite.client.post("/documents", files={"file": ("c.md", b"x" * 1_001)})

    assert [one.status_code for one in (said, silent, form)] == [413, 413, 413]
    assert "1,000 bytes" in detail(said)
    assert there(folder) == {}


async def test_two_gigabytes_are_refused_unread(suite: Suite) -> None:
    """From the head of the request alone."""

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = await put(suite, "a.md", never(), headers={"Content-Length": str(2 * 2**30)})

    assert answer.status_code == 413


async def test_whole_folder_is_bounded(suite: Suite, folder: Path) -> None:
    """Also when many come at once, whether they say their size or not: those that fit are whole."""
    contents = [bytes([65 + n]) * 1_000 for n in range(8)]
    sent = [put(suite, f"{n}.md", one if n % 2 else _slowly(one)) for n, one in enumerate(contents)]

    answers = await asyncio.gather(*sent)

    assert sorted({one.status_code for one in answers}) == [201, 507]
    kept = there(folder)
    assert sum(map(len, kept.values())) <= 3_000
    assert all(content == contents[int(name[0])] for name, content in kept.items())
    assert "3,000 bytes" in detail(next(one for one in answers if one.status_code == 507))


async def _slowly(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 100):
        await asyncio.sleep(0)
        yield content[at : at + 100]


async def test_fifty_at_once_all_arrive(network: Network, folder: Path) -> None:
    async with Suite(network, app=uploading(folder)) as suite:
        answers = await asyncio.gather(*(put(suite, f"{n}.md", b"%d" % n * 100_000) for n in range(50)))

    assert {one.status_code for one in answers} == {201}
    assert there(folder) == {f"{n}.md": b"%d" % n * 100_000 for n in range(50)}


async def test_number_of_documents_is_bounded(network: Network, folder: Path) -> None:
    async with Suite(network, app=uploading(folder, uploads_files=2)) as suite:
        answers = [await put(suite, f"{n}.md") for n in range(3)]
        again = await put(suite, "1.md", b"other", params={"replace": "true"})

    assert [one.status_code for one in answers] == [201, 201, 507]
    assert again.status_code == 200


async def test_folder_keeps_no_half(suite: Suite, folder: Path) -> None:
    """A caller that hangs up, and an empty body, leave nothing."""

    async def breaks() -> AsyncIterator[bytes]:
        yield b"half"
        raise MusterError("gone")

    broken, empty = await put(suite, "a.md", breaks()), await put(suite, "b.md", b"")

    assert broken.status_code == 500
    assert (empty.status_code, "empty" in detail(empty)) == (422, True)
    assert there(folder) == {}


async def test_killed_uploads_go_at_the_start(network: Network, tmp_path: Path) -> None:
    """What a process that was killed left: half a document, and the sender of one that never came."""
    for name in (".part-0123", ".by-never.md", "kept.md", ".by-kept.md"):
        (tmp_path / name).write_bytes(b"left")

    async with Suite(network, app=uploading(tmp_path)) as suite:
        assert await names(suite) == ["kept.md"]

    assert sorted(there(tmp_path)) == [".by-kept.md", "kept.md"]


async def test_upload_at_another_coordinator_survives_a_start(network: Network, tmp_path: Path) -> None:
    """Both write the same folder; what one is writing is not left over from anybody."""
    part = Part(tmp_path)
    part.finish(b"whole")

    async with Suite(network, app=uploading(tmp_path)) as suite:
        part.place(tmp_path / "theirs.md")
        part.discard()
        assert await names(suite) == ["theirs.md"]


async def test_link_in_the_folder_leads_nowhere(suite: Suite, folder: Path, tmp_path: Path) -> None:
    """It is not listed, not written through and not removed."""
    outside = tmp_path / "outside.md"
    outside.write_text("outside")
    (folder / "link.md").symlink_to(outside)

    sent = await put(suite, "link.md", params={"replace": "true"})
    removed = await suite.client.delete("/documents/link.md")

    assert (sent.status_code, removed.status_code, await names(suite)) == (409, 404, [])
    assert (outside.read_text(), (folder / "link.md").is_symlink()) == ("outside", True)


async def test_folder_that_cannot_be_used_is_told(network: Network, tmp_path: Path) -> None:
    """The coordinator runs all the same, and says what is wrong."""
    (tmp_path / "file").write_text("no folder")
    async with Suite(network, app=uploading(tmp_path / "file" / "uploads")) as suite:
        listed, sent = await suite.client.get("/documents"), await put(suite, "a.md")

    assert "cannot be used: Not a directory" in listed.json()["trouble"]
    assert (sent.status_code, "Not a directory" in detail(sent)) == (503, True)


@pytest.mark.parametrize("holds", [".", "data"])
async def test_folder_of_the_journal_is_refused(network: Network, tmp_path: Path, holds: str) -> None:
    """Whoever may upload could remove what is there."""
    (tmp_path / "data").mkdir()
    settings = {"database_url": f"sqlite:///{tmp_path}/data/muster.db"}

    with pytest.raises(MusterError, match="Choose a folder of its own"):
        async with Suite(network, app=uploading(tmp_path / holds), **settings):
            pass


async def test_uploads_are_off_by_default(coordinator: Suite) -> None:
    answers = [await coordinator.client.get("/documents"), await put(coordinator, "a.md")]

    assert [(one.status_code, "UPLOADS_DIR" in detail(one)) for one in answers] == [(404, True)] * 2


async def test_scope_is_needed_and_sender_known(network: Network, folder: Path, tmp_path: Path) -> None:
    """A key without `upload` is told so; the list and the audit name the key that sent."""
    keys = tmp_path / "keys"
    asker, sender = (
        make_key(keys, name, scopes) for name, scopes in (("asker", ["execute", "read"]), ("ann", ["upload"]))
    )
    async with Suite(network, api_key="k", keys_file=keys, app=uploading(folder)) as suite:
        by_asker, by_sender = ({"Authorization": f"Bearer {key}"} for key in (asker, sender))
        refused = [
            await put(suite, "a.md", headers=by_asker),
            await suite.client.post("/documents", files={"file": ("a.md", b"A")}, headers=by_asker),
            await suite.client.delete("/documents/a.md", headers=by_asker),
        ]
        await put(suite, "a.md", headers=by_sender)
        listed = [(await suite.client.get("/documents", headers=by)).json() for by in (by_asker, by_sender)]
        audit = (await suite.client.get("/audit")).json()["entries"]
        tasks = await suite.client.get("/tasks", headers=by_sender)

    assert {(one.status_code, "scope upload" in detail(one)) for one in refused} == {(403, True)}
    assert [one["documents"][0]["sent_by"] for one in listed] == ["ann", "ann"]
    assert [(one["caller"], one["name"]) for one in audit if one["type"] == "audit.document_stored"] == [
        ("ann", "a.md")
    ]
    assert tasks.status_code == 403


async def test_page_of_another_site_is_refused(suite: Suite) -> None:
    answer = await put(suite, "a.md", headers={"Origin": "http://evil.example"})

    assert (answer.status_code, await names(suite)) == (403, [])
