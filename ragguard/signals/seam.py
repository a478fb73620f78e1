"""Seam: what resembles the query in a document has nothing to do with the rest of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.types import Span

WEIGHT = 5
"""Of coherence against similarity. On nq_dev at 2 % of queries it takes paraphrases planted in front from ASR@10 .44 to .30;
1 takes them to .48 but stops more copied questions, which echo stops anyway."""

WHOLE = 0.6
"""Coherence of a document that is all near the query, so that there is no rest to compare with; about an honest median."""


class Seam(Signal):
    """Similarity of the best window, less five times the coherence of the windows that carry it with the rest.

    Coherence is the inner product of the mean of the windows that carry the similarity with the mean of those that neither do nor
    overlap with them.

    An honest passage that mentions what is asked for mentions it in its own context. A trigger planted in a random passage has
    none, however fluent it is and whatever words it uses. Several copies of a trigger count as one.
    """

    name = "seam"
    meaning = "speaks of the query in a passage that has nothing to do with the rest of it"
    advice = "Put the passage on a page about its subject."
    computed = "query"
    cost = "two means of windows a document"

    def __call__(self, candidates: Candidates) -> Scores:
        """Shape (candidates,)."""
        rows, near = candidates.rows, candidates.near
        neighbour = near.copy()
        same = rows[1:] == rows[:-1]
        neighbour[1:] |= near[:-1] & same
        neighbour[:-1] |= near[1:] & same
        members = np.stack([near, neighbour]).astype(np.float32)
        counts = np.add.reduceat(members, candidates.starts, axis=1)
        # One document at a time: BLAS spreads a product of all of them over the cores, and waits for those that are busy.
        bounds = pairwise([*candidates.starts.tolist(), len(rows)])
        sums = np.stack(
            [members[:, first:last] @ profile.vectors for (first, last), profile in zip(bounds, candidates.profiles, strict=True)]
        )
        rest = np.stack([profile.total for profile in candidates.profiles]) - sums[:, 1]
        left = np.array([len(profile.spans) for profile in candidates.profiles]) - counts[1]
        inner = np.einsum("ij,ij->i", sums[:, 0], rest) / counts[0] / np.maximum(left, 1)
        coherence = np.where(left > 0, inner, WHOLE)
        return np.asarray(candidates.best - WEIGHT * coherence, dtype=np.float64)

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The windows that carry the similarity."""
        return candidates.near_spans(i)
