"""The quarantine: texts that were removed, kept for people to look at, and never retrieved before somebody releases them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from ragguard.errors import InvalidInputError, StoreError
from ragguard.sql import Database
from ragguard.text import canonical, content_hash
from ragguard.types import Document, Span, Verdict

State: TypeAlias = Literal["held", "confirmed", "released"]
"""`held`: put away, and nobody has decided yet. `confirmed`: somebody said that it must stay. `released`: that it may go."""

Step: TypeAlias = Literal["hold", "confirm", "release"]

BECOMES: Mapping[Step, State] = {"hold": "held", "confirm": "confirmed", "release": "released"}

SCHEMA = 1
SHORTEST_KEY = 8
"""Characters of a key that name it, if no other begins with them."""

LONGEST = 2000
"""Characters of an actor or a reason: what is told of a decision, not an essay."""

ADVICE = "a damaged file is put back from a copy: deleting it would let through all that it holds"


class _Said(sa.types.TypeDecorator[Any]):
    """Anything that JSON can say, as ASCII: hostile texts have NULs and lone surrogates, which databases refuse."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


_METADATA = sa.MetaData()
_ABOUT = sa.Table("ragguard_quarantine", _METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
_ENTRIES = sa.Table(
    "ragguard_quarantine_entry",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("content", sa.String(64), nullable=False, unique=True),
    sa.Column("state", sa.String(9), nullable=False, index=True),
)
_EVENTS = sa.Table(
    "ragguard_quarantine_event",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("entry", sa.ForeignKey(_ENTRIES.c.id), nullable=False),
    sa.Column("defense", _Said),  # of a hold; a decision of people has none
    sa.Column("what", sa.String(7), nullable=False),
    sa.Column("at", sa.String(25), nullable=False),
    sa.Column("actor", _Said, nullable=False),
    sa.Column("reason", _Said, nullable=False),
    sa.Column("grounds", _Said),
    sa.UniqueConstraint("entry", "defense"),
)


@dataclass(frozen=True)
class Grounds:
    """What a text was put away for.

    Attributes:
        document: As it was judged; what its metadata held that JSON cannot say is there as a string.
        verdict: Of the defense or the scan; its spans are ranges of this document's text.
        query: What was asked when a guard removed it; None where no query was needed.
    """

    document: Document
    verdict: Verdict
    query: str | None


@dataclass(frozen=True)
class Event:
    """A line of a text's history.

    Attributes:
        what: What was done.
        at: When, in UTC, to the second.
        actor: Who did it: a person, or "guard" or "scan".
        reason: Why, in a sentence for people.
        grounds: Of a hold; None of a decision.
    """

    what: Step
    at: datetime
    actor: str
    reason: str
    grounds: Grounds | None


@dataclass(frozen=True)
class Entry:
    """A text in quarantine, or that was.

    Attributes:
        key: Hash of its canonical text, in hexadecimal.
        state: What became of it.
        history: All that was done with it, oldest first; the first is a hold.
        number: Grows with each text that is put away.
    """

    key: str
    state: State
    history: tuple[Event, ...]
    number: int

    @property
    def grounds(self) -> tuple[Grounds, ...]:
        """What it was put away for, oldest first; at least one, and one of each defense."""
        return tuple(event.grounds for event in self.history if event.grounds is not None)


class Quarantine:
    """Texts that must not be retrieved, in SQLite or PostgreSQL, and why, and who decided what about them.

    A text is named by the hash of its canonical form: whatever its id, it is the same text. **A defense has one say on a text**:
    once it has put one away, it never does so again, so that a text that was released stays so until a defense of
    another name speaks. History is only ever added to. That is no protection against someone who can write to the database.

    Safe to use from many threads, and from several processes at once.
    """

    def __init__(self, database: str | Path, *, make: bool = True) -> None:
        """Open a database, or make it; the same one may hold evidence (`SQLStore`).

        Args:
            database: A path of an SQLite file, or an SQLAlchemy URL, such as `postgresql+psycopg://user@host/name`.
            make: Make it where it is missing; without it, that is an error.

        Raises:
            StoreError: If the database cannot be opened or made, or is of another version.
        """
        given = str(database)
        self._database = Database(given, _ABOUT, SCHEMA, content="quarantine", advice=ADVICE, make=make, durable=True)
        self.name = self._database.name

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
            StoreError: If the database cannot be written to.
        """
        if not isinstance(document, Document) or not isinstance(verdict, Verdict) or verdict.document_id != document.id:
            raise InvalidInputError(f"a document is held by a verdict on it, not {document!r:.200} by {verdict!r:.200}")
        key, event = content_key(document.text), _held(document, verdict, _told("by", by), query)
        known = sa.select(_ENTRIES.c.state).join(_EVENTS)
        known = known.where(_ENTRIES.c.content == key, _EVENTS.c.defense == verdict.defense)
        with self._database.used("read") as connection:
            if (state := connection.scalar(known)) is not None:
                return _state(state)
        with self._database.used("write") as connection:
            fresh = self._database.insert(_ENTRIES).on_conflict_do_nothing().inline()  # first, for a lock
            connection.execute(fresh, {"content": key, "state": "held"})
            entry = connection.scalars(sa.select(_ENTRIES.c.id).where(_ENTRIES.c.content == key)).one()
            fresh = self._database.insert(_EVENTS).on_conflict_do_nothing().inline()
            if connection.execute(fresh, {"entry": entry, **event}).rowcount:
                again = sa.update(_ENTRIES).where(_ENTRIES.c.id == entry, _ENTRIES.c.state == "released")
                connection.execute(again.values(state="held"))
            return _state(connection.scalars(sa.select(_ENTRIES.c.state).where(_ENTRIES.c.id == entry)).one())

    def blocked(self, keys: Collection[str]) -> dict[str, State]:
        """Which of these must not be retrieved, and whether it is held or confirmed; one look-up in an index.

        Args:
            keys: What `content_key` gives of texts.

        Raises:
            StoreError: If the database does not answer.
        """
        asked = sa.select(_ENTRIES.c.content, _ENTRIES.c.state)
        asked = asked.where(_ENTRIES.c.content.in_(keys), _ENTRIES.c.state != "released")  # a damaged state lets nothing through
        with self._database.used("read") as connection:
            return {key: _state(state) for key, state in connection.execute(asked)}

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
            StoreError: If the database does not answer, or holds what is damaged.
        """
        asked = sa.select(_ENTRIES).order_by(_ENTRIES.c.id.desc()).limit(limit)
        if state is not None:
            asked = asked.where(_ENTRIES.c.state == state)
        if before is not None:
            asked = asked.where(_ENTRIES.c.id < before)
        if by is not None:
            held = sa.select(_EVENTS.c.entry).where(_EVENTS.c.what == "hold", _EVENTS.c.actor == by)
            asked = asked.where(_ENTRIES.c.id.in_(held))
        with self._database.used("read") as connection:
            return [self._entry(connection, row) for row in connection.execute(asked).all()]

    def counts(self) -> dict[State, int]:
        """How many texts are in each state.

        Raises:
            StoreError: If the database does not answer.
        """
        with self._database.used("read") as connection:
            found = connection.execute(sa.select(_ENTRIES.c.state, sa.func.count()).group_by(_ENTRIES.c.state))
            return dict.fromkeys(BECOMES.values(), 0) | {_state(state): int(count) for state, count in found}

    def holders(self) -> list[str]:
        """Who put something away, such as "guard" and "scan".

        Raises:
            StoreError: If the database does not answer.
        """
        with self._database.used("read") as connection:
            return sorted(connection.scalars(sa.select(_EVENTS.c.actor).where(_EVENTS.c.what == "hold").distinct()))

    def show(self, key: str) -> Entry:
        """One text, by its key or the first characters of it, at least eight.

        Raises:
            InvalidInputError: If there is none, or more than one.
            StoreError: If the database does not answer, or it is damaged.
        """
        if not isinstance(key, str) or not SHORTEST_KEY <= len(key) <= 64 or set(key) - set("0123456789abcdef"):
            raise InvalidInputError(f"a key is {SHORTEST_KEY} to 64 characters of 0-9 and a-f, not {key!r:.100}")
        with self._database.used("read") as connection:
            found = connection.execute(sa.select(_ENTRIES).where(_ENTRIES.c.content.startswith(key)).limit(2)).all()
            if len(found) != 1:
                how = "more than one text whose key begins with" if found else "no text under"
                raise InvalidInputError(f"{self.name} has {how} {key}; list them: ragguard quarantine list")
            return self._entry(connection, found[0])

    def release(self, key: str, actor: str, reason: str, *, seen: int | None = None) -> Entry:
        """Let a text be retrieved again. Defenses that judge a query go on judging it.

        Args:
            key: Of the text, or the first characters of it, at least eight.
            actor: Who decides.
            reason: Why, in a sentence for people.
            seen: How many lines of its history who decides has seen; more than that by now is an error.

        Raises:
            InvalidInputError: If there is no such text, it is released already, its history has grown, or who or why is missing.
            StoreError: If the database cannot be written to.
        """
        return self._decided("release", key, actor, reason, seen)

    def confirm(self, key: str, actor: str, reason: str, *, seen: int | None = None) -> Entry:
        """Say that a text must never be retrieved; arguments and errors are those of `release`."""
        return self._decided("confirm", key, actor, reason, seen)

    def close(self) -> None:
        """Close all connections; using the quarantine again opens new ones."""
        self._database.close()

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _decided(self, what: Step, key: str, actor: str, reason: str, seen: int | None) -> Entry:
        entry, state = self.show(key), BECOMES[what]
        event = {"entry": entry.number, "what": what, "at": _now(), "actor": _told("actor", actor)}
        event["reason"] = _told("reason", reason)
        with self._database.used("write") as connection:
            change = sa.update(_ENTRIES).where(_ENTRIES.c.id == entry.number, _ENTRIES.c.state != state)
            if not connection.execute(change.values(state=state)).rowcount:  # first, for a lock
                raise InvalidInputError(f"{entry.key} is {state} already")
            count = sa.select(sa.func.count()).where(_EVENTS.c.entry == entry.number)
            if seen is not None and connection.scalars(count).one() != seen:
                raise InvalidInputError(f"{entry.key} has changed since you looked at it; look again")
            connection.execute(sa.insert(_EVENTS), event)
        return self.show(entry.key)

    def _entry(self, connection: sa.Connection, row: Any) -> Entry:
        events = connection.execute(sa.select(_EVENTS).where(_EVENTS.c.entry == row.id).order_by(_EVENTS.c.id))
        entry = Entry(row.content, _state(row.state), tuple(_event(one) for one in events), row.id)
        if not entry.grounds or any(content_key(one.document.text) != entry.key for one in entry.grounds):
            raise StoreError(f"{self.name}: what is kept of {entry.key} is damaged; {ADVICE}")
        return entry


def content_key(text: str) -> str:
    """What a text is named by: the SHA-256 of its canonical form, in hexadecimal."""
    return content_hash(canonical(text).text)


def _told(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise InvalidInputError(f"{name} must be a text of 1 to {LONGEST} characters, not {value!r:.100}")
    return value.strip()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _state(value: str) -> State:
    """A state that can no longer be read holds."""
    return next((state for state in BECOMES.values() if state == value), "held")


def _held(document: Document, verdict: Verdict, by: str, query: str | None) -> dict[str, Any]:
    spans = [(span.start, span.end) for span in verdict.spans]
    signals = {name: float(value) for name, value in verdict.signals.items()}
    try:
        metadata = json.loads(json.dumps(dict(document.metadata), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"document {document.id!r}: its metadata is nothing that JSON can say: {error}") from error
    return {
        "defense": verdict.defense,
        "what": "hold",
        "at": _now(),
        "actor": by,
        "reason": verdict.reason,
        "grounds": {
            "document": {"id": document.id, "text": document.text, "metadata": metadata},
            "verdict": {**vars(verdict), "signals": signals, "spans": spans},
            "query": query,
        },
    }


def _event(row: Any) -> Event:
    return Event(row.what, datetime.fromisoformat(row.at), row.actor, row.reason, row.grounds and _grounds(**row.grounds))


def _grounds(document: Mapping[str, Any], verdict: Mapping[str, Any], query: str | None) -> Grounds:
    spans: Sequence[Sequence[int]] = verdict["spans"]
    return Grounds(Document(**document), Verdict(**{**verdict, "spans": tuple(Span(*span) for span in spans)}), query)
