"""Evidence in an SQL database: one SQLite file, or a PostgreSQL server that several workers share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ragguard.errors import InvalidInputError
from ragguard.evidence.memory_store import MemoryStore
from ragguard.sql import Database
from ragguard.text import content_hash
from ragguard.types import Evidence, Span, Vectors

LOGGER = logging.getLogger("ragguard")

Precision: TypeAlias = Literal["int8", "fp16", "fp32"]
FORMS: Mapping[str, str] = {"int8": "i1", "fp16": "<f2", "fp32": "<f4"}
LARGEST = 127
"""What the largest number of a vector becomes in int8. No scale is kept: vectors are of unit length again when they are read."""

CACHED = 10_000
"""Texts whose evidence is kept in memory, too: as many as have a profile there (`ragguard.evidence.profiles.BUILT`)."""

SCHEMA = 1
AT_ONCE = 500
"""Texts that one statement asks for."""

ADVICE = "a damaged file may be deleted when no store has it open, since evidence can be computed again"

VACUUM: Mapping[str, Sequence[str]] = {
    "sqlite": ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"),
    "postgresql": ("VACUUM ragguard_evidence",),
}

_METADATA = sa.MetaData()
_ABOUT = sa.Table("ragguard_store", _METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
_KINDS = sa.Table(
    "ragguard_kind",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)
_EVIDENCE = sa.Table(
    "ragguard_evidence",
    _METADATA,
    sa.Column("kind", sa.ForeignKey(_KINDS.c.id), primary_key=True),
    sa.Column("content", sa.String(64), primary_key=True),
    sa.Column("form", sa.String(4), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("spans", sa.LargeBinary, nullable=False),
    sa.Column("vectors", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.LargeBinary(16), nullable=False),
)


@dataclass(frozen=True)
class Kept:
    """What a store holds of one kind.

    Attributes:
        kind: Encoder and plan.
        texts: Of how many texts.
        megabytes: Of spans and vectors; the database's own overhead comes on top.
    """

    kind: str
    texts: int
    megabytes: float


class SQLStore:
    """An `EvidenceStore` that outlives the process, with a bounded store in memory in front.

    Rows are named by the hash of the canonical text, and by encoder and plan: evidence of another model or setting may lie in the
    same database and is never read. Each has a digest: what was damaged on disk is logged and computed again. That is no
    protection against someone who can write to the database.

    Safe to use from many threads, and from several processes at once: who comes second writes the same content again.
    """

    def __init__(self, database: str | Path, *, precision: Precision = "fp16", cached: int = CACHED) -> None:
        """Open a database, or make it.

        Args:
            database: A path of an SQLite file, or an SQLAlchemy URL, such as `postgresql+psycopg://user@host/name`.
            precision: Of the vectors on disk, which is also what is returned right after they were computed. fp16 takes half the
                room, int8 a quarter; of both no verdict of 8,000 of the default guard on nq_dev changes, but int8 moves suspicion
                by up to .36 where honest documents end at 1 (`benchmarks/results/sql_store.json`).
            cached: Texts whose evidence is kept in memory, too; the least recently used goes first.

        Raises:
            InvalidInputError: If a setting is out of range.
            StoreError: If the database cannot be opened or made, or is of another version.
        """
        if precision not in FORMS:
            raise InvalidInputError(f"precision must be one of {sorted(FORMS)}, not {precision!r}")
        self._form, self._recent = precision, MemoryStore(cached)
        self._database = Database(str(database), _ABOUT, SCHEMA, content="evidence", advice=ADVICE)
        self.name = self._database.name

    def get(self, keys: Sequence[str]) -> list[Evidence | None]:
        """What is stored under each key, or None.

        Raises:
            StoreError: If the database does not answer.
        """
        known = dict(zip(keys, self._recent.get(keys), strict=True))
        missing = sorted(key for key, evidence in known.items() if evidence is None)
        if missing:
            with self._database.used("read") as connection:
                read = dict(self._read(connection, missing))
            self._recent.put(read)
            known.update(read)
        return [known[key] for key in keys]

    def put(self, items: Mapping[str, Evidence]) -> None:
        """Store all of them or, where that fails, none.

        Raises:
            StoreError: If the database cannot be written to.
        """
        rows = {key: self._row(key, item) for key, item in items.items()}
        rounded = {key: _evidence(**row) for key, row in rows.items()}
        with self._database.used("write") as connection:
            for kind, keys in groupby(sorted(rows), key=_kind):
                number = self._number(connection, kind)
                fresh = self._database.insert(_EVIDENCE)
                content = ("form", "count", "spans", "vectors", "digest")
                whole = fresh.on_conflict_do_update(
                    index_elements=["kind", "content"], set_={name: fresh.excluded[name] for name in content}
                )
                connection.execute(whole, [{"kind": number, "content": _content(key), **rows[key]} for key in keys])
        self._recent.put(rounded)

    def kept(self) -> list[Kept]:
        """What is stored, by encoder and plan.

        Raises:
            StoreError: If the database does not answer.
        """
        size = sa.func.sum(sa.func.length(_EVIDENCE.c.spans) + sa.func.length(_EVIDENCE.c.vectors))
        sizes = sa.select(_KINDS.c.name, sa.func.count(), size).join(_EVIDENCE).group_by(_KINDS.c.name).order_by(_KINDS.c.name)
        with self._database.used("read") as connection:
            return [Kept(name, count, round(int(total) / 1e6, 3)) for name, count, total in connection.execute(sizes)]

    def check_writable(self) -> None:
        """Ask for what writing needs, and write nothing.

        Raises:
            StoreError: If the database cannot be written to.
        """
        with self._database.used("write") as connection:
            connection.execute(sa.delete(_EVIDENCE).where(sa.false()))

    def vacuum(self, texts: Iterable[str]) -> int:
        """Forget all but these canonical texts, free their room, and return how many rows went.

        SQLite gives the room back to the disk; PostgreSQL keeps it for what comes.

        Raises:
            StoreError: If the database cannot be written to.
        """
        wanted = {content_hash(text) for text in texts}
        with self._database.used("read") as connection:
            known = set(connection.scalars(sa.select(_EVIDENCE.c.content).distinct()))
        gone = 0
        for block in _blocks(sorted(known - wanted)):
            with self._database.used("write") as connection:  # a transaction a block, so that nobody waits long
                in_block = _EVIDENCE.c.content.in_(block)
                order = (_EVIDENCE.c.kind, _EVIDENCE.c.content)  # in which `put` locks, too
                connection.execute(sa.select(*order).where(in_block).order_by(*order).with_for_update())
                gone += connection.execute(sa.delete(_EVIDENCE).where(in_block)).rowcount
        with self._database.used("vacuum", isolation_level="AUTOCOMMIT") as connection:
            for statement in VACUUM[self._database.dialect]:
                connection.exec_driver_sql(statement)
        self._recent.clear()
        return gone

    def close(self) -> None:
        """Close all connections; using the store again opens new ones."""
        self._database.close()

    def __enter__(self) -> SQLStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _number(self, connection: sa.Connection, kind: str) -> int:
        number = sa.select(_KINDS.c.id).where(_KINDS.c.name == kind)
        if (known := connection.scalar(number)) is not None:
            return int(known)
        connection.execute(self._database.insert(_KINDS).on_conflict_do_nothing(), {"name": kind})
        return int(connection.scalars(number).one())

    def _read(self, connection: sa.Connection, keys: Sequence[str]) -> Iterator[tuple[str, Evidence]]:
        columns = (_EVIDENCE.c[name] for name in ("content", "digest", "form", "count", "spans", "vectors"))
        rows = sa.select(*columns).join(_KINDS).where(_KINDS.c.name == sa.bindparam("kind"))
        rows = rows.where(_EVIDENCE.c.content.in_(sa.bindparam("contents", expanding=True)))
        for kind, of_kind in groupby(keys, key=_kind):
            for block in _blocks(of_kind):
                named = {_content(key): key for key in block}
                for content, digest, *values in connection.execute(rows, {"kind": kind, "contents": list(named)}):
                    key = named.get(content, "")
                    if digest == _digest(key, *values):  # not bytes(digest): a damaged one may be a number, and fill the memory
                        yield key, _evidence(*values)
                    else:
                        LOGGER.warning(f"{self.name}: evidence under {key!r} is damaged; it is computed again")

    def _row(self, key: str, item: Evidence) -> dict[str, Any]:
        counts = [len(ranges) for ranges in item.spans]
        offsets = [offset for ranges in item.spans for span in ranges for offset in (span.start, span.end)]
        values: dict[str, Any] = {
            "form": self._form,
            "count": len(counts),
            "spans": np.array([*counts, *offsets], dtype="<i4").tobytes(),
            "vectors": _rounded(item.vectors, self._form).tobytes(),
        }
        return {**values, "digest": _digest(key, **values)}


def _kind(key: str) -> str:
    return key.rpartition("|")[0]


def _content(key: str) -> str:
    return key.rpartition("|")[2]


def _blocks(keys: Iterable[str]) -> Iterator[Collection[str]]:
    rest = iter(keys)
    while block := list(islice(rest, AT_ONCE)):
        yield block


def _digest(key: str, form: str, count: int, spans: bytes, vectors: bytes) -> bytes:
    """Over the key, too: a row that is found under a name that is not its own is damaged."""
    digest = hashlib.blake2b(f"{len(key)}:{key}:{form}:{count}:{len(spans)}:".encode(), digest_size=16)
    digest.update(spans)
    digest.update(vectors)
    return digest.digest()


def _rounded(vectors: Vectors, form: str) -> NDArray[Any]:
    if form == "int8":
        vectors = np.rint(vectors / np.abs(vectors).max(axis=1, keepdims=True, initial=np.finfo(np.float32).tiny) * LARGEST)
    return np.ascontiguousarray(vectors, dtype=FORMS[form])


def _evidence(form: str, count: int, spans: bytes, vectors: bytes, **_: Any) -> Evidence:
    """As it was, its vectors rounded and of unit length again."""
    numbers = np.frombuffer(spans, dtype="<i4")
    every = iter([Span(start, end) for start, end in numbers[count:].reshape(-1, 2).tolist()])
    ranges = tuple(tuple(islice(every, length)) for length in numbers[:count].tolist())
    rows = np.frombuffer(vectors, dtype=FORMS[form]).astype(np.float32)
    rows = rows.reshape(count, rows.size // max(count, 1))
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return Evidence(ranges, rows / np.maximum(norms, np.finfo(np.float32).tiny)[:, None])
