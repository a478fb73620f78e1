"""What a quarantine tells: of a text, what was done with it, and by what it is known again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

from ragguard.text import KEPT, KEPT_LENGTH, canonical, content_hash, folded_words
from ragguard.types import Document, Verdict

State: TypeAlias = Literal["held", "confirmed", "released"]
"""`held`: put away, and nobody has decided yet. `confirmed`: somebody said that it must stay. `released`: that it may go."""

Step: TypeAlias = Literal["hold", "confirm", "release"]

BECOMES: Mapping[Step, State] = {"hold": "held", "confirm": "confirmed", "release": "released"}


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
        at: When, in UTC, to the second, as the machine that did it took it to be; the order of a history is not by it.
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


@dataclass(frozen=True)
class Block:
    """Why a text must not be retrieved.

    Attributes:
        key: Of the text in quarantine.
        state: Of that text: held or confirmed.
        same: Whether it is the very text, in canonical form; else both have the same words, see `likeness`.
    """

    key: str
    state: State
    same: bool


def likeness(text: str) -> str:
    """What texts have in common that differ in case, spaces, punctuation, joiners, marks or look-alike letters only: a SHA-256.

    Of a text without words, its key.
    """
    return _kept(text) if len(text) <= KEPT_LENGTH else _likeness(text)


def _likeness(text: str) -> str:
    form = canonical(text).text
    return content_hash(" ".join(folded_words(form)) or form)


_kept = lru_cache(KEPT)(_likeness)  # every query asks for those of its candidates


def after(state: State | None, what: Step) -> State:
    """What becomes of a text by a step; None is one that was never put away. What is confirmed stays so when it is held again."""
    return "confirmed" if (state, what) == ("confirmed", "hold") else BECOMES[what]
