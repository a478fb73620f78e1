"""Flood: several candidates that say the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ragguard.signals.base import Candidates, Scores, Signal

AGREEING = 3
"""Candidates that must agree with a document; with one lie nothing tells it (DESIGN section 5)."""

ALIKE = 0.7
"""Cosine of two documents' centres from which their windows are compared: half of the queries of nq_dev have such documents, two
or three each. From .75 on, a third of the agreeing lies is not compared."""

MEMBER = 0.1
"""Documents that agree less than the most agreeing one by more than this are no part of the flood: honest answers resemble lies
about the same thing, and lies resemble each other more."""


class Flood(Signal):
    """The third-largest agreement of a candidate with another one; 0 where there are fewer, and for those not of the flood.

    Two documents agree as far as each window of one has its like in the other: the mean, over the windows, of the cosine with the
    nearest window of the other, of both directions the smaller. Texts about one subject resemble each other as wholes, lies that
    were written to one end resemble each other throughout. Knows neither sources nor truth: what many honest documents say
    looks the same.
    """

    name = "flood"
    meaning = "says what three other candidates say, too"
    advice = "Say what other pages do not say."
    computed = "query"
    cost = "inner products of the windows of candidates that are alike"

    def __call__(self, candidates: Candidates) -> Scores:
        """From cosines."""
        scores = np.zeros(len(candidates.profiles))
        centres = np.stack([profile.centre for profile in candidates.profiles])
        alike = centres @ centres.T >= ALIKE
        np.fill_diagonal(alike, val=False)
        crowded = alike.sum(axis=1) >= AGREEING
        crowd = np.flatnonzero(crowded | alike[:, crowded].any(axis=1))
        if not crowded.any():
            return scores
        agreement = np.where(
            alike[np.ix_(crowd, crowd)], _agreement([candidates.profiles[i].vectors for i in crowd.tolist()]), 0.0
        )
        third = np.partition(agreement, -AGREEING, axis=1)[:, -AGREEING]
        scores[crowd] = np.where(third >= third.max() - MEMBER, third, 0.0)
        return scores


def _agreement(windows: list[NDArray[np.float32]]) -> Scores:
    """Of each two documents, shape (documents, documents)."""
    counts = np.array([len(vectors) for vectors in windows])
    starts = np.cumsum(counts) - counts
    every = np.concatenate(windows)
    nearest = np.maximum.reduceat(every @ every.T, starts, axis=1)
    one_way = np.add.reduceat(nearest, starts, axis=0) / counts[:, None]
    return np.asarray(np.minimum(one_way, one_way.T), dtype=np.float64)
