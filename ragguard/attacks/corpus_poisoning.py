"""Corpus poisoning: a few documents for all queries (Zhong et al., arXiv 2310.19156)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ragguard.attacks.base import Target, ThreatModel, UniversalAttack
from ragguard.attacks.flips import CALLS, Template, WhiteBox, WhiteBoxEncoder
from ragguard.attacks.gaslite import ascend
from ragguard.attacks.kept import Cache
from ragguard.attacks.triggers import Writer
from ragguard.checks import positive
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.types import Vectors

LENGTH = 50
"""Words of a document, as in the paper (its tokens)."""


class CorpusPoisoning(UniversalAttack):
    """Groups queries by k-means and writes, for each group, words close to all of it."""

    family = "A"

    def __init__(
        self,
        encoder: WhiteBoxEncoder,
        queries: Sequence[str] = (),
        *,
        words: int = LENGTH,
        calls: int = CALLS,
        cache: Cache | None = None,
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            encoder: The retriever's, with its weights.
            queries: What the attacker optimises against, queries like the targets; none takes the targets themselves.
            words: Length of a document.
            calls: Texts encoded for a document; a gradient counts as three. The attack's `effort`.
            cache: Keeps documents between runs.
            seed: Of everything random.

        Raises:
            InvalidInputError: If a number is below 1, or the encoder shows no weights.
        """
        super().__init__(seed=seed)
        self.name = self.series = "corpus-poisoning" if queries else "corpus-poisoning:known-queries"
        self.effort = calls
        self.threat = ThreatModel(knows=("topic" if queries else "query", "encoder"))
        self._encoder, self._queries, self._words = encoder, tuple(queries), positive(words, "words")
        self._writer = Writer(WhiteBox(encoder), ascend, calls=calls, cache=cache)

    def craft_for_all(self, targets: Sequence[Target], documents: int, generator: np.random.Generator) -> Iterator[str]:
        """One text for each group of queries, the largest group first.

        Raises:
            InvalidInputError: If there are fewer queries than documents.
        """
        queries = self._queries or tuple(target.query for target in targets)
        if len(queries) < documents:
            raise InvalidInputError(f"{len(queries)} queries make no {documents} groups; give more queries, or ask for fewer")
        for goal in _centres(np.stack([encode_one_query(self._encoder, query) for query in queries]), documents, generator):
            yield self._writer(Template.planted("", self._words), goal, generator)


def _centres(vectors: Vectors, count: int, generator: np.random.Generator) -> list[Vectors]:
    """Means of the groups: the mean similarity to a group's queries is the inner product with their mean."""
    from sklearn.cluster import KMeans

    groups = KMeans(count, n_init=10, random_state=int(generator.integers(2**31))).fit_predict(vectors)
    sizes = np.bincount(groups, minlength=count)
    return [vectors[groups == group].mean(axis=0) for group in np.argsort(-sizes, kind="stable") if sizes[group]]
