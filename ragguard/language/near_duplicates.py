"""Near-duplicates among the texts of a corpus: those that share rare bigrams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ragguard.language.ngrams import BLOCK, Ids, pair_keys

SHARED = 0.4
"""Share of rare bigrams that near-duplicates have in common. A passage with a word planted after every third keeps half."""

RARE = 8
"""Bigrams in more texts than this say nothing about near-duplicates."""


class NearDuplicates:
    """Texts by their rare bigrams, in sorted arrays: 12 bytes for each of the first nine texts that have a bigram."""

    def __init__(self) -> None:
        """Make an empty index."""
        self._keys: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._texts: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._sizes: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    def add(self, texts: Sequence[Ids]) -> None:
        """Add texts, given as the ids of their tokens; they are numbered as they come."""
        for start in range(0, len(texts), BLOCK):
            self._add(texts[start : start + BLOCK])

    def _add(self, texts: Sequence[Ids]) -> None:
        pairs = [np.unique(pair_keys(ids[:-1], ids[1:])) for ids in texts]
        sizes = np.array([len(keys) for keys in pairs], dtype=np.int32)
        number = np.arange(len(self._sizes), len(self._sizes) + len(texts), dtype=np.int32)
        keys = np.concatenate([self._keys, *pairs])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.searchsorted(keys, keys)
        kept = np.arange(len(keys)) - first <= RARE  # one more than is rare says that it is not
        self._keys, self._texts = keys[kept], np.concatenate([self._texts, np.repeat(number, sizes)])[order][kept]
        self._sizes = np.concatenate([self._sizes, sizes])

    def of(self, ids: Ids, size: int) -> list[int]:
        """Numbers of the near-duplicates of a text, which may be one of them.

        Args:
            ids: Of the text's tokens.
            size: How many different bigrams the text has, unknown tokens told apart.
        """
        wanted = np.unique(pair_keys(ids[:-1], ids[1:]))
        first, last = np.searchsorted(self._keys, wanted), np.searchsorted(self._keys, wanted, side="right")
        counts = np.where(last - first <= RARE, last - first, 0)
        places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        texts, shared = np.unique(self._texts[places], return_counts=True)
        duplicates: list[int] = texts[shared >= SHARED * np.minimum(size, self._sizes[texts])].tolist()
        return duplicates
