"""How a quarantine is kept: a row for each text, a row for each event, and a digest on each that tells damage.

The events are a chain: each has the digest of the one before it, so that the last stands for all of them. Strings are kept as
JSON in ASCII: hostile texts have NULs and lone surrogates, which databases refuse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from ragguard.errors import InvalidInputError
from ragguard.quarantine.records import Event, Grounds
from ragguard.types import Document, Span, Verdict

SCHEMA = 1
START = "0" * 64
"""What the first event follows."""

NESTED = 20
"""Levels of metadata that are kept: what is nested until Python gives up would stop the guard, or whoever looks at it."""

METADATA = sa.MetaData()
ABOUT = sa.Table("ragguard_quarantine", METADATA, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
ENTRIES = sa.Table(
    "ragguard_quarantine_entry",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("content", sa.String(64), nullable=False, unique=True),
    sa.Column("likeness", sa.String(64), nullable=False, index=True),
    sa.Column("state", sa.String(9), nullable=False, index=True),
    sa.Column("digest", sa.String(64), nullable=False),
)
EVENTS = sa.Table(
    "ragguard_quarantine_event",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("entry", sa.ForeignKey(ENTRIES.c.id), nullable=False),
    sa.Column("defense", sa.Text),  # of a hold; a decision of people has none
    sa.Column("what", sa.String(7), nullable=False),
    sa.Column("at", sa.String(25), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("grounds", sa.Text),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.UniqueConstraint("entry", "defense"),
)
BOUND = ("defense", "what", "at", "actor", "reason", "grounds", "previous")
"""Columns of an event that its digest is of, after the key of its text."""


def entry_digest(content: str, likeness: str, state: str) -> str:
    """Of a row of a text."""
    return _digest("entry", content, likeness, state)


def event_digest(content: str, event: Mapping[str, Any]) -> str:
    """Of a row of an event about the text of this key, and by it of all events before."""
    return _digest("event", content, *(event[name] for name in BOUND))


def held(document: Document, verdict: Verdict, by: str, query: str | None) -> dict[str, Any]:
    """The columns of a hold.

    Raises:
        InvalidInputError: If JSON cannot say the metadata.
    """
    spans = [(span.start, span.end) for span in verdict.spans]
    try:
        signals = {name: float(value) for name, value in verdict.signals.items()}
        metadata = json.loads(json.dumps(_shallow(dict(document.metadata)), default=str))
        grounds = json.dumps(
            {
                "document": {"id": document.id, "text": document.text, "metadata": metadata},
                "verdict": {**vars(verdict), "signals": signals, "spans": spans},
                "query": query,
            }
        )
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"document {document.id!r}: JSON cannot say its metadata, or its verdict: {error}") from error
    return {**decided("hold", by, verdict.reason), "defense": json.dumps(verdict.defense), "grounds": grounds}


def decided(what: str, actor: str, reason: str) -> dict[str, Any]:
    """The columns of a decision."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {
        "defense": None,
        "what": what,
        "at": now,
        "actor": json.dumps(actor),
        "reason": json.dumps(reason),
        "grounds": None,
    }


def event(row: Any) -> Event:
    """What a row tells.

    Raises:
        ValueError: If it cannot be read; TypeError and KeyError, likewise.
    """
    grounds = _grounds(**json.loads(row.grounds)) if row.grounds is not None else None
    return Event(row.what, datetime.fromisoformat(row.at), json.loads(row.actor), json.loads(row.reason), grounds)


def _shallow(value: Any, levels: int = NESTED) -> Any:
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return "…"
    if isinstance(value, Mapping):
        return {name: _shallow(inner, levels - 1) for name, inner in value.items()}
    return [_shallow(inner, levels - 1) for inner in value]


def _grounds(document: Mapping[str, Any], verdict: Mapping[str, Any], query: str | None) -> Grounds:
    spans: Sequence[Sequence[int]] = verdict["spans"]
    return Grounds(Document(**document), Verdict(**{**verdict, "spans": tuple(Span(*span) for span in spans)}), query)


def _digest(*fields: str | None) -> str:
    """SHA-256 of strings, each after its length, so that none can pass for the end of another."""
    seen = hashlib.sha256()
    for field in fields:
        seen.update(b"-" if field is None else f"{len(field)}:{field}".encode())
    return seen.hexdigest()
