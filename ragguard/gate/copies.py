"""Near-copies among any number of documents, from a sketch of each (MinHash: Broder 1997; bands: Leskovec et al., ch. 3)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ragguard.text import content_hash, folded_words

RUN = 3
"""Words of a shingle."""

BANDS, ROWS = 12, 5
"""Two documents are joined if one of the bands is the same. With Jaccard similarity s of their shingles that has the probability
1 - (1 - s^5)^12: .99 at .8, .62 at .6, .32 at .5, .03 at .3."""

_FACTORS = np.random.default_rng(0).integers(1 << 62, size=(2, BANDS * ROWS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MIX = np.random.default_rng(1).integers(1 << 62, size=ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class Copies:
    """Counts, for each document, those that say nearly the same: any number of them, in 112 bytes a document.

    The near-duplicates that `CorpusModel` leaves out are found by rare word pairs, which a flood of ten copies makes common.
    """

    def __init__(self) -> None:
        """Start without documents."""
        self._sketches: list[NDArray[np.uint64]] = []
        self._settled: NDArray[np.uint64] = np.empty((0, BANDS + 1), dtype=np.uint64)  # by their first band
        self._sizes: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, texts: Sequence[str]) -> None:
        """Add canonical texts; `settle` before asking."""
        if found := [sketch for text in texts if (sketch := _sketch(text)) is not None]:
            self._sketches.append(np.stack(found))

    def copy(self) -> Copies:
        """The same documents, to add others to."""
        copied = Copies()
        copied._sketches = [*self._sketches]
        return copied

    def settle(self) -> Copies:
        """Find what belongs together among all that was added; more can be added later, and settled again."""
        from scipy.sparse import coo_array  # slow to import
        from scipy.sparse.csgraph import connected_components

        if not self._sketches:
            return self
        every = np.concatenate(self._sketches)
        number = len(every)
        first, others = [], []
        for band in every[:, :BANDS].T:
            order = np.argsort(band, kind="stable")
            same = np.flatnonzero(band[order][1:] == band[order][:-1])
            first.append(order[same])
            others.append(order[same + 1])
        places = np.concatenate(first), np.concatenate(others)
        graph = coo_array((np.ones(len(places[0]), dtype=np.int8), places), shape=(number, number))
        _, labels = connected_components(graph, directed=False)
        order = np.argsort(every[:, 0], kind="stable")
        self._settled, self._sizes = every[order], np.bincount(labels)[labels][order]
        self._sketches = [self._settled]
        return self

    def of(self, text: str) -> int:
        """How many other documents say nearly the same as a canonical text that was added; 0 for one that was not."""
        places = self._places(_sketch(text))
        return int(self._sizes[places.start]) - 1 if places else 0

    def __contains__(self, text: str) -> bool:
        """Whether this very text was there when it was settled."""
        sketch = _sketch(text)
        places = self._places(sketch)
        return sketch is not None and bool((self._settled[places.start : places.stop, BANDS] == sketch[BANDS]).any())

    def _places(self, sketch: NDArray[np.uint64] | None) -> range:
        if sketch is None:
            return range(0)
        first = self._settled[:, 0]
        return range(int(np.searchsorted(first, sketch[0])), int(np.searchsorted(first, sketch[0], side="right")))


def _sketch(text: str) -> NDArray[np.uint64] | None:
    """A number for each band, and one for the text itself, shape (BANDS + 1,); None for a text without words."""
    words = folded_words(text)
    if not words:
        return None
    runs = {" ".join(words[i : i + RUN]) for i in range(max(len(words) - RUN + 1, 1))}
    keys = np.fromiter((zlib.crc32(run.encode("utf-8", "replace")) for run in runs), dtype=np.uint64, count=len(runs))
    factors, terms = _FACTORS
    least = ((keys[:, None] * factors + terms) >> np.uint64(32)).min(axis=0)
    return np.append((least.reshape(BANDS, ROWS) * _MIX).sum(axis=1), np.uint64(int(content_hash(text)[:16], 16)))
