"""Surprise: what resembles the query is no language that the corpus knows."""

from __future__ import annotations

import numpy as np

from ragguard._moved import moved_names
from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.types import Span


class Surprise(Signal):
    """The largest mean surprise among the windows that carry the document's similarity to the query, in nats a token.

    Odd passages that have nothing to do with the query (formulae, names in another script) do not count. Over whole documents the
    same threshold on nq_dev finds 37 % of HotFlip's documents, over these windows all.
    """

    name = "surprise"
    meaning = "resembles the query by words that do not follow each other in this corpus"
    advice = "Write whole sentences, as the other documents do."
    computed = "ingestion"
    cost = "a bigram model of the corpus; about a millisecond a document"

    def __call__(self, candidates: Candidates) -> Scores:
        """Nats a token."""
        surprise = np.concatenate([profile.surprise for profile in candidates.profiles])
        largest: Scores = np.maximum.reduceat(np.where(candidates.near, surprise, 0.0), candidates.starts)
        return largest

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The windows that carry the similarity."""
        return candidates.near_spans(i)


__getattr__ = moved_names(__name__)
