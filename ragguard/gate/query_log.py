"""A query log as the gate uses it: which queries a document repeats, and how many it is near to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ragguard.encoders.vectors import encode_queries
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.signals.outlier import SHARE
from ragguard.text import canonical, folded_words, merge, words
from ragguard.types import Span, Vectors

PLACE = 200
"""Words among which those of a query are looked for, in any order: what encoders read at once. An attacker exchanges them, or
parts them by an honest text, at no cost, since the embedding hardly changes. At 1 % of nq_dev this finds 40 of 40 documents where
the query is shuffled and put in three places (among 100 words 57 %, close together 5 %, word pairs in order: none)."""


class QueryLog:
    """Queries that users ask. Safe to use from many threads."""

    def __init__(self, queries: Sequence[str], encoder: Encoder) -> None:
        """Embed them and index their words, those that few queries have counting for more.

        Args:
            queries: At least one with two words; doubles count once.
            encoder: That of the index.

        Raises:
            InvalidInputError: If no query has two words.
            EncoderError: If the encoder fails.
        """
        texts = list(dict.fromkeys(canonical(query).text for query in queries))
        self._queries = [Counter(terms) for text in texts if (terms := folded_words(text))]
        if not any(query.total() > 1 for query in self._queries):
            raise InvalidInputError("a query log needs at least one query with two words")
        self.encoder = encoder
        having: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, query in enumerate(self._queries):
            for word, count in query.items():
                having[word].append((number, count))
        self._having = {word: np.array(each).T for word, each in having.items()}
        self._weights = {word: math.log1p(len(self._queries) / len(each)) for word, each in having.items()}
        self._totals = np.array([sum(self._weights[word] * count for word, count in query.items()) for query in self._queries])
        self._means = self._totals / [query.total() for query in self._queries]
        self._vectors = encode_queries(encoder, texts)
        self._rank = int(SHARE * (len(texts) - 1))

    def __len__(self) -> int:
        return len(self._vectors)

    def echo(self, text: str) -> tuple[float, tuple[Span, ...]]:
        """How much of the query that a canonical text repeats most it has in one place, see `LoggedQuery`, and where that is."""
        read = [(word, span) for span in words(text) for word in folded_words(text[span.start : span.end])]
        places: dict[str, list[int]] = defaultdict(list)
        for i, (word, _) in enumerate(read):
            if word in self._having:
                places[word].append(i)
        most = np.zeros(len(self._queries))  # that the text has of each query, wherever it stands
        for word, positions in places.items():
            numbers, counts = self._having[word]
            most[numbers] += self._weights[word] * np.minimum(counts, len(positions))
        bounds = np.log(self._totals / (self._totals - most + self._means))
        best, where = 0.0, list[int]()
        for number in np.argsort(-bounds, kind="stable").tolist():
            if bounds[number] <= best:
                break
            weight, positions = self._fullest(self._queries[number], places)
            value = math.log(self._totals[number] / (self._totals[number] - weight + self._means[number]))
            if value > best:
                best, where = value, positions
        return best, merge([read[i][1] for i in where])

    def nearness(self, vector: Vectors) -> float:
        """Similarity of a document, shape (d,), to the nearest tenth of the queries."""
        near = self._vectors @ vector
        return float(np.partition(near, self._rank)[self._rank])

    def _fullest(self, query: Counter[str], places: Mapping[str, Sequence[int]]) -> tuple[float, list[int]]:
        """The most of a query, in weight, that stands in one place, and where its words are there."""
        hits = sorted((i, word) for word in query for i in places.get(word, ()))
        best, where, start, within = 0.0, list[int](), 0, Counter[str]()
        for end, (i, word) in enumerate(hits):
            within[word] += 1
            while i - hits[start][0] >= PLACE:
                within[hits[start][1]] -= 1
                start += 1
            weight = sum(self._weights[term] * min(count, query[term]) for term, count in within.items())
            if weight > best:
                best, where = weight, [place for place, _ in hits[start : end + 1]]
        return best, where
