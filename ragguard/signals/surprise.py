"""Surprise: what resembles the query is no language that the corpus knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.signals.corpus import Reading
from ragguard.types import Span

PRIOR, USUAL = 6, 7.0
"""Tokens of usual surprise, in nats, that are added to each window: texts of three words say little."""


class Surprise(Signal):
    """The largest mean surprise among the windows that carry the document's similarity to the query, in nats a token.

    Odd passages that have nothing to do with the query (formulae, names in another script) do not count. Over whole documents the
    same threshold on nq_dev finds 37 % of HotFlip's documents, over these windows all.
    """

    name = "surprise"
    meaning = "resembles the query by words that do not follow each other in this corpus"
    computed = "ingestion"
    cost = "a bigram model of the corpus; about a millisecond a document"

    def __call__(self, candidates: Candidates) -> Scores:
        """Nats a token."""
        surprise = np.concatenate([profile.surprise for profile in candidates.profiles])
        found: Scores = np.maximum.reduceat(np.where(candidates.near, surprise, 0.0), candidates.starts)
        return found

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The windows that carry the similarity."""
        return candidates.near_spans(i)


def window_surprise(reading: Reading, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean surprise of each window's fresh tokens, with the prior; shape (windows,).

    Args:
        reading: Of the text.
        places: First token of each window, and the one after its last; shape (windows, 2).
    """
    each = np.stack([reading.surprise * reading.fresh, reading.fresh])
    sums = np.pad(np.cumsum(each, axis=1), ((0, 0), (1, 0)))
    total, count = sums[:, places[:, 1]] - sums[:, places[:, 0]]
    found: NDArray[np.float64] = (total + PRIOR * USUAL) / (count + PRIOR)
    return found
