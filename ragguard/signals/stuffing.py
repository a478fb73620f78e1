"""Stuffing: the query's rare words, crowded together in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal

REPEATED, LEAST = 3, 12
"""Words looked at together: three times as many as the query has content words, and no fewer than twelve."""

COMMON = 0.1
"""Words in more than this share of the corpus's documents do not count."""


class Stuffing(Signal):
    """The largest share of a dozen or more consecutive words that are content words of the query (stuffing, scrambled copies)."""

    name = "stuffing"
    meaning = "crowds the query's key words together"
    advice = "Spread key words over sentences that need them."
    computed = "query"
    cost = "a lookup for each word of the query, a few microseconds a document"

    def __init__(self, frequencies: Mapping[str, float]) -> None:
        """Configure.

        Args:
            frequencies: Share of the corpus's documents that have each word; see `frequencies`.
        """
        self._common = frozenset(word for word, share in frequencies.items() if share > COMMON)

    def __call__(self, candidates: Candidates) -> Scores:
        """From the densest run; texts that are shorter are measured as if they went on."""
        counts = np.array([False, *(word not in self._common for word in candidates.distinct)])
        length = max(REPEATED * int(counts.sum()), LEAST)
        sizes = np.array([len(profile.words) for profile in candidates.profiles])
        ends = np.cumsum(sizes)
        inside = np.append(0, np.cumsum(counts[candidates.codes]))
        runs = inside[np.minimum(np.arange(length, length + ends[-1]), np.repeat(ends, sizes))] - inside[:-1]
        shares, some = np.zeros(len(sizes)), sizes > 0
        if some.any():
            shares[some] = np.maximum.reduceat(runs, (ends - sizes)[some]) / length
        return shares


def frequencies(documents: Iterable[Iterable[str]]) -> dict[str, float]:
    """Share of documents, given as words, that have each word."""
    counts: Counter[str] = Counter()
    number = 0
    for document in documents:
        counts.update(set(document))
        number += 1
    return {word: count / number for word, count in counts.items()}
