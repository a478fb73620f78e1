"""Evidence in an SQL database: one SQLite file, or a PostgreSQL server that several workers share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np

from ragguard.errors import InvalidInputError, StoreError
from ragguard.store import CAPACITY, MemoryStore
from ragguard.text import content_hash
from ragguard.types import Evidence, Span

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise ImportError("SQLStore needs SQLAlchemy: pip install 'ragguard-defense[sql]'") from error

LOGGER = logging.getLogger("ragguard")

Precision: TypeAlias = Literal["fp16", "fp32"]
FORMS: Mapping[str, type[np.floating[Any]]] = {"fp16": np.float16, "fp32": np.float32}

SCHEMA = 1
AT_ONCE = 500
"""Texts that one statement asks for."""

WAIT_S = 30
"""How long one writer of an SQLite file waits for another."""

ALONE: Mapping[str, str] = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7296671)"}
"""Statements after which one process at a time makes the tables."""

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

    def __init__(self, database: str | Path, *, precision: Precision = "fp16", cached: int = CAPACITY) -> None:
        """Open a database, or make it.

        Args:
            database: A path of an SQLite file, or an SQLAlchemy URL, such as `postgresql+psycopg://user@host/name`.
            precision: Of the vectors on disk, which is also what is returned right after they were computed. fp16 takes half the
                room; on nq_dev no verdict of the default guard changes (`benchmarks/results/sql_store.json`).
            cached: Texts whose evidence is kept in memory, too; the least recently used goes first.

        Raises:
            InvalidInputError: If a setting is out of range.
            StoreError: If the database cannot be opened or made, or is of another version.
        """
        if precision not in FORMS:
            raise InvalidInputError(f"precision must be one of {sorted(FORMS)}, not {precision!r}")
        self._form, self._recent = precision, MemoryStore(cached)
        url = str(database)
        try:
            self._engine = sa.create_engine(url if "://" in url else sa.URL.create("sqlite", database=url))
        except (sa.exc.ArgumentError, ImportError) as error:
            raise StoreError(f"cannot open {url!r} as a database: {error}") from error
        if self._engine.dialect.name not in ALONE:
            raise StoreError(f"evidence is kept in SQLite or PostgreSQL, not in {self._engine.dialect.name}")
        self.name = self._engine.url.render_as_string()
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        with self._used("open") as connection:
            connection.exec_driver_sql(ALONE[self._engine.dialect.name])
            _METADATA.create_all(connection)
            connection.execute(self._insert(_ABOUT).on_conflict_do_nothing(), {"version": SCHEMA})
            versions = connection.scalars(sa.select(_ABOUT.c.version)).all()
        if versions != [SCHEMA]:
            raise StoreError(
                f"{self.name} has evidence of version {sorted(versions)}, and this is {SCHEMA}; use another database"
            )

    def get(self, keys: Sequence[str]) -> list[Evidence | None]:
        """What is stored under each key, or None.

        Raises:
            StoreError: If the database does not answer.
        """
        found = dict(zip(keys, self._recent.get(keys), strict=True))
        missing = sorted(key for key, item in found.items() if item is None)
        if missing:
            with self._used("read") as connection:
                read = dict(self._read(connection, missing))
            self._recent.put(read)
            found.update(read)
        return [found[key] for key in keys]

    def put(self, items: Mapping[str, Evidence]) -> None:
        """Store all of them or, where that fails, none.

        Raises:
            StoreError: If the database cannot be written to.
        """
        rows = {key: self._row(item) for key, item in items.items()}
        with self._used("write") as connection:
            for kind, keys in groupby(sorted(rows), key=_kind):
                number = self._number(connection, kind)
                fresh = self._insert(_EVIDENCE)
                content = ("form", "count", "spans", "vectors", "digest")
                whole = fresh.on_conflict_do_update(
                    index_elements=["kind", "content"], set_={name: fresh.excluded[name] for name in content}
                )
                connection.execute(whole, [{"kind": number, "content": _content(key), **rows[key]} for key in keys])
        self._recent.put({key: _evidence(**row) for key, row in rows.items()})

    def kept(self) -> list[Kept]:
        """What is stored, by encoder and plan.

        Raises:
            StoreError: If the database does not answer.
        """
        size = sa.func.sum(sa.func.length(_EVIDENCE.c.spans) + sa.func.length(_EVIDENCE.c.vectors))
        asked = sa.select(_KINDS.c.name, sa.func.count(), size).join(_EVIDENCE).group_by(_KINDS.c.name).order_by(_KINDS.c.name)
        with self._used("read") as connection:
            return [Kept(name, count, round(int(total) / 1e6, 3)) for name, count, total in connection.execute(asked)]

    def vacuum(self, texts: Iterable[str]) -> int:
        """Forget all but these canonical texts, give the room back to the disk, and return how many rows went.

        Raises:
            StoreError: If the database cannot be written to.
        """
        wanted = {content_hash(text) for text in texts}
        with self._used("write") as connection:
            known = set(connection.scalars(sa.select(_EVIDENCE.c.content)))
            gone = 0
            for block in _blocks(known - wanted):
                gone += connection.execute(sa.delete(_EVIDENCE).where(_EVIDENCE.c.content.in_(block))).rowcount
        with self._used("vacuum", isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM"))
        self._recent.clear()
        return gone

    def close(self) -> None:
        """Close all connections; using the store again opens new ones."""
        self._engine.dispose()

    def __enter__(self) -> SQLStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _used(self, what: str, **options: Any) -> Iterator[sa.Connection]:
        """A connection in a transaction."""
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(
                f"cannot {what} {self.name}: {cause}. Nothing was stored by half. Check room, permissions and connection; "
                "a damaged file may be deleted, since evidence can be computed again."
            ) from error

    def _insert(self, table: sa.Table) -> Any:
        return (sqlite if self._engine.dialect.name == "sqlite" else postgresql).insert(table)

    def _number(self, connection: sa.Connection, kind: str) -> int:
        connection.execute(self._insert(_KINDS).on_conflict_do_nothing(), {"name": kind})
        return int(connection.scalars(sa.select(_KINDS.c.id).where(_KINDS.c.name == kind)).one())

    def _read(self, connection: sa.Connection, keys: Sequence[str]) -> Iterator[tuple[str, Evidence]]:
        columns = (_EVIDENCE.c[name] for name in ("content", "form", "count", "spans", "vectors", "digest"))
        asked = sa.select(*columns).join(_KINDS).where(_KINDS.c.name == sa.bindparam("kind"))
        asked = asked.where(_EVIDENCE.c.content.in_(sa.bindparam("contents", expanding=True)))
        for kind, mine in groupby(keys, key=_kind):
            for block in _blocks(mine):
                for row in connection.execute(asked, {"kind": kind, "contents": [_content(key) for key in block]}):
                    values = row._asdict()
                    content, digest = values.pop("content"), values.pop("digest")
                    if bytes(digest) == _digest(**values):
                        yield f"{kind}|{content}", _evidence(**values)
                    else:
                        LOGGER.warning(f"{self.name}: evidence of the text with hash {content} is damaged; it is computed again")

    def _row(self, item: Evidence) -> dict[str, Any]:
        counts = [len(ranges) for ranges in item.spans]
        offsets = [offset for ranges in item.spans for span in ranges for offset in (span.start, span.end)]
        values: dict[str, Any] = {
            "form": self._form,
            "count": len(counts),
            "spans": np.array([*counts, *offsets], dtype="<i4").tobytes(),
            "vectors": np.ascontiguousarray(item.vectors, dtype=FORMS[self._form]).tobytes(),
        }
        return {**values, "digest": _digest(**values)}


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Readers do not wait for a writer, and a killed process leaves the file as it was after some whole transaction."""
    for pragma in (f"busy_timeout={1000 * WAIT_S}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _kind(key: str) -> str:
    return key.rpartition("|")[0]


def _content(key: str) -> str:
    return key.rpartition("|")[2]


def _blocks(keys: Iterable[str]) -> Iterator[Collection[str]]:
    rest = iter(keys)
    while block := list(islice(rest, AT_ONCE)):
        yield block


def _digest(form: str, count: int, spans: bytes, vectors: bytes) -> bytes:
    made = hashlib.blake2b(f"{form}:{count}:{len(spans)}:".encode(), digest_size=16)
    made.update(spans)
    made.update(vectors)
    return made.digest()


def _evidence(form: str, count: int, spans: bytes, vectors: bytes, **_: Any) -> Evidence:
    """As it was, its vectors rounded and of unit length again."""
    numbers = np.frombuffer(spans, dtype="<i4").tolist()
    counts, offsets = numbers[:count], iter(numbers[count:])
    ranges = tuple(tuple(Span(start, next(offsets)) for start in islice(offsets, length)) for length in counts)
    rows = np.frombuffer(vectors, dtype=FORMS[form]).astype(np.float32).reshape(count, -1)
    return Evidence(ranges, rows / np.linalg.norm(rows, axis=1, keepdims=True))
