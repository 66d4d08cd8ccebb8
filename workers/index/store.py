"""Documents and their passages in SQLite with full-text search (FTS5), on disk or in memory."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.sources import PlacedPassage
from workers.language.languages import language_of
from workers.reading.document import Document, passages
from workers.reading.leftout import LeftOut

VERSION = 9  # of the tables and of how documents are cut; another number in the file means: build it anew
CANDIDATES = 60
SAMPLE, SAMPLES = 600, 20  # characters of so many passages tell a document's language
TITLE, HEADING, BODY = 4.0, 2.0, 1.0  # weights; 1/1/1 found 21 of 25, 4/2/1 22, 10/1/1 20

SCHEMA = """
CREATE TABLE page (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL, mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL, note TEXT NOT NULL, modified TEXT NOT NULL
);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY, page INTEGER NOT NULL, title TEXT NOT NULL, heading TEXT NOT NULL, body TEXT NOT NULL,
    anchors TEXT NOT NULL, key TEXT NOT NULL, language TEXT NOT NULL
);
CREATE INDEX passage_of_page ON passage (page);
CREATE INDEX passage_by_key ON passage (key);
CREATE TABLE skipped (
    what TEXT NOT NULL, why TEXT NOT NULL, files INTEGER NOT NULL, failed INTEGER NOT NULL, PRIMARY KEY (what, why)
);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE found USING fts5(
    title, heading, body, content='passage', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER passage_in AFTER INSERT ON passage BEGIN
    INSERT INTO found (rowid, title, heading, body) VALUES (new.id, new.title, new.heading, new.body);
END;
CREATE TRIGGER passage_out AFTER DELETE ON passage BEGIN
    INSERT INTO found (found, rowid, title, heading, body)
    VALUES ('delete', old.id, old.title, old.heading, old.body);
END;
"""
ADD_PAGE = """
INSERT INTO page (path, title, mtime_ns, size, note, modified)
VALUES (:path, :title, :mtime_ns, :size, :note, :modified)
"""
ADD_PASSAGE = """
INSERT INTO passage (page, title, heading, body, anchors, key, language)
VALUES (:page, :title, :heading, :body, :anchors, :key, :language)
"""
DROP_PASSAGES = "DELETE FROM passage WHERE page = (SELECT id FROM page WHERE path = :path)"
DROP_PAGE = "DELETE FROM page WHERE path = :path"
KNOWN = "SELECT path, size, mtime_ns FROM page"
SKIP = "INSERT OR REPLACE INTO skipped (what, why, files, failed) VALUES (:what, :why, :files, :failed)"
SKIPPED_BY_LOOK = "SELECT what, why, files, failed FROM skipped"
SKIPPED = """
SELECT path AS what, note AS why, 1 AS files, 1 AS failed FROM page WHERE note != ''
UNION ALL SELECT what, why, files, failed FROM skipped
ORDER BY what, why
"""
PATHS = "SELECT path, id FROM page"
COUNTS = "SELECT (SELECT count(*) FROM page), (SELECT count(*) FROM passage)"
COUNTS_WITHIN = """
SELECT (SELECT count(*) FROM page WHERE id IN (SELECT value FROM json_each(:pages))),
       (SELECT count(*) FROM passage WHERE page IN (SELECT value FROM json_each(:pages)))
"""
LANGUAGES = "SELECT language, count(*) FROM passage GROUP BY language ORDER BY 2 DESC"
# The passages of a page are written in one go, in reading order.
PLACE = """
SELECT it.key, it.title, it.heading, it.body, it.anchors, it.language, path, modified,
       coalesce((SELECT body FROM passage WHERE page = it.page AND id < it.id ORDER BY id DESC LIMIT 1), ''),
       coalesce((SELECT body FROM passage WHERE page = it.page AND id > it.id ORDER BY id LIMIT 1), '')
FROM passage AS it JOIN page ON page.id = it.page
WHERE it.key = :key ORDER BY it.id LIMIT 1
"""
WITH_TERM = "SELECT rowid FROM found WHERE found MATCH :term"
# Ranked in the inner query: with the join in the same SELECT it takes 5.6 ms instead of 1.0.
RANKED = """
SELECT passage.id, page.path, passage.title, passage.heading, passage.body, passage.anchors, hit.score,
       passage.key, passage.language, page.modified
FROM (
    SELECT rowid, bm25(found, :title, :heading, :body) AS score FROM found
    WHERE found MATCH :words
      AND (:all OR rowid IN (SELECT id FROM passage WHERE page IN (SELECT value FROM json_each(:pages))))
    ORDER BY score, rowid LIMIT :limit
) AS hit
JOIN passage ON passage.id = hit.rowid
JOIN page ON page.id = passage.page
ORDER BY hit.score, page.path, passage.id
"""
MARKED = """
SELECT highlight(found, 2, char(2), char(3)) FROM found WHERE found MATCH :words AND rowid = :id
"""
SET_FACT = "INSERT INTO fact (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value"


@dataclass(frozen=True)
class Hit:
    """A passage that has words of the question; `bm25` is positive, larger is better."""

    id: int
    path: str
    title: str
    heading: str
    body: str
    anchors: tuple[tuple[int, str], ...]
    bm25: float
    key: str = ""
    language: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Scope:
    """The pages that are searched; None: all."""

    pages: tuple[int, ...] | None = None

    @property
    def parameters(self) -> dict[str, object]:
        return {"all": self.pages is None, "pages": json.dumps(self.pages or ())}


def in_memory() -> sqlite3.Connection:
    """An empty store for passages of this moment; may be handed between threads, one at a time."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    create(connection)
    return connection


def create(connection: sqlite3.Connection) -> None:
    connection.executescript("BEGIN;" + SCHEMA + f"PRAGMA user_version = {VERSION}; COMMIT;")


def put(connection: sqlite3.Connection, path: str, document: Document, *, size: int = 0, mtime_ns: int = 0) -> None:
    """Writes a document in place of the one at the same path; the caller commits."""
    remove(connection, path)
    facts = {"path": path, "title": document.title, "mtime_ns": mtime_ns, "size": size, "note": document.note}
    page = connection.execute(ADD_PAGE, {**facts, "modified": document.modified or _date(mtime_ns)}).lastrowid
    found = list(passages(document))
    spoken = language_of("\n".join(passage.text[:SAMPLE] for passage in found[:SAMPLES]))
    rows = (
        {
            "page": page,
            "title": document.title,
            "heading": passage.heading,
            "body": passage.text,
            "anchors": json.dumps(passage.anchors),
            "key": key(path, passage.text),
            "language": language_of(passage.text) or spoken,
        }
        for passage in found
    )
    connection.executemany(ADD_PASSAGE, rows)


def key(path: str, text: str) -> str:
    """The id of a passage as evidence: the same for the same text at the same path."""
    return "e" + hashlib.sha256(f"{path}\0{text}".encode()).hexdigest()[:12]


def remove(connection: sqlite3.Connection, path: str) -> None:
    connection.execute(DROP_PASSAGES, {"path": path})
    connection.execute(DROP_PAGE, {"path": path})


def ranked(connection: sqlite3.Connection, words: str, scope: Scope) -> list[Hit]:
    """At most CANDIDATES passages for an FTS5 query, best first; the order is the same in every process."""
    weights = {"title": TITLE, "heading": HEADING, "body": BODY}
    rows = connection.execute(RANKED, {"words": words, "limit": CANDIDATES, **weights, **scope.parameters})
    return [
        Hit(id_, path, title, heading, body, tuple((at, name) for at, name in json.loads(anchors)), -score, *more)
        for id_, path, title, heading, body, anchors, score, *more in rows
    ]


def with_term(connection: sqlite3.Connection, term: str) -> set[int]:
    """Ids of all passages that have the word, in whatever form."""
    return {row[0] for row in connection.execute(WITH_TERM, {"term": f'"{term}"'})}


def marked(connection: sqlite3.Connection, words: str, hit: Hit) -> str:
    """The passage's text with \\x02 before and \\x03 after each word of the question."""
    row = connection.execute(MARKED, {"words": words, "id": hit.id}).fetchone()
    return str(row[0]) if row else hit.body


def place(connection: sqlite3.Connection, id: str) -> PlacedPassage | None:
    """The passage with this evidence id and its neighbours, at the anchor where it begins; None if there is none."""
    row = connection.execute(PLACE, {"key": id}).fetchone()
    if row is None:
        return None
    id, title, heading, text, anchors, language, path, modified, before, after = row
    anchor = next((name for at, name in json.loads(anchors) if at == 0), "")
    return PlacedPassage(
        id=id,
        title=title,
        location=f"{path}#{anchor}" if anchor else path,
        heading=heading,
        text=text,
        before=before,
        after=after,
        language=language,
        modified=modified,
    )


def languages(connection: sqlite3.Connection) -> dict[str, int]:
    """How many passages are in which language, the commonest first."""
    return dict(connection.execute(LANGUAGES).fetchall())


def counts(connection: sqlite3.Connection, scope: Scope) -> tuple[int, int]:
    """How many documents and passages are searched."""
    sql = COUNTS if scope.pages is None else COUNTS_WITHIN
    documents, found = connection.execute(sql, scope.parameters).fetchone()
    return documents, found


def paths(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute(PATHS).fetchall())


def skipped(connection: sqlite3.Connection) -> list[LeftOut]:
    """Everything that was not read, by path: documents, parts of them, folders, and files of other types."""
    return [LeftOut(what, why, files, bool(failed)) for what, why, files, failed in connection.execute(SKIPPED)]


def set_skipped(connection: sqlite3.Connection, left_out: Iterable[LeftOut]) -> bool:
    """What a look at the folder left out, in place of what the last one did; whether that differs."""
    before = {(what, why, files, bool(failed)) for what, why, files, failed in connection.execute(SKIPPED_BY_LOOK)}
    now = {(each.what, each.why, each.files, each.failed) for each in left_out}
    if before == now:
        return False
    connection.execute("DELETE FROM skipped")
    rows = [{"what": what, "why": why, "files": files, "failed": failed} for what, why, files, failed in now]
    connection.executemany(SKIP, rows)
    return True


def fact(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM fact WHERE name = :name", {"name": name}).fetchone()
    return row[0] if row else ""


def set_facts(connection: sqlite3.Connection, facts: Iterable[tuple[str, str]]) -> None:
    connection.executemany(SET_FACT, [{"name": name, "value": value} for name, value in facts])


def _date(mtime_ns: int) -> str:
    return datetime.fromtimestamp(mtime_ns / 1e9, UTC).date().isoformat() if mtime_ns > 0 else ""
