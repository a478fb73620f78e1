"""The chain of events: each is written after the one before it, and what is read is checked against what was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ragguard.errors import StoreError
from ragguard.quarantine.records import Entry, State, after
from ragguard.quarantine.tables import ENTRIES, EVENTS, START, entry_digest, event, event_digest

ADVICE = "a damaged file is put back from a copy: deleting it would let through all that it holds"


class Chain:
    """The rows of a quarantine, over a connection that is given each time.

    Whatever is read raises a `StoreError` that names the text where it is not as it was written.
    """

    def __init__(self, name: str) -> None:
        """Bind the name of the quarantine, for errors."""
        self._name = name

    def append(self, connection: sa.Connection, key: str, likeness: str, columns: Mapping[str, Any]) -> None:
        """Write an event, and what becomes of its text; alone.

        Args:
            connection: In a transaction that nobody else writes in.
            key: Of the text.
            likeness: What its words are, however they are written; see `records.likeness`.
            columns: Of the event, see `held` and `decided`.
        """
        row = connection.execute(sa.select(ENTRIES).where(ENTRIES.c.content == key)).first()
        state = after(self.state(row) if row is not None else None, columns["what"])
        entry = {"content": key, "likeness": likeness, "state": state, "digest": entry_digest(key, likeness, state)}
        if row is None:
            number = connection.scalar(sa.insert(ENTRIES).values(entry).returning(ENTRIES.c.id))
        else:
            number = row.id
            connection.execute(sa.update(ENTRIES).where(ENTRIES.c.id == number).values(entry))
        last = connection.scalar(sa.select(EVENTS.c.digest).order_by(EVENTS.c.id.desc()).limit(1)) or START
        written = {**columns, "entry": number, "previous": last}
        connection.execute(sa.insert(EVENTS), {**written, "digest": event_digest(key, written)})

    def state(self, row: Any) -> State:
        """Of a text, by its row."""
        if entry_digest(row.content, row.likeness, row.state) != row.digest:
            raise self._damaged(row.content)
        state: State = row.state
        return state

    def entry(self, connection: sa.Connection, row: Any) -> Entry:
        """A text with its history, by its row."""
        events = sa.select(EVENTS).where(EVENTS.c.entry == row.id).order_by(EVENTS.c.id)
        state: State | None = None
        history = []
        try:
            for line in connection.execute(events):
                if event_digest(row.content, line._asdict()) != line.digest:
                    raise self._damaged(row.content)
                state = after(state, line.what)
                history.append(event(line))
        except (sa.exc.SQLAlchemyError, TypeError, KeyError, ValueError) as error:  # of rows that cannot be decoded
            raise self._damaged(row.content) from error
        if state != self.state(row) or history[0].what != "hold":
            raise self._damaged(row.content)
        return Entry(row.content, self.state(row), tuple(history), row.id)

    def check_texts(self, connection: sa.Connection) -> None:
        """What look-ups rest on: the rows of the texts, that an index leads to each, and that none is gone."""
        if connection.dialect.name == "sqlite":
            problems = connection.exec_driver_sql(f"PRAGMA integrity_check({ENTRIES.name})").scalars().all()
            if problems != ["ok"]:
                raise StoreError(f"{self._name} is damaged: {problems[0]}; {ADVICE}")
        for row in connection.execute(sa.select(ENTRIES)):
            self.state(row)
        gone = sa.select(EVENTS.c.entry).where(EVENTS.c.entry.not_in(sa.select(ENTRIES.c.id))).limit(1)
        if (number := connection.scalar(gone)) is not None:
            raise self._damaged(f"text {number}, which is gone,")

    def check(self, connection: sa.Connection, head: str | None) -> tuple[str, bool]:
        """Read all of it; the digest of the last event, and whether the history has a head that somebody remembers."""
        states: dict[int, State] = {}
        last, met = START, head in (None, START)
        every = sa.select(EVENTS, ENTRIES.c.content).join(ENTRIES).order_by(EVENTS.c.id).execution_options(yield_per=1000)
        self.check_texts(connection)
        for row in connection.execute(every):
            if row.previous != last or event_digest(row.content, row._asdict()) != row.digest:
                raise self._damaged(row.content)
            states[row.entry] = after(states.get(row.entry), row.what)
            last = row.digest
            met = met or last == head
        for row in connection.execute(sa.select(ENTRIES)):
            if states.get(row.id) != row.state:
                raise self._damaged(row.content)
        return last, met

    def _damaged(self, key: str) -> StoreError:
        return StoreError(f"{self._name}: what is kept of {key} is damaged; {ADVICE}")
