"""What signals have in common: the candidates of one query as they see them, and what a signal is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from ragguard.evidence.profile import Profile
from ragguard.types import Span, Vectors

Scores = NDArray[np.float64]
"""One number for each candidate; higher is more suspicious."""

NEAR = 0.8
"""Windows with at least this share of the best window's similarity carry a document's similarity to the query."""


MOST_CODES = 255
"""What a byte counts to."""


class Candidates:
    """The candidates of one query, their windows side by side.

    Attributes:
        words: The query's words as a reader sees them.
        distinct: Each of them once.
        profiles: One for each candidate.
        starts: The first window of each candidate, shape (candidates,).
        rows: The candidate of each window, shape (windows,).
        similarities: Similarity of each window to the query, shape (windows,).
    """

    def __init__(self, words: Sequence[str], vector: Vectors, profiles: Sequence[Profile]) -> None:
        """Compare windows with the query.

        Args:
            words: Of the query.
            vector: Of the query, shape (d,).
            profiles: At least one, each with at least one window.
        """
        self.words, self.profiles = tuple(words), profiles
        self.distinct = tuple(dict.fromkeys(self.words))
        counts = np.array([len(profile.spans) for profile in profiles])
        self.starts = np.cumsum(counts) - counts
        self.rows = np.repeat(np.arange(len(profiles)), counts)
        self.similarities = np.concatenate([profile.vectors @ vector for profile in profiles])

    @cached_property
    def best(self) -> NDArray[np.float32]:
        """Similarity of each candidate's best window, shape (candidates,)."""
        best: NDArray[np.float32] = np.maximum.reduceat(self.similarities, self.starts)
        return best

    @cached_property
    def codes(self) -> NDArray[np.intp]:
        """Which of the query's distinct words each word of the candidates is, counted from 1; 0 if none. Side by side."""
        keys = np.concatenate([profile.keys for profile in self.profiles])
        wanted = np.array([hash(word) for word in self.distinct], dtype=np.int64)
        if not len(wanted):
            return np.zeros(len(keys), dtype=np.intp)
        order = np.argsort(wanted)
        places = np.minimum(np.searchsorted(wanted[order], keys), len(wanted) - 1)
        codes: NDArray[np.intp] = np.where(wanted[order][places] == keys, order[places] + 1, 0)
        return codes

    @cached_property
    def coded(self) -> tuple[Sequence[Hashable], list[Sequence[Hashable]]]:
        """The words of the query and of each candidate, for alignment: as bytes, 0 where the query lacks a word.

        Aligning bytes takes a third of the time. A query of more than 255 different words stays as it is.
        """
        if len(self.distinct) > MOST_CODES:
            return self.words, [profile.words for profile in self.profiles]
        known = {word: code for code, word in enumerate(self.distinct, 1)}
        texts = self.codes.astype(np.uint8).tobytes()
        ends = accumulate(len(profile.words) for profile in self.profiles)
        return bytes(known[word] for word in self.words), [texts[start:end] for start, end in pairwise([0, *ends])]

    @cached_property
    def together(self) -> Scores:
        """Minus the logarithm of the share of the query that each candidate's best equally long part lacks, half a word added."""
        wanted, texts = self.coded
        ratios = np.array([fuzz.partial_ratio(wanted, text) for text in texts])
        return -np.log(1 - ratios / 100 + 0.5 / max(len(self.words), 1))

    @cached_property
    def near(self) -> NDArray[np.bool_]:
        """Which windows carry their document's similarity, shape (windows,); at least one of each document."""
        best = self.best[self.rows]
        return self.similarities >= np.where(best > 0, NEAR * best, best)

    def near_spans(self, i: int) -> tuple[Span, ...]:
        """Ranges of the windows that carry a candidate's similarity."""
        profile, start = self.profiles[i], self.starts[i]
        return tuple(profile.spans[j] for j in np.flatnonzero(self.near[start : start + len(profile.spans)]).tolist())


class Signal(ABC):
    """A number for each candidate of a query. A subclass sets the attributes and implements `__call__`.

    Attributes:
        name: For tables and verdicts.
        meaning: What a high value means, as the end of a sentence about the document.
        advice: What to change, in a sentence for the author of an honest page.
        computed: When its work is done: at ingestion, or at query time (from what ingestion prepared).
        cost: What it costs.
        unit: Least difference between a usual score and a rare one, where clean queries show none.
        telltale: Whether any value above 0 is told, suspicious or not.
        alone: Whether a high value is suspicious by itself, and not only together with those of other signals.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    advice: ClassVar[str] = ""
    computed: ClassVar[Literal["ingestion", "query"]]
    cost: ClassVar[str]
    unit: ClassVar[float] = 1e-3
    alone: ClassVar[bool] = True
    telltale: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, candidates: Candidates) -> Scores:
        """A finite number for each candidate, shape (candidates,)."""

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:  # noqa: ARG002
        """Ranges of a candidate's text that the number is about; none where it is about the whole."""
        return ()
