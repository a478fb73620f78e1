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

PARTS = 10
"""Parts of the documents that a gate learns from, by their hash. Copies of one are counted within its part and in all the
others, as those of what comes in are: within the batch and in what was there. Else what comes in had two chances to have more
than the documents that set the threshold."""

_FACTORS = np.random.default_rng(0).integers(1 << 62, size=(2, BANDS * ROWS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MIX = np.random.default_rng(1).integers(1 << 62, size=ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class Copies:
    """Counts, for each document, those that say nearly the same: any number of them, in 120 bytes a document.

    The near-duplicates that `CorpusModel` leaves out are found by rare word pairs, which a flood of ten copies makes common.
    """

    def __init__(self, known: Copies | None = None, *, apart: bool = False) -> None:
        """Start with the settled documents of another, or without any.

        Args:
            known: Another, settled; what is added is one more part beside its own.
            apart: Without another: whether what is added is in parts by its hash, each compared as if it had come in by itself.
        """
        self._apart, self._part = apart and known is None, PARTS if known else 0
        self._sketches: list[NDArray[np.uint64]] = [known._settled] if known else []
        self._settled: NDArray[np.uint64] = np.empty((0, BANDS + 2), dtype=np.uint64)  # by their first band
        self._others: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, texts: Sequence[str]) -> None:
        """Add canonical texts; `settle` before asking."""
        sketches = [sketch for text in texts if (sketch := _sketch(text)) is not None]
        if sketches:
            rows = np.stack(sketches)
            part = rows[:, BANDS] % np.uint64(PARTS) if self._apart else np.full(len(rows), self._part, dtype=np.uint64)
            self._sketches.append(np.column_stack([rows, part]))

    def settle(self) -> Copies:
        """Find what belongs together among all that was added."""
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
        here = labels.astype(np.int64) * (PARTS + 1) + every[:, BANDS + 1].astype(np.int64)
        all_in, within = np.bincount(labels)[labels], np.bincount(here)[here]
        order = np.argsort(every[:, 0], kind="stable")
        self._settled, self._others = every[order], np.maximum(all_in - within, within - 1)[order]
        return self

    def of(self, text: str) -> int:
        """How many other documents say nearly the same as a canonical text; 0 for one that was not added.

        The larger of two numbers: of those of its own part (what came with it), and of those of all the others (what was there
        before), so that honest copies do not add up over both.
        """
        places = self._places(text)
        return int(self._others[places[0]]) if len(places) else 0

    def __contains__(self, text: str) -> bool:
        """Whether this very text was there when it was settled."""
        return len(self._places(text)) > 0

    def _places(self, text: str) -> NDArray[np.intp]:
        sketch = _sketch(text)
        if sketch is None:
            return np.empty(0, dtype=np.intp)
        start, end = (int(np.searchsorted(self._settled[:, 0], sketch[0], side=side)) for side in ("left", "right"))
        return start + np.flatnonzero(self._settled[start:end, BANDS] == sketch[BANDS])


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
