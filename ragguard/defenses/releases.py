"""Releases: documents that somebody has read and let pass, whatever defenses make of what they say."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ragguard.errors import InvalidInputError
from ragguard.text import content_key
from ragguard.types import Document

LONGEST = 2_000
"""Characters of an actor and of a reason."""


class Released(Protocol):
    """Who let a text pass, when (UTC) and why."""

    @property
    def actor(self) -> str:
        """Who."""

    @property
    def at(self) -> datetime:
        """When."""

    @property
    def reason(self) -> str:
        """Why."""


class Releases(Protocol):
    """Keeps releases. `ragguard.quarantine.Quarantine` is one that outlives the process and that many processes share."""

    def let(self, document: Document, actor: str, reason: str) -> object:
        """Release the text of a document. Raises InvalidInputError if it is released already, or who or why is missing."""

    def released(self, texts: Collection[str]) -> Mapping[str, Released]:
        """Those of the texts that are released; each by its canonical form, and no text that only resembles it."""


@dataclass(frozen=True)
class Release:
    """A release in memory, see `Released`."""

    actor: str
    at: datetime
    reason: str


class MemoryReleases:
    """Forgotten with the process, and unknown to others. Safe to use from many threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, Release] = {}
        self._lock = threading.Lock()

    def let(self, document: Document, actor: str, reason: str) -> Release:
        """Release the text of a document.

        Raises:
            InvalidInputError: If it is no document, is released already, or who or why is missing or too long.
        """
        if not isinstance(document, Document):
            raise InvalidInputError(f"a document is released, not {document!r:.200}")
        for name, value in (("actor", actor), ("reason", reason)):
            if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
                raise InvalidInputError(f"{name} must be a text of 1 to {LONGEST} characters, not {value!r:.100}")
        release = Release(actor.strip(), datetime.now(UTC).replace(microsecond=0), reason.strip())
        with self._lock:
            if (key := content_key(document.text)) in self._known:
                raise InvalidInputError(f"the text of document {document.id!r} is released already")
            self._known[key] = release
        return release

    def released(self, texts: Collection[str]) -> dict[str, Release]:
        """Those of the texts that are released."""
        if not self._known:
            return {}
        with self._lock:
            return {text: self._known[key] for text in texts if (key := content_key(text)) in self._known}
