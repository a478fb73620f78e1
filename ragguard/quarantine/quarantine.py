"""Quarantines: what is put away, what is decided about it, and what must not be retrieved."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from ragguard.errors import InvalidInputError, StoreError
from ragguard.quarantine.chain import ADVICE as ADVICE
from ragguard.quarantine.chain import Chain
from ragguard.quarantine.records import BECOMES, Block, Entry, Event, State, Step, likeness
from ragguard.quarantine.tables import ABOUT, ENTRIES, EVENTS, SCHEMA, decided, held
from ragguard.sql import Database
from ragguard.text import content_key
from ragguard.types import Document, Verdict

SHORTEST_KEY = 8
"""Characters of a key that name it, if no other begins with them."""

LONGEST = 2000
"""Characters of an actor or a reason: what is told of a decision, not an essay."""


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
        self._database = Database(str(database), ABOUT, SCHEMA, content="quarantine", advice=ADVICE, make=make, durable=True)
        self.name = self._database.name
        self._chain = Chain(self.name)
        try:
            with self._database.used("read") as connection:
                self._chain.check_texts(connection)
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
        key, columns = content_key(document.text), held(document, verdict, _short_text("by", by), query)
        known = sa.select(ENTRIES).where(ENTRIES.c.content == key)
        spoken = sa.exists().where(EVENTS.c.entry == ENTRIES.c.id, EVENTS.c.defense == columns["defense"])
        with self._database.used("read") as connection:
            if (row := connection.execute(known.where(spoken)).first()) is not None:
                return self._chain.state(row)
        with self._database.used("write", "alone") as connection:
            if connection.execute(known.where(spoken)).first() is None:
                self._chain.append(connection, key, likeness(document.text), columns)
            state = self._chain.state(connection.execute(known).one())
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
        known = sa.select(ENTRIES).where(ENTRIES.c.content.in_(set(keys.values())) | ENTRIES.c.id.in_(alike))
        with self._database.used("read") as connection:
            rows = connection.execute(known.order_by(ENTRIES.c.id.desc())).all()  # of those alike, the first that was put away
        states = {row.content: self._chain.state(row) for row in rows}
        first = {row.likeness: row.content for row in rows if states[row.content] != "released"}
        blocked = {}
        for text, key in keys.items():
            listed = key if key in states else first.get(words[text])
            if listed is not None and states[listed] != "released":
                blocked[text] = Block(listed, states[listed], listed == key)
        return blocked

    def released(self, texts: Collection[str]) -> dict[str, Event]:
        """Those of these texts that somebody released, and that decision; one look-up in an index.

        Raises:
            StoreError: If the database does not answer, or what it has of one of them is damaged.
        """
        keys = {text: content_key(text) for text in texts}
        known = sa.select(ENTRIES).where(ENTRIES.c.content.in_(set(keys.values())), ENTRIES.c.state == "released")
        with self._database.used("read") as connection:
            entries = [self._chain.entry(connection, row) for row in connection.execute(known).all()]
        decisions = {entry.key: next(event for event in reversed(entry.history) if event.what == "release") for entry in entries}
        return {text: decisions[key] for text, key in keys.items() if key in decisions}

    def let(self, document: Document, actor: str, reason: str) -> Entry:
        """Release a document that need not have been put away: it is, so that its text and the decision stay in the history.

        Raises:
            InvalidInputError: If it is no document, its text is released already, or who or why is missing.
            StoreError: If the database cannot be written to, or the text is damaged.
        """
        if not isinstance(document, Document):
            raise InvalidInputError(f"a document is released, not {document!r:.200}")
        actor, reason = _short_text("actor", actor), _short_text("reason", reason)
        if self.released({document.text}):
            raise InvalidInputError(f"the text of document {document.id!r} is released already")
        verdict = Verdict(document.id, "release", "keep", "Put here to keep that it is released.", 1, 1)
        self.hold(document, verdict, by=actor)
        return self.release(content_key(document.text), actor, reason)

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
        page = sa.select(ENTRIES).order_by(ENTRIES.c.id.desc()).limit(limit)
        if state is not None:
            page = page.where(ENTRIES.c.state == state)
        if before is not None:
            page = page.where(ENTRIES.c.id < before)
        if by is not None:
            held_by = sa.select(EVENTS.c.entry).where(EVENTS.c.what == "hold", EVENTS.c.actor == json.dumps(by))
            page = page.where(ENTRIES.c.id.in_(held_by))
        with self._database.used("read", "still") as connection:
            return [self._chain.entry(connection, row) for row in connection.execute(page).all()]

    def counts(self) -> dict[State, int]:
        """How many texts are in each state.

        Raises:
            StoreError: If the database does not answer.
        """
        by_state = sa.select(ENTRIES.c.state, sa.func.count()).group_by(ENTRIES.c.state)
        with self._database.used("read") as connection:
            counts = {state: int(count) for state, count in connection.execute(by_state)}
        return {state: counts.get(state, 0) for state in BECOMES.values()}

    def holders(self) -> list[str]:
        """Who put something away, such as "guard" and "scan".

        Raises:
            StoreError: If the database does not answer.
        """
        actors = sa.select(EVENTS.c.actor).where(EVENTS.c.what == "hold").distinct()
        with self._database.used("read") as connection:
            return sorted(map(json.loads, connection.scalars(actors)))

    def show(self, key: str) -> Entry:
        """One text, by its key or the first characters of it, at least eight.

        Raises:
            InvalidInputError: If there is none, or more than one.
            StoreError: If the database does not answer, or it is damaged.
        """
        with self._database.used("read", "still") as connection:
            return self._entry(connection, key)

    def release(self, key: str, actor: str, reason: str, *, seen: int | None = None) -> Entry:
        """Let a text be retrieved again. Defenses whose `releases` this is judge it no more.

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
        with self._database.used("read", "still") as connection:
            last, met = self._chain.check(connection, head)
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
        columns = decided(what, _short_text("actor", actor), _short_text("reason", reason))
        with self._database.used("write", "alone") as connection:
            entry = self._entry(connection, key)
            if entry.state == BECOMES[what]:
                raise InvalidInputError(f"{entry.key} is {entry.state} already")
            if seen is not None and len(entry.history) != seen:
                raise InvalidInputError(f"{entry.key} has changed since you looked at it; look again")
            self._chain.append(connection, entry.key, likeness(entry.grounds[0].document.text), columns)
            entry = self._entry(connection, entry.key)
        self._database.settle()
        return entry

    def _entry(self, connection: sa.Connection, key: str) -> Entry:
        """The only text whose key begins so."""
        if not isinstance(key, str) or not SHORTEST_KEY <= len(key) <= 64 or set(key) - set("0123456789abcdef"):
            raise InvalidInputError(f"a key is {SHORTEST_KEY} to 64 characters of 0-9 and a-f, not {key!r:.100}")
        rows = connection.execute(sa.select(ENTRIES).where(ENTRIES.c.content.startswith(key)).limit(2)).all()
        if len(rows) != 1:
            how = "more than one text whose key begins with" if rows else "no text under"
            raise InvalidInputError(f"{self.name} has {how} {key}; list them: ragguard quarantine list")
        return self._chain.entry(connection, rows[0])


def _short_text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise InvalidInputError(f"{name} must be a text of 1 to {LONGEST} characters, not {value!r:.100}")
    return value.strip()
