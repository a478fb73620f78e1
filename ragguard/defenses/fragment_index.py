"""Search among all fragments of a corpus: exact, or approximate with FAISS."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard.types import Vectors

FragmentSearch: TypeAlias = Literal["flat", "ivf", "hnsw"]
"""`flat` reads every fragment; `ivf` those in the nearest cells, `hnsw` those it meets in a graph of neighbours, both by FAISS.
`flat` is one matrix product: FAISS's own flat index takes one core for a query (benchmarks/fragment_search.py times both)."""

PROBED = 1 / 8
"""Share of the cells that IVF reads; its price and recall are those of benchmarks/closed_form.py."""

LINKS = 32
"""Of each fragment in the graph of HNSW; FAISS's own default."""


class FragmentIndex:
    """Fragments of a corpus, found by similarity and given back by row. Never changed, so safe to use from many threads."""

    def __init__(self, vectors: Vectors, kind: FragmentSearch) -> None:
        """Index unit vectors.

        Args:
            vectors: Shape (fragments, d), at least one.
            kind: How they are searched.
        """
        self.exact = kind == "flat"
        self._vectors = vectors
        if not self.exact:
            self._index = _index(vectors, kind)

    def at_most(self, vector: Vectors, depth: int) -> Vectors:
        """What the similarity of each fragment does not exceed, shape (fragments,): itself, or that of the last one fetched.

        Args:
            vector: The query's, shape (d,).
            depth: How many to fetch, at most the number of fragments; `flat` reads all. Of those not fetched, what an approximate
                search overlooked may be more similar.
        """
        if self.exact:
            return np.asarray(self._vectors @ vector, dtype=np.float32)
        similarities, rows = self._index.search(vector[None, :], depth)
        fetched = rows[0] >= 0  # it may find fewer
        most = np.full(len(self._vectors), similarities[0][fetched].min(initial=1.0), dtype=np.float32)
        most[rows[0][fetched]] = similarities[0][fetched]
        return most

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """Fragments by row, shape (len(rows), d)."""
        return self._vectors[rows]


def _index(vectors: Vectors, kind: FragmentSearch) -> Any:
    import faiss

    index: Any
    count, dimension = vectors.shape
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
    else:
        cells = max(1, min(count // 39, int(4 * math.sqrt(count))))  # both from FAISS's guidelines
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.nprobe = math.ceil(cells * PROBED)
    index.add(vectors)
    return index
