"""A query log as the gate uses it: which queries a document repeats, and how many it is near to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.signals.outlier import SHARE
from ragguard.text import canonical, folded_words, merge, words
from ragguard.types import Span, Vectors
from ragguard.vectors import encode_queries


class QueryLog:
    """Queries that users ask. Safe to use from many threads."""

    def __init__(self, queries: Sequence[str], encoder: Encoder) -> None:
        """Embed them and index their word pairs.

        Args:
            queries: At least one with two words; doubles count once.
            encoder: That of the index.

        Raises:
            InvalidInputError: If no query has two words.
            EncoderError: If the encoder fails.
        """
        texts = list(dict.fromkeys(canonical(query).text for query in queries))
        pairs = [set(pairwise(folded_words(text))) for text in texts]
        if not any(pairs):
            raise InvalidInputError("a query log needs at least one query with two words")
        self.encoder = encoder
        self._sizes = [len(each) for each in pairs]
        self._having: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, each in enumerate(pairs):
            for pair in each:
                self._having[pair].append(number)
        self._vectors = encode_queries(encoder, texts)
        self._rank = int(SHARE * (len(texts) - 1))

    def __len__(self) -> int:
        return len(self._sizes)

    def echo(self, text: str) -> tuple[float, tuple[Span, ...]]:
        """How much of the query that a canonical text repeats most it has, see `LoggedQuery`, and where that stands."""
        mine = set(pairwise(folded_words(text)))
        shared = Counter(number for pair in mine for number in self._having.get(pair, ()))
        if not shared:
            return 0.0, ()
        values = {number: -math.log(1 - (count - 0.5) / self._sizes[number]) for number, count in shared.items()}
        best = max(values, key=lambda number: (values[number], -number))
        return max(values[best], 0.0), self._places(text, best)

    def nearness(self, vector: Vectors) -> float:
        """Similarity of a document, shape (d,), to the nearest tenth of the queries."""
        near = self._vectors @ vector
        return float(np.partition(near, self._rank)[self._rank])

    def _places(self, text: str, number: int) -> tuple[Span, ...]:
        read = [(word, span) for span in words(text) for word in folded_words(text[span.start : span.end])]
        found = [
            Span(first[1].start, second[1].end)
            for first, second in pairwise(read)
            if number in self._having.get((first[0], second[0]), ())
        ]
        return merge(found)
