"""A database that something is kept in: one SQLite file, or a PostgreSQL server that several processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from ragguard.errors import RAGGuardError, StoreError

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
except ImportError as error:
    raise ImportError("a database needs SQLAlchemy: pip install 'ragguard-defense[sql]'") from error

WAIT_S = 30
"""How long one writer waits for another, and for a server; a statement may take ten times as long."""

SECRETS = ("password", "passfile", "sslpassword")
"""Not told of a URL's query, as its password is not."""

ALONE: Mapping[str, str] = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(7296671)"}
"""Statements after which one process at a time goes on; the others wait."""

STILL: Mapping[str, str] = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"}
"""Statements after which nothing changes between two reads."""


class Database:
    """Tables of one version in a database, which are made where they are missing.

    Safe to use from many threads, from several processes at once, and after a fork.

    Attributes:
        name: The database, without what is secret in its URL.
        dialect: `sqlite` or `postgresql`.
        engine: SQLAlchemy's.
    """

    def __init__(
        self, database: str, about: sa.Table, version: int, *, content: str, advice: str, make: bool = True, durable: bool = False
    ) -> None:
        """Open a database.

        Args:
            database: A path of an SQLite file, or an SQLAlchemy URL, such as `postgresql+psycopg://user@host/name`.
            about: The table whose only row is the version; the others are in the same `MetaData`.
            version: Of these tables.
            content: What is kept, for messages: a word.
            advice: What to do about an error, for messages: the end of a sentence.
            make: Make what is missing; without it, that is an error.
            durable: What was written outlives a power failure, too, at the price of a wait for the disk.

        Raises:
            StoreError: If the database cannot be opened or made, or is of another version.
        """
        self._content, self._advice, self._durable = content, advice, durable
        self.engine, self._process = self._engine_for(database), os.getpid()
        self.dialect = self.engine.dialect.name
        self.name = self.engine.url.difference_update_query(SECRETS).render_as_string()
        tables = about.metadata
        file = self.engine.url.database or ""
        if not make and self.dialect == "sqlite" and not file.startswith("file:") and not os.path.exists(file):
            raise StoreError(f"there is no file {file}; name another")  # opening it would make it
        with self.used("open") as connection:
            if not all(sa.inspect(connection).has_table(table) for table in tables.tables):
                if not make:
                    raise StoreError(f"{self.name} has no {content}; name another")
                connection.exec_driver_sql(ALONE[self.dialect])
                tables.create_all(connection)
                connection.execute(self.insert(about).on_conflict_do_nothing(), {"version": version})
            versions = connection.scalars(sa.select(about.c.version)).all()
        if versions != [version]:
            raise StoreError(f"{self.name} has {content} of version {sorted(versions)}, not {version}; use another database")

    @contextmanager
    def used(self, what: str, how: Literal["alone", "still"] | None = None, **options: Any) -> Iterator[sa.Connection]:
        """A connection in a transaction; a forked process does not share its parent's.

        Args:
            what: What is being done, for messages.
            how: `alone`: one process at a time; `still`: all reads see the same; None: each statement by itself.
            **options: Of the connection, as SQLAlchemy has them.

        Raises:
            StoreError: If the database does not answer, or refuses.
        """
        if self._process != os.getpid():
            self.engine.dispose(close=False)
            self._process = os.getpid()
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                if how:
                    connection.exec_driver_sql((ALONE if how == "alone" else STILL)[self.dialect])
                yield connection
        except RAGGuardError:
            raise
        except (sa.exc.SQLAlchemyError, TypeError, ValueError) as error:  # the latter from rows that cannot be decoded
            cause = getattr(error, "orig", None) or error
            raise StoreError(
                f"cannot {what} {self.name}: {cause}. Nothing was stored by half. Check room, permissions and connection; "
                f"{self._advice}."
            ) from error

    def settle(self) -> None:
        """Bring what was written from SQLite's log into the file itself: damage to a log cuts off its end, and copies forget it.

        Raises:
            StoreError: If the file cannot be written to; nothing is lost by that.
        """
        if self.dialect == "sqlite":
            with self.used("write") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def insert(self, table: sa.Table) -> Any:
        """An insertion that may say what to do on a conflict."""
        return (sqlite if self.dialect == "sqlite" else postgresql).insert(table)

    def close(self) -> None:
        """Close all connections; using the database again opens new ones."""
        self.engine.dispose()

    def _engine_for(self, database: str) -> sa.Engine:
        try:
            url = sa.make_url(database) if "://" in database else sa.URL.create("sqlite", database=database)
            dialect = url.get_dialect()
            if dialect.name not in ALONE or dialect.is_async:
                raise StoreError(f"{self._content} is kept in SQLite or PostgreSQL by a plain driver, not in {url.drivername}")
            if dialect.name == "sqlite" and url.database in (None, "", ":memory:"):
                raise StoreError("give the SQLite file a name; in memory, nothing would be kept")
            hurried = dialect.name == "postgresql" and "connect_timeout" not in url.query
            options = {"connect_args": {"connect_timeout": WAIT_S}} if hurried else {}
            engine = sa.create_engine(url, pool_pre_ping=True, **options)
        except (sa.exc.SQLAlchemyError, ImportError, TypeError, ValueError) as error:
            # What was given may hold a password, and so may what is said of it.
            scheme = database.partition("://")[0] if "://" in database else "sqlite"
            raise StoreError(f"cannot open the {scheme} database: {type(error).__name__}; check its URL and its driver") from None
        sa.event.listen(engine, "connect", self._prepare_sqlite if dialect.name == "sqlite" else _prepare_postgresql)
        return engine

    def _prepare_sqlite(self, connection: Any, _: Any) -> None:
        """Readers do not wait for a writer, and a killed process leaves the file as it was after some whole transaction."""
        synchronous = "FULL" if self._durable else "NORMAL"
        pragmas: Sequence[str] = (f"busy_timeout={1000 * WAIT_S}", "journal_mode=WAL", f"synchronous={synchronous}")
        for pragma in (*pragmas, "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")


def _prepare_postgresql(connection: Any, _: Any) -> None:
    """Nothing waits for ever, and text is UTF-8 whatever the database's own encoding is."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{WAIT_S}s'")
        cursor.execute(f"SET statement_timeout = '{10 * WAIT_S}s'")
        cursor.execute("SET client_encoding = 'UTF8'")
    connection.commit()
