"""Repetition: the whole query, again and again."""

from __future__ import annotations

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal

HALF = 0.5
"""Share of the query's words that are counted: those that the document has least often."""


class Repetition(Signal):
    """How often a document has the rarer half of the query's words, as a mean of logarithms.

    Says nothing alone: what is about a keyword repeats it. A query that is copied into every part of a text has all its words
    several times, which those of an honest page are not, however often it has the one that it is about.
    """

    name = "repetition"
    meaning = "has all words of the query several times"
    advice = "Ask the question once."
    computed = "query"
    cost = "a count of each word of the query"
    alone = False

    def __call__(self, candidates: Candidates) -> Scores:
        """From the counts of the query's distinct words."""
        number = len(candidates.distinct)
        if not number:
            return np.zeros(len(candidates.profiles))
        rows = np.repeat(np.arange(len(candidates.profiles)), [len(profile.words) for profile in candidates.profiles])
        cells = rows * (number + 1) + candidates.codes
        counts = np.bincount(cells, minlength=len(candidates.profiles) * (number + 1)).reshape(-1, number + 1)[:, 1:]
        rarer = np.sort(counts, axis=1)[:, : int(np.ceil(HALF * number))]
        return np.asarray(np.log1p(rarer).mean(axis=1), dtype=np.float64)
