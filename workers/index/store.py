"""Documents and their passages in SQLite with full-text search (FTS5), on disk or in memory."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from shared.report.sources import PlacedPassage
from workers.index import spelling
from workers.index.sketch import sketch
from workers.language.languages import language_of
from workers.language.words import terms
from workers.reading.documents.document import Document, passages
from workers.reading.documents.leftout import LeftOut

VERSION = 12  # of the tables, of how documents are cut and of what terms are; another number: rebuild it
CANDIDATES = 60
SAMPLE, SAMPLES = 600, 20  # characters of so many passages tell a document's language
TITLE, HEADING, BODY = 3.0, 2.0, 1.0  # weights

# `found` keeps no text of its own: it indexes terms (workers.language), which are made again to take a passage out.
SCHEMA = """
CREATE TABLE page (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, title TEXT NOT NULL, mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL, note TEXT NOT NULL, modified TEXT NOT NULL, sketch BLOB NOT NULL
);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY, page INTEGER NOT NULL, heading TEXT NOT NULL, body TEXT NOT NULL, anchors TEXT NOT NULL,
    key TEXT NOT NULL, language TEXT NOT NULL
);
CREATE INDEX passage_of_page ON passage (page);
CREATE INDEX passage_by_key ON passage (key);
CREATE INDEX passage_by_language ON passage (language);
CREATE TABLE word (word TEXT PRIMARY KEY, pages INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE skipped (
    what TEXT NOT NULL, why TEXT NOT NULL, files INTEGER NOT NULL, failed INTEGER NOT NULL, PRIMARY KEY (what, why)
);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE found USING fts5(title, heading, body, content='', tokenize="ascii tokenchars '-+#._'");
"""
ADD_PAGE = """
INSERT INTO page (path, title, mtime_ns, size, note, modified, sketch)
VALUES (:path, :title, :mtime_ns, :size, :note, :modified, :sketch)
"""
ADD_PASSAGE = """
INSERT INTO passage (page, heading, body, anchors, key, language)
VALUES (:page, :heading, :body, :anchors, :key, :language)
"""
ADD_TERMS = "INSERT INTO found (rowid, title, heading, body) VALUES (?, ?, ?, ?)"
DROP_TERMS = "INSERT INTO found (found, rowid, title, heading, body) VALUES ('delete', ?, ?, ?, ?)"
ADD_WORD = "INSERT INTO word (word, pages) VALUES (?, 1) ON CONFLICT (word) DO UPDATE SET pages = pages + 1"
DROP_WORD = "UPDATE word SET pages = pages - 1 WHERE word = ?"
DROP_UNUSED = "DELETE FROM word WHERE word = ? AND pages < 1"
PAGE = "SELECT id, title FROM page WHERE path = :path"
PASSAGES = "SELECT id, heading, body, language FROM passage WHERE page = :page"
DROP_PASSAGES = "DELETE FROM passage WHERE page = :page"
DROP_PAGE = "DELETE FROM page WHERE id = :page"
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
SELECT it.key, title, it.heading, it.body, it.anchors, it.language, path, modified,
       coalesce((SELECT body FROM passage WHERE page = it.page AND id < it.id ORDER BY id DESC LIMIT 1), ''),
       coalesce((SELECT body FROM passage WHERE page = it.page AND id > it.id ORDER BY id LIMIT 1), '')
FROM passage AS it JOIN page ON page.id = it.page
WHERE it.key = :key ORDER BY it.id LIMIT 1
"""
TEXT = "SELECT body FROM passage WHERE page = :page ORDER BY id"
MATCHING = "SELECT rowid FROM found WHERE found MATCH :words"
# Ranked in the inner query: with the join in the same SELECT it takes five times as long.
RANKED = """
SELECT passage.id, page.id, page.path, page.title, passage.heading, passage.body, passage.anchors, hit.score,
       passage.key, passage.language, page.modified, page.sketch
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
SET_FACT = "INSERT INTO fact (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value"


@dataclass(frozen=True)
class Hit:
    """A passage that has words of the question; `bm25` is positive, larger is better."""

    id: int
    page: int
    path: str
    title: str
    heading: str
    body: str
    anchors: tuple[tuple[int, str], ...]
    bm25: float
    key: str
    language: str
    modified: str
    sketch: bytes


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


def put_document(
    connection: sqlite3.Connection, path: str, document: Document, *, size: int = 0, mtime_ns: int = 0
) -> None:
    """Writes a document in place of the one at the same path; the caller commits."""
    remove(connection, path)
    found = list(passages(document))
    spoken = language_of("\n".join(passage.text[:SAMPLE] for passage in found[:SAMPLES]))
    facts = {"path": path, "title": document.title, "mtime_ns": mtime_ns, "size": size, "note": document.note}
    facts |= {"modified": document.modified or _date(mtime_ns), "sketch": sketch(each.text for each in found)}
    page = connection.execute(ADD_PAGE, facts).lastrowid
    for passage in found:
        language = language_of(passage.text) or spoken
        row = {"page": page, "heading": passage.heading, "body": passage.text, "key": key(path, passage.text)}
        row |= {"anchors": json.dumps(passage.anchors), "language": language}
        id_ = connection.execute(ADD_PASSAGE, row).lastrowid
        connection.execute(ADD_TERMS, (id_, *_terms(path, document.title, passage.heading, passage.text, language)))
    words = spelling.words([document.title, *(text for each in found for text in (each.heading, each.text))])
    connection.executemany(ADD_WORD, sorted((word,) for word in words))


def remove(connection: sqlite3.Connection, path: str) -> None:
    """Takes the document out, if there is one at this path; the caller commits."""
    row = connection.execute(PAGE, {"path": path}).fetchone()
    if row is None:
        return
    page, title = row
    found = connection.execute(PASSAGES, {"page": page}).fetchall()
    for id_, heading, body, language in found:
        connection.execute(DROP_TERMS, (id_, *_terms(path, title, heading, body, language)))
    words = [(word,) for word in spelling.words([title, *(text for row in found for text in row[1:3])])]
    connection.executemany(DROP_WORD, words)
    connection.executemany(DROP_UNUSED, words)
    connection.execute(DROP_PASSAGES, {"page": page})
    connection.execute(DROP_PAGE, {"page": page})


def _terms(path: str, title: str, heading: str, body: str, language: str) -> tuple[str, str, str]:
    """What is indexed of a passage; the names of the file and its folders count as its title does."""
    named = f"{title} {' '.join(PurePosixPath(path).with_suffix('').parts)}" if "://" not in path else title
    return tuple(" ".join(terms(text, language)) for text in (named, heading, body))  # type: ignore[return-value]


def key(path: str, text: str) -> str:
    """The id of a passage as evidence: the same for the same text at the same path."""
    return "e" + hashlib.sha256(f"{path}\0{text}".encode()).hexdigest()[:12]


def search(connection: sqlite3.Connection, words: str, scope: Scope) -> list[Hit]:
    """At most CANDIDATES passages for an FTS5 query, best first; the order is the same in every process."""
    weights = {"title": TITLE, "heading": HEADING, "body": BODY}
    rows = connection.execute(RANKED, {"words": words, "limit": CANDIDATES, **weights, **scope.parameters})
    return [
        Hit(id_, page, path, title, heading, body, tuple((at, name) for at, name in json.loads(anchors)), -score, *more)
        for id_, page, path, title, heading, body, anchors, score, *more in rows
    ]


def matching(connection: sqlite3.Connection, words: str) -> set[int]:
    """Ids of all passages that an FTS5 query matches."""
    return {row[0] for row in connection.execute(MATCHING, {"words": words})}


def text_of(connection: sqlite3.Connection, page: int) -> str:
    """All passages of a page."""
    return "\n".join(row[0] for row in connection.execute(TEXT, {"page": page}))


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


def list_skipped(connection: sqlite3.Connection) -> list[LeftOut]:
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
