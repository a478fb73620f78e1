"""The documents of a corpus as a manifest has them, and how files differ from that; in a temporary database, not in memory."""
# ruff: noqa: S608  # nothing but ENTRY is put into statements

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

from ragguard.errors import ManifestError
from ragguard.provenance.canonical import domain
from ragguard.provenance.manifest import Entry

Difference: TypeAlias = Literal["added", "changed", "moved", "missing"]
"""`moved`: the least that must change their places so that all others stand in the recorded order."""

ENTRY = "id, content, source, batch, principal"

CACHE_KB = 64_000
"""Of the database in memory: about 200,000 documents; more are on disk."""

# Strings compare byte by byte. `was` is the recorded place of a document that is as recorded.
SCHEMA = """
CREATE TABLE documents (id TEXT PRIMARY KEY, place INTEGER, content TEXT, source TEXT, batch TEXT, principal TEXT) WITHOUT ROWID;
CREATE INDEX by_place ON documents (place);
CREATE TABLE added (place INTEGER PRIMARY KEY, id TEXT, content TEXT, source TEXT, batch TEXT, principal TEXT);
CREATE TABLE shifted (id TEXT PRIMARY KEY, place INTEGER) WITHOUT ROWID;
CREATE TABLE now (
    place INTEGER PRIMARY KEY, id TEXT UNIQUE, content TEXT, source TEXT, batch TEXT, principal TEXT, was INTEGER, line TEXT
);
"""


@dataclass(frozen=True)
class Differing:
    """A document that is not as recorded.

    Attributes:
        kind: How it differs.
        id: Of the document.
        place: File and line; empty where it is missing.
    """

    kind: Difference
    id: str
    place: str


class Ledger:
    """Recorded documents in their order, and those that were found in files. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        """Make an empty one; SQLite keeps it in a file that it deletes, as soon as it is larger than its cache."""
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KB}; {SCHEMA} BEGIN;"
        )
        self.count = 0
        self.found = 0

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def entry(self, document: str) -> Entry | None:
        """What is recorded of a document; None if nothing is."""
        row = self._db.execute(f"SELECT {ENTRY} FROM documents WHERE id = ?", (document,)).fetchone()
        return Entry(*row) if row else None

    def entries(self, batch: str | None = None) -> Iterator[Entry]:
        """What is recorded, in order; of all documents, or of a batch."""
        statement = f"SELECT {ENTRY} FROM documents WHERE ? IS NULL OR batch = ? ORDER BY place"
        return (Entry(*row) for row in self._db.execute(statement, (batch, batch)))

    def batches(self) -> Iterator[str]:
        """Names of the batches, in order of the alphabet."""
        return (row[0] for row in self._db.execute("SELECT DISTINCT batch FROM documents ORDER BY batch"))

    def remove(self, document: str) -> None:
        """Strike a recorded document out.

        Raises:
            ManifestError: If it is not there.
        """
        if not self._db.execute("DELETE FROM documents WHERE id = ?", (document,)).rowcount:
            raise ManifestError(f"removes the document {document!r}, which is not there")
        self.count -= 1

    def add(self, entry: Entry, place: int) -> None:
        """Note a document that `settle` adds.

        Raises:
            ManifestError: If the place is taken.
        """
        try:
            self._db.execute("INSERT INTO added VALUES (?, ?, ?, ?, ?, ?)", (place, *vars(entry).values()))
        except sqlite3.IntegrityError as error:
            raise ManifestError(f"adds two documents at place {place}") from error

    def settle(self) -> None:
        """Put the noted documents at their places among those that stayed.

        Raises:
            ManifestError: If an id is taken, or a place is beyond the corpus.
        """
        first, last, count = self._db.execute("SELECT min(place), max(place), count(*) FROM added").fetchone()
        if not count:
            return
        stayed, self.count = self.count, self.count + count
        if last >= self.count:
            raise ManifestError(f"adds a document at place {last} of {self.count}")
        shift = 0
        if first >= stayed:  # all at the end: the others need no new places, which may have gaps
            shift = self._db.execute("SELECT coalesce(max(place) + 1, 0) FROM documents").fetchone()[0] - stayed
        else:
            stay = (row[0] for row in self._db.execute("SELECT id FROM documents ORDER BY place"))
            self._db.executemany("INSERT INTO shifted VALUES (?, ?)", zip(stay, self._free(), strict=True))
            self._db.execute("UPDATE documents SET place = (SELECT place FROM shifted WHERE shifted.id = documents.id)")
            self._db.execute("DELETE FROM shifted")
        try:
            self._db.execute(
                f"INSERT INTO documents (place, {ENTRY}) SELECT place + ?, {ENTRY} FROM added ORDER BY place", (shift,)
            )
        except sqlite3.IntegrityError as error:
            raise ManifestError("adds a document whose id is taken") from error
        self._db.execute("DELETE FROM added")

    def _free(self) -> Iterator[int]:
        """Places that no added document takes."""
        place = 0
        for (taken,) in self._db.execute("SELECT place FROM added ORDER BY place"):
            yield from range(place, taken)
            place = taken + 1
        yield from range(place, self.count)

    def find(self, entry: Entry, place: str) -> bool:
        """Note a document of a file, the next in order; as it was recorded, if its content is what was recorded.

        Args:
            entry: What is to be recorded of it, if nothing is yet.
            place: File and line.

        Returns:
            Whether it is the first with its id.
        """
        known = self._db.execute(f"SELECT place, {ENTRY} FROM documents WHERE id = ?", (entry.id,)).fetchone()
        same = known is not None and known[2] == entry.content
        row = known[1:] if same else tuple(vars(entry).values())
        try:
            was = known[0] if same else None
            self._db.execute("INSERT INTO now VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (self.found, *row, was, place))
        except sqlite3.IntegrityError:
            return False
        self.found += 1
        return True

    def differences(self) -> Iterator[Differing]:
        """How what was found differs from what is recorded; call it once, after the last `find`."""
        self._part_moved()
        statement = """
            SELECT CASE WHEN d.id IS NULL THEN 'added' WHEN d.content <> n.content THEN 'changed' ELSE 'moved' END, n.id, n.line
            FROM now n LEFT JOIN documents d ON d.id = n.id WHERE n.was IS NULL ORDER BY n.place
        """
        yield from (Differing(*row) for row in self._db.execute(statement))
        statement = "SELECT id FROM documents d WHERE NOT EXISTS (SELECT 1 FROM now n WHERE n.id = d.id) ORDER BY place"
        yield from (Differing("missing", row[0], "") for row in self._db.execute(statement))

    def removals(self) -> Iterator[str]:
        """After `differences`: ids to remove before `additions`."""
        statement = "SELECT d.id FROM documents d LEFT JOIN now n ON n.id = d.id WHERE n.was IS NULL ORDER BY d.place"
        return (row[0] for row in self._db.execute(statement))

    def additions(self) -> Iterator[tuple[Entry, int]]:
        """After `differences`: what to add, and where."""
        statement = f"SELECT {ENTRY}, place FROM now WHERE was IS NULL ORDER BY place"
        return ((Entry(*row[:-1]), row[-1]) for row in self._db.execute(statement))

    def found_entries(self) -> Iterator[Entry]:
        """What was found, in order."""
        return (Entry(*row) for row in self._db.execute(f"SELECT {ENTRY} FROM now ORDER BY place"))

    def _part_moved(self) -> None:
        """Take the recorded place from all that are not on a longest rising subsequence; that takes 24 bytes a document."""
        last = -1
        for (was,) in self._db.execute("SELECT was FROM now WHERE was IS NOT NULL ORDER BY place"):
            if was < last:
                break
            last = was
        else:
            return
        places, recorded = array("q"), array("q")
        for place, was in self._db.execute("SELECT place, was FROM now WHERE was IS NOT NULL ORDER BY place"):
            places.append(place)
            recorded.append(was)
        stay = _longest_rise(recorded)
        moved = ((place,) for i, place in enumerate(places) if not stay[i])
        self._db.executemany("UPDATE now SET was = NULL WHERE place = ?", moved)


def hash_of(entries: Iterable[Entry]) -> str:
    """Of all that is recorded of documents, in their order."""
    seen = hashlib.sha256(domain("corpus"))
    for entry in entries:
        seen.update(bytes.fromhex(entry.hash))
    return seen.hexdigest()


def _longest_rise(values: array[int]) -> bytearray:
    """Which of different numbers are on a longest rising subsequence (Schensted 1961): 1 for each that is."""
    ends, rows, before = array("q"), array("q"), array("q")
    for i, value in enumerate(values):
        at = bisect_left(ends, value)
        before.append(rows[at - 1] if at else -1)
        if at == len(ends):
            ends.append(value)
            rows.append(i)
        else:
            ends[at], rows[at] = value, i
    chosen = bytearray(len(values))
    row = rows[-1] if rows else -1
    while row >= 0:
        chosen[row] = 1
        row = before[row]
    return chosen
