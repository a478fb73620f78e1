"""Search among all fragments of a corpus with FAISS: exact, or approximate and fast."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ragguard.errors import InvalidInputError
from ragguard.types import Vectors

FragmentSearch: TypeAlias = Literal["flat", "ivf", "hnsw"]
"""`flat` reads every fragment; `ivf` those in the nearest cells; `hnsw` walks a graph of neighbours."""

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

        Raises:
            InvalidInputError: If `kind` is unknown.
        """
        import faiss

        self._faiss = faiss
        self.exact = kind == "flat"
        count, dimension = vectors.shape
        self._index: Any
        if kind == "flat":
            self._index = faiss.IndexFlatIP(dimension)
        elif kind == "ivf":
            cells = max(1, min(count // 39, int(4 * math.sqrt(count))))  # both from FAISS's guidelines
            self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, cells, faiss.METRIC_INNER_PRODUCT)
            self._index.train(vectors)
            self._index.nprobe = math.ceil(cells * PROBED)
        elif kind == "hnsw":
            self._index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
        else:
            raise InvalidInputError(f"fragments are searched by one of {', '.join(get_args(FragmentSearch))}, not {kind!r}")
        self._index.add(vectors)
        if kind == "ivf":
            self._index.make_direct_map()

    def nearest(self, vector: Vectors, depth: int) -> tuple[NDArray[np.int64], float]:
        """Rows of the nearest fragments, and the similarity that no other one exceeds, as far as the search saw.

        Args:
            vector: The query's, shape (d,).
            depth: How many, at most the number of fragments.
        """
        similarities, rows = self._index.search(vector[None, :], depth)
        found = rows[0] >= 0  # an approximate search may find fewer
        return rows[0][found], float(similarities[0][found].min(initial=1.0))

    def take(self, rows: NDArray[np.int64]) -> Vectors:
        """Fragments by row, shape (len(rows), d)."""
        found: Vectors = self._index.reconstruct_batch(rows)
        return found
