"""Combinations of a document's fragments: their similarity to a query without embedding them, their votes, what these certify."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""float32, or float64 where results must not depend on what else is computed with them."""

MAX_COMBINATIONS = 4096
"""Above this many combinations a seeded sample of this many votes. At N=20, k=10 that leaves the vote shares of 40 candidates
within 0.030 of those of all 184,756 (`Combinations.error`), in the time that benchmarks/closed_form.py measures."""

CONFIDENCE = 0.95
"""Of the stated error of a sample: in at least this share of the draws no candidate's share is farther off."""


@dataclass(frozen=True, eq=False)
class Combinations:
    """All combinations of k of n fragments, or a sample of them.

    Attributes:
        members: Which fragments each combination holds, 0 or 1, shape (combinations, n).
        total: How many there are without sampling.
    """

    members: NDArray[np.float32]
    total: int

    @classmethod
    def of(cls, n: int, k: int, seed: int = 0, limit: int = MAX_COMBINATIONS) -> Combinations:
        """All combinations up to `limit`; above, as many distinct ones as that, drawn uniformly with a seed."""
        total = math.comb(n, k)
        if total <= limit:
            chosen = list(combinations(range(n), k))
        else:
            generator = np.random.default_rng(seed)
            drawn: dict[tuple[int, ...], None] = {}
            while len(drawn) < limit:
                order = np.sort(generator.random((limit, n)).argsort(axis=1)[:, :k], axis=1)
                drawn.update(dict.fromkeys(map(tuple, order.tolist())))
            chosen = sorted(list(drawn)[:limit])
        members = np.zeros((len(chosen), n), dtype=np.float32)
        np.put_along_axis(members, np.array(chosen), 1, axis=1)
        return cls(members, total)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def k(self) -> int:
        """Fragments in a combination."""
        return int(self.members[0].sum())

    @property
    def sampled(self) -> bool:
        """Whether these are not all."""
        return len(self) < self.total

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """Pairs i <= j of fragments, and how often each counts in a combination's squared length: (pairs, combinations)."""
        i, j = np.triu_indices(self.members.shape[1])
        counts = self.members.T[i] * self.members.T[j] * np.where(i < j, 2, 1)[:, None]
        return i, j, counts.astype(np.float32)

    def scores(self, similarities: Floats, grams: Floats) -> Floats:
        """Cosine of the query with the normalised mean of each combination's fragments, without forming that mean.

        Args:
            similarities: Dot products of the query with the fragments, shape (documents, n).
            grams: Gram matrices of the fragments, shape (documents, n, n).

        Returns:
            Shape (documents, combinations); 0 where the fragments of a combination cancel out.
        """
        i, j, counts = self._pairs
        scores: Floats = similarities @ self.members.T
        squares = grams[:, i, j] @ counts
        squares[squares <= 1e-12] = np.inf
        scores /= np.sqrt(squares, out=squares)
        return scores

    def error(self, documents: int) -> float:
        """How far vote shares may lie from those of all combinations: for every one of these documents at once, in 95 % of draws.

        Hoeffding's bound without replacement, in Serfling's form (1974, corollary 1.1), over all documents. It says nothing
        of texts written by someone who knows the seed; certificates hold against him, too (`certified`).
        """
        left = 1 - (len(self) - 1) / self.total
        return math.sqrt(left * math.log(2 * documents / (1 - CONFIDENCE)) / (2 * len(self))) if self.sampled else 0.0

    def certified(self, share: float) -> int:
        """The largest f such that no f fragments touch more than the given share of these combinations.

        Of a sample, the touched are counted in the sample itself, for every choice of f fragments: what it certifies is exact.
        """
        total, n = self.members.shape
        bound = 0
        for f in range(1, n + 1):
            if self.sampled and math.comb(n, f) > 20_000:  # seconds; where k is large, shares are exceeded long before
                return bound
            subsets = islice(combinations(range(n), f), None if self.sampled else 1)  # of all, any f touch equally many
            if max(int(self.members[:, list(subset)].any(axis=1).sum()) for subset in subsets) / total > share:
                return bound
            bound = f
        return bound


def thresholds(columns: Floats, p: int) -> Floats:
    """The p-th highest score of each combination, from scores of shape (combinations, documents); shape (combinations,)."""
    at = columns.shape[1] - p
    return np.partition(columns, at, axis=1)[:, at]


def votes(scores: Floats, p: int) -> NDArray[np.int64]:
    """How many combinations place each document in their top p; ties at the p-th place go to earlier rows.

    Args:
        scores: Shape (documents, combinations).
        p: Between 1 and the number of documents.

    Returns:
        Shape (documents,).
    """
    columns = np.ascontiguousarray(scores.T)  # one combination a row: partitioned in memory's order, not in strides
    threshold = thresholds(columns, p)
    reached = np.flatnonzero(columns >= threshold[:, None])  # of two dimensions, nonzero takes five times as long
    combination, document = np.divmod(reached, len(scores))
    above = columns.ravel()[reached] > threshold[combination]
    free = p - np.bincount(combination[above], minlength=len(columns))
    tied = combination[~above]
    place = np.arange(len(tied)) - np.searchsorted(tied, tied)
    chosen = np.concatenate([document[above], document[~above][place < free[tied]]])
    return np.bincount(chosen, minlength=len(scores))
