"""What the gate measures of a document without a query: one number each, higher is more suspicious, and where it comes from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ragguard.gate.query_log import QueryLog
from ragguard.language.ngrams import token_starts
from ragguard.language.reading import PRIOR_SURPRISE, Reading, intrusion_of, window_surprise
from ragguard.text import Canonical, merge, windows
from ragguard.text.control import control_marks
from ragguard.text.hidden import hidden_marks, removed_marks
from ragguard.text.marks import CERTAIN, Mark, strength
from ragguard.types import Span, Vectors

LENGTH, STRIDE = 10, 5
"""Words of a window and from one to the next, as the guard's (`ragguard.evidence.WindowPlan`)."""

ODD = 2.0
"""Gain of a token in nats from which it is marked as put between others; USUAL honest text has .25."""

SPELT = 0.5
"""Share of single letters among the tokens from which a text has its letters set apart, as headings in scans do: the order of
its words says nothing."""


_LETTERS = frozenset(char for char in map(chr, range(0x61, 0x530)) if char.isalpha())


@dataclass(frozen=True)
class View:
    """A document as the gate's signals see it.

    Attributes:
        text: As it came.
        form: In canonical form.
        reading: Its words as the rest of the corpus sees them.
        copies: How many other documents say nearly the same.
        log: Queries that users ask; None without any.
        vector: The document's embedding, shape (d,); None without queries.
    """

    text: str
    form: Canonical
    reading: Reading
    copies: int
    log: QueryLog | None = None
    vector: Vectors | None = None

    @cached_property
    def spelt(self) -> bool:
        """Whether most of its words are single letters of an alphabet."""
        tokens = self.reading.tokens
        return sum(len(token) == 1 and token in _LETTERS for token in tokens) > SPELT * len(tokens)

    @cached_property
    def windows(self) -> list[Span]:
        """Short runs of words, of the canonical text."""
        return windows(self.form.text, LENGTH, STRIDE)

    @cached_property
    def surprises(self) -> NDArray[np.float64]:
        """Of each window, in nats a token; shape (windows,)."""
        starts = token_starts(self.form.text)
        return window_surprise(self.reading, np.searchsorted(starts, [(span.start, span.end) for span in self.windows]))

    def original(self, spans: Sequence[Span]) -> tuple[Span, ...]:
        """Ranges of the canonical text as ranges of the text as it came."""
        return merge([self.form.to_original(span) for span in spans])


class GateSignal(ABC):
    """One number for a document.

    Attributes:
        name: For verdicts and tables.
        meaning: Continues "The document ..." in reasons.
        unit: Least distance, on the signal's own scale, that counts as one unit beyond what is usual.
        asks: Whether it needs a query log.
        strong: Least number for which a document is quarantined, however unusual a lower one is in the corpus.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    unit: ClassVar[float]
    asks: ClassVar[bool] = False
    strong: ClassVar[float] = -math.inf

    @abstractmethod
    def number(self, view: View) -> float:
        """Of a document that has words; finite."""

    @abstractmethod
    def spans(self, view: View) -> tuple[Span, ...]:
        """Where the number comes from: ranges of the text as it came."""


class OddPassage(GateSignal):
    """Surprise of the most surprising window, in nats a token (`ragguard.signals.Surprise`, whose windows a query chooses)."""

    name = "surprise"
    meaning = "has a passage whose words do not follow each other in this corpus"
    unit = 0.25

    def number(self, view: View) -> float:
        """Nats a token."""
        return PRIOR_SURPRISE if view.spelt else float(view.surprises.max())

    def spans(self, view: View) -> tuple[Span, ...]:
        """The windows that are nearly as surprising as the most surprising one."""
        surprises = view.surprises
        odd = [span for span, surprise in zip(view.windows, surprises, strict=True) if surprise >= 0.95 * surprises.max()]
        return view.original(odd)


class PlantedWords(GateSignal):
    """How much the text gains when words are taken out one by one (`ragguard.signals.Intrusion`)."""

    name = "intrusion"
    meaning = "has words between its words that do not belong there"
    unit = 0.25

    def number(self, view: View) -> float:
        """In standard units of honest text."""
        return 0.0 if view.spelt else intrusion_of(view.reading.intrusion)

    def spans(self, view: View) -> tuple[Span, ...]:
        """The words whose removal is worth most."""
        starts = token_starts(view.form.text)
        gains = zip(starts, view.reading.tokens, view.reading.intrusion, strict=True)
        end = len(view.form.text)
        return view.original([Span(start, min(start + len(token), end)) for start, token, gain in gains if gain >= ODD])


class Hidden(GateSignal):
    """The logarithm of one more than the weights of all places where text is hidden, or was, before the canonical form."""

    name = "hidden text"
    meaning = "hides text from people that models read, or characters that show nothing"
    unit = 0.25
    strong = math.log1p(CERTAIN)

    def number(self, view: View) -> float:
        """Logarithm of a sum."""
        return strength([*hidden_marks(view.form.text), *removed_marks(view.text)])

    def spans(self, view: View) -> tuple[Span, ...]:
        """The places."""
        return merge([*view.original(_places(hidden_marks(view.form.text))), *_places(removed_marks(view.text))])


class Control(GateSignal):
    """The logarithm of one more than the weights of all places that speak to a model (`ragguard.signals.ControlText`)."""

    name = "control text"
    meaning = "gives orders to a language model"
    unit = 0.25
    strong = math.log1p(CERTAIN)

    def number(self, view: View) -> float:
        """Logarithm of a sum."""
        return strength(control_marks(view.form.text))

    def spans(self, view: View) -> tuple[Span, ...]:
        """The places."""
        return view.original(_places(control_marks(view.form.text)))


class NearCopies(GateSignal):
    """The logarithm of the number of documents that say nearly the same, this one counted: a flood."""

    name = "near copies"
    meaning = "says nearly the same as other documents"
    unit = 0.7  # twice as many

    def number(self, view: View) -> float:
        """Logarithm of a count."""
        return math.log1p(view.copies)

    def spans(self, view: View) -> tuple[Span, ...]:  # noqa: ARG002
        """None: it is about the whole."""
        return ()


class LoggedQuery(GateSignal):
    """How much of a logged query the document has in one place, in any order, as `-log(share of it missing)`: a copied question.

    A word counts for more the fewer queries have it. One word of the query's is added to what is missing, so that a whole long
    query counts for more than a whole short one.
    """

    name = "logged query"
    meaning = "repeats a query that users ask"
    unit = 0.5
    asks = True

    def number(self, view: View) -> float:
        """Of the query that is repeated most."""
        return view.log.echo(view.form.text)[0] if view.log else 0.0

    def spans(self, view: View) -> tuple[Span, ...]:
        """Where its words are."""
        return view.original(view.log.echo(view.form.text)[1]) if view.log else ()


class Hub(GateSignal):
    """Similarity to the nearest tenth of the logged queries (`ragguard.signals.Outlier`)."""

    name = "hub"
    meaning = "is near to many queries that have nothing to do with each other"
    unit = 0.05
    asks = True

    def number(self, view: View) -> float:
        """A cosine."""
        return view.log.nearness(view.vector) if view.log and view.vector is not None else 0.0

    def spans(self, view: View) -> tuple[Span, ...]:  # noqa: ARG002
        """None: it is about the whole."""
        return ()


SIGNALS: tuple[GateSignal, ...] = (OddPassage(), PlantedWords(), Hidden(), Control(), NearCopies(), LoggedQuery(), Hub())
"""All, in the order in which they are told; those that ask for a query log are left out without one."""


def _places(marks: Sequence[Mark]) -> list[Span]:
    return [mark.span for mark in marks if mark.weight > 0]
