"""Quarantines: what is put away, what is decided about it, and what must not be retrieved."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from ragguard.errors import InvalidInputError, StoreError
from ragguard.quarantine.records import BECOMES, Block, Entry, State, Step, after, likeness
from ragguard.quarantine.tables import ABOUT, ENTRIES, EVENTS, SCHEMA, START, decided, entry_digest, event, event_digest, held
from ragguard.sql import Database
from ragguard.text import content_key
from ragguard.types import Document, Verdict

SHORTEST_KEY = 8
"""Characters of a key that name it, if no other begins with them."""

LONGEST = 2000
"""Characters of an actor or a reason: what is told of a decision, not an essay."""

ADVICE = "a damaged file is put back from a copy: deleting it would let through all that it holds"


class Quarantine:
    """Texts that must not be retrieved, in SQLite or PostgreSQL, and why, and who decided what about them.

    A text is named by the hash of its canonical form: whatever its id, it is the same text. A text with the same words as one in
    quarantine, which differs in case, spaces, punctuation or look-alike letters only, must not be retrieved, either. **A defense
    has one say on a text**: once it has put one away, it never does so again, so that a text that was released stays so until a
    defense of another name speaks. History is only ever added to, in a chain of digests: what was damaged is told, and what was
    forged or rolled back by somebody who can write to the database is told to who remembers a head (`check`).

    Safe to use from many threads, and from several processes at once.
    """

    def __init__(self, database: str | Path, *, make: bool = True) -> None:
        """Open a database, or make it; the same one may hold evidence (`SQLStore`).

        Args:
            database: A path of an SQLite file, or an SQLAlchemy URL, such as `postgresql+psycopg://user@host/name`.
            make: Make it where it is missing; without it, that is an error.

        Raises:
            StoreError: If the database cannot be opened or made, is of another version, or what says which texts are in
                quarantine is damaged.
        """
        given = str(database)
        self._database = Database(given, ABOUT, SCHEMA, content="quarantine", advice=ADVICE, make=make, durable=True)
        self.name = self._database.name
        try:
            with self._database.used("read") as connection:
                self._check_texts(connection)
        except StoreError:
            self.close()
            raise

    def hold(self, document: Document, verdict: Verdict, *, by: str = "guard", query: str | None = None) -> State:
        """Put a text away, and say what became of it: held, or what somebody had decided before.

        Does nothing where a verdict of the same defense has put it away before.

        Args:
            document: What to put away.
            verdict: Why; its spans are ranges of this document's text.
            by: Who does it: "guard", or "scan".
            query: What was asked, if a query was needed to judge it.

        Raises:
            InvalidInputError: If this is no document or no verdict on it, or JSON cannot say its metadata.
            StoreError: If the database cannot be written to, or what it has of this text is damaged.
        """
        if not isinstance(document, Document) or not isinstance(verdict, Verdict) or verdict.document_id != document.id:
            raise InvalidInputError(f"a document is held by a verdict on it, not {document!r:.200} by {verdict!r:.200}")
        key, given = content_key(document.text), held(document, verdict, _told("by", by), query)
        known = sa.select(ENTRIES).where(ENTRIES.c.content == key)
        spoken = sa.exists().where(EVENTS.c.entry == ENTRIES.c.id, EVENTS.c.defense == given["defense"])
        with self._database.used("read") as connection:
            if (row := connection.execute(known.where(spoken)).first()) is not None:
                return self._state(row)
        with self._database.used("write", "alone") as connection:
            if connection.execute(known.where(spoken)).first() is None:
                self._append(connection, key, likeness(document.text), given)
            state = self._state(connection.execute(known).one())
        self._database.settle()
        return state

    def blocked(self, texts: Collection[str]) -> dict[str, Block]:
        """Which of these texts must not be retrieved, and why; one look-up in an index.

        A text that was released may be retrieved, though others with its words are held.

        Raises:
            StoreError: If the database does not answer, or what it has of one of them is damaged.
        """
        keys = {text: content_key(text) for text in texts}
        words = {text: likeness(text) for text in texts}
        alike = sa.select(sa.func.min(ENTRIES.c.id)).group_by(ENTRIES.c.likeness)
        alike = alike.where(ENTRIES.c.likeness.in_(set(words.values())), ENTRIES.c.state != "released")
        asked = sa.select(ENTRIES).where(ENTRIES.c.content.in_(set(keys.values())) | ENTRIES.c.id.in_(alike))
        with self._database.used("read") as connection:
            rows = connection.execute(asked.order_by(ENTRIES.c.id.desc())).all()  # of those alike, the first that was put away
        states = {row.content: self._state(row) for row in rows}
        first = {row.likeness: row.content for row in rows if states[row.content] != "released"}
        blocked = {}
        for text, key in keys.items():
            found = key if key in states else first.get(words[text])
            if found is not None and states[found] != "released":
                blocked[text] = Block(found, states[found], found == key)
        return blocked

    def entries(
        self, state: State | None = None, by: str | None = None, *, before: int | None = None, limit: int | None = None
    ) -> list[Entry]:
        """What is or was in quarantine, what came last first.

        Args:
            state: Only those in this state.
            by: Only those that this actor put away, such as "scan".
            before: Only those whose number is below this one: the next page.
            limit: That many at most.

        Raises:
            StoreError: If the database does not answer, or holds what is damaged; the message names the text.
        """
        asked = sa.select(ENTRIES).order_by(ENTRIES.c.id.desc()).limit(limit)
        if state is not None:
            asked = asked.where(ENTRIES.c.state == state)
        if before is not None:
            asked = asked.where(ENTRIES.c.id < before)
        if by is not None:
            held = sa.select(EVENTS.c.entry).where(EVENTS.c.what == "hold", EVENTS.c.actor == json.dumps(by))
            asked = asked.where(ENTRIES.c.id.in_(held))
        with self._database.used("read", "still") as connection:
            return [self._entry(connection, row) for row in connection.execute(asked).all()]

    def counts(self) -> dict[State, int]:
        """How many texts are in each state.

        Raises:
            StoreError: If the database does not answer.
        """
        asked = sa.select(ENTRIES.c.state, sa.func.count()).group_by(ENTRIES.c.state)
        with self._database.used("read") as connection:
            found = {state: int(count) for state, count in connection.execute(asked)}
        return {state: found.get(state, 0) for state in BECOMES.values()}

    def holders(self) -> list[str]:
        """Who put something away, such as "guard" and "scan".

        Raises:
            StoreError: If the database does not answer.
        """
        asked = sa.select(EVENTS.c.actor).where(EVENTS.c.what == "hold").distinct()
        with self._database.used("read") as connection:
            return sorted(map(json.loads, connection.scalars(asked)))

    def show(self, key: str) -> Entry:
        """One text, by its key or the first characters of it, at least eight.

        Raises:
            InvalidInputError: If there is none, or more than one.
            StoreError: If the database does not answer, or it is damaged.
        """
        with self._database.used("read", "still") as connection:
            return self._found(connection, key)

    def release(self, key: str, actor: str, reason: str, *, seen: int | None = None) -> Entry:
        """Let a text be retrieved again. Defenses that judge a query go on judging it.

        Args:
            key: Of the text, or the first characters of it, at least eight.
            actor: Who decides.
            reason: Why, in a sentence for people.
            seen: How many lines of its history who decides has seen; more than that by now is an error.

        Raises:
            InvalidInputError: If there is no such text, it is released already, its history has grown, or who or why is missing.
            StoreError: If the database cannot be written to, or the text is damaged.
        """
        return self._decided("release", key, actor, reason, seen)

    def confirm(self, key: str, actor: str, reason: str, *, seen: int | None = None) -> Entry:
        """Say that a text must never be retrieved; arguments and errors are those of `release`."""
        return self._decided("confirm", key, actor, reason, seen)

    def check(self, head: str | None = None) -> str:
        """Read all that is kept, and see that it is as it was written: events, their order, and what they make of each text.

        Args:
            head: What an earlier call returned; the history must have it. With None, who can write to the database can write
                all of it anew, or put an older copy in its place.

        Returns:
            The digest of the last event, which stands for all; remember it where the database cannot be written from.

        Raises:
            StoreError: If something is damaged, forged, missing or rolled back; the message names the text.
        """
        states: dict[int, State] = {}
        last, met = START, head in (None, START)
        every = sa.select(EVENTS, ENTRIES.c.content).join(ENTRIES).order_by(EVENTS.c.id).execution_options(yield_per=1000)
        with self._database.used("read", "still") as connection:
            self._check_texts(connection)
            for row in connection.execute(every):
                if row.previous != last or event_digest(row.content, row._asdict()) != row.digest:
                    raise self._damaged(row.content)
                states[row.entry] = after(states.get(row.entry), row.what)
                last = row.digest
                met = met or last == head
            for row in connection.execute(sa.select(ENTRIES)):
                if states.get(row.id) != row.state:
                    raise self._damaged(row.content)
        if not met:
            raise StoreError(f"{self.name} does not have the head {head:.64}: it was rolled back, or written anew; {ADVICE}")
        return last

    def close(self) -> None:
        """Close all connections; using the quarantine again opens new ones."""
        self._database.close()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _decided(self, what: Step, key: str, actor: str, reason: str, seen: int | None) -> Entry:
        given = decided(what, _told("actor", actor), _told("reason", reason))
        with self._database.used("write", "alone") as connection:
            entry = self._found(connection, key)
            if entry.state == BECOMES[what]:
                raise InvalidInputError(f"{entry.key} is {entry.state} already")
            if seen is not None and len(entry.history) != seen:
                raise InvalidInputError(f"{entry.key} has changed since you looked at it; look again")
            self._append(connection, entry.key, likeness(entry.grounds[0].document.text), given)
            entry = self._found(connection, entry.key)
        self._database.settle()
        return entry

    def _append(self, connection: sa.Connection, key: str, words: str, given: Mapping[str, Any]) -> None:
        """Write an event, and what becomes of its text; alone."""
        row = connection.execute(sa.select(ENTRIES).where(ENTRIES.c.content == key)).first()
        state = after(self._state(row) if row is not None else None, given["what"])
        entry = {"content": key, "likeness": words, "state": state, "digest": entry_digest(key, words, state)}
        if row is None:
            number = connection.scalar(sa.insert(ENTRIES).values(entry).returning(ENTRIES.c.id))
        else:
            number = row.id
            connection.execute(sa.update(ENTRIES).where(ENTRIES.c.id == number).values(entry))
        last = connection.scalar(sa.select(EVENTS.c.digest).order_by(EVENTS.c.id.desc()).limit(1)) or START
        written = {**given, "entry": number, "previous": last}
        connection.execute(sa.insert(EVENTS), {**written, "digest": event_digest(key, written)})

    def _found(self, connection: sa.Connection, key: str) -> Entry:
        if not isinstance(key, str) or not SHORTEST_KEY <= len(key) <= 64 or set(key) - set("0123456789abcdef"):
            raise InvalidInputError(f"a key is {SHORTEST_KEY} to 64 characters of 0-9 and a-f, not {key!r:.100}")
        found = connection.execute(sa.select(ENTRIES).where(ENTRIES.c.content.startswith(key)).limit(2)).all()
        if len(found) != 1:
            how = "more than one text whose key begins with" if found else "no text under"
            raise InvalidInputError(f"{self.name} has {how} {key}; list them: ragguard quarantine list")
        return self._entry(connection, found[0])

    def _entry(self, connection: sa.Connection, row: Any) -> Entry:
        asked = sa.select(EVENTS).where(EVENTS.c.entry == row.id).order_by(EVENTS.c.id)
        state: State | None = None
        history = []
        try:
            for one in connection.execute(asked):
                if event_digest(row.content, one._asdict()) != one.digest:
                    raise self._damaged(row.content)
                state = after(state, one.what)
                history.append(event(one))
        except (sa.exc.SQLAlchemyError, TypeError, KeyError, ValueError) as error:  # of rows that cannot be decoded
            raise self._damaged(row.content) from error
        if state != self._state(row) or history[0].what != "hold":
            raise self._damaged(row.content)
        return Entry(row.content, self._state(row), tuple(history), row.id)

    def _check_texts(self, connection: sa.Connection) -> None:
        """What look-ups rest on: the rows of the texts, that an index leads to each, and that none is gone."""
        if self._database.dialect == "sqlite":
            told = connection.exec_driver_sql(f"PRAGMA integrity_check({ENTRIES.name})").scalars().all()
            if told != ["ok"]:
                raise StoreError(f"{self.name} is damaged: {told[0]}; {ADVICE}")
        for row in connection.execute(sa.select(ENTRIES)):
            self._state(row)
        gone = sa.select(EVENTS.c.entry).where(EVENTS.c.entry.not_in(sa.select(ENTRIES.c.id))).limit(1)
        if (number := connection.scalar(gone)) is not None:
            raise self._damaged(f"text {number}, which is gone,")

    def _state(self, row: Any) -> State:
        """Of a row that is as it was written."""
        if entry_digest(row.content, row.likeness, row.state) != row.digest:
            raise self._damaged(row.content)
        state: State = row.state
        return state

    def _damaged(self, key: str) -> StoreError:
        return StoreError(f"{self.name}: what is kept of {key} is damaged; {ADVICE}")


def _told(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise InvalidInputError(f"{name} must be a text of 1 to {LONGEST} characters, not {value!r:.100}")
    return value.strip()
