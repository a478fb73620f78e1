"""RAGPart: documents are judged by combinations of their fragments, which vote (arXiv 2512.24268, RAGPart)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragguard.checks import an_encoder
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.errors import InvalidInputError
from ragguard.evidence import EvidenceBuilder, FragmentPlan
from ragguard.protocols import Encoder, EvidenceStore
from ragguard.store import MemoryStore
from ragguard.text import content_hash
from ragguard.types import Certificate, Document, Evidence, Hit, Vectors
from ragguard.vectors import encode_one_query

MAX_COMBINATIONS = 2048
"""Above this many combinations a seeded sample votes; a vote share's standard error is then at most 0.5/sqrt(2048) = 0.011."""


class RAGPartSettings(BaseModel):
    """Settings of RAGPart.

    Attributes:
        n: Fragments a document is cut into (N). 5, as in the paper.
        k: Fragments in a combination. 3, as in the paper.
        p: Votes of each combination go to its top p candidates; None means as many as are asked for.
        min_share: Share of the votes a document must exceed to be kept; None keeps all and only ranks, as the paper does.
        seed: Of the sample of combinations, where there are more than 2,048.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    n: int = Field(default=5, ge=1, le=64)
    k: int = Field(default=3, ge=1)
    p: int | None = Field(default=None, ge=1)
    min_share: float | None = Field(default=None, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _k_at_most_n(self) -> RAGPartSettings:
        if self.k > self.n:
            raise ValueError(f"a combination of k={self.k} fragments needs at least as many fragments, not n={self.n}")
        return self


class RAGPart(BaseDefense):
    """Ranks candidates by the votes of fragment combinations.

    A combination of k of the N fragments embeds as the normalised mean of their embeddings. Its similarity to the query is
    computed from N dot products and the N x N Gram matrix, so no combination is ever embedded or stored.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        n: int = 5,
        k: int = 3,
        p: int | None = None,
        min_share: float | None = None,
        seed: int = 0,
        store: EvidenceStore | None = None,
    ) -> None:
        """Configure; the arguments are those of `RAGPartSettings`.

        Args:
            encoder: Embeds fragments and queries.
            n: Fragments in a document.
            k: Fragments in a combination.
            p: How many candidates a combination votes for; None means as many as are asked for.
            min_share: Share of the votes a kept document must exceed; None only ranks.
            seed: Of the sample of combinations.
            store: Where fragment embeddings are kept; None keeps them in memory.

        Raises:
            InvalidInputError: If a setting is out of range, or `encoder` is none.
        """
        try:
            self.settings = RAGPartSettings(n=n, k=k, p=p, min_share=min_share, seed=seed)
        except ValidationError as error:
            raise InvalidInputError(f"RAGPart: {error}") from error
        share = "" if self.settings.min_share is None else f", share>{self.settings.min_share:g}"
        self.name = f"RAGPart(N={n}, k={k}{share})"
        self.encoder = an_encoder(encoder)
        self._evidence = EvidenceBuilder(encoder, FragmentPlan(n), MemoryStore() if store is None else store)
        self.members = combination_matrix(n, k, seed)
        required = self.settings.min_share
        self._bound = 0 if required is None else certified_fragments(self.members, required)

    @classmethod
    def paper(cls, encoder: Encoder, *, store: EvidenceStore | None = None) -> RAGPart:
        """The paper's setting: N=5, k=3, majority vote. It certifies nothing: one fragment touches 60 % of the combinations."""
        return cls(encoder, n=5, k=3, store=store)

    def prepare(self, documents: Sequence[Document]) -> None:
        """Embed the fragments of documents ahead of queries."""
        self._evidence.prepare(judgeable(documents))

    def fragments(self, texts: Sequence[str]) -> list[Evidence]:
        """Fragment evidence of canonical texts."""
        return self._evidence.get(texts)

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """Rank by votes, ties by mean score, then by content hash."""
        texts = [hit.document.text for hit in hits]
        evidence = self.fragments(texts)
        order = sorted(range(len(texts)), key=lambda i: (content_hash(texts[i]), hits[i].document.id))
        vectors = np.stack([evidence[i].vectors for i in order])
        grams = np.stack([evidence[i].gram for i in order])
        similarities = vectors @ encode_one_query(self.encoder, query)
        return [replace(judged, position=order[judged.position]) for judged in self.rank(similarities, grams, k)]

    def rank(self, similarities: Vectors, grams: Vectors, k: int) -> list[Judgement]:
        """Vote and rank.

        Args:
            similarities: Dot products of the query with every fragment, shape (documents, N). Ties go to earlier rows.
            grams: Gram matrices of the fragments, shape (documents, N, N).
            k: How many will be kept.

        Returns:
            One judgement for each document, best first.
        """
        p = min(self.settings.p or k, len(similarities))
        scores = combination_scores(similarities, grams, self.members)
        shares = votes(scores, p) / len(self.members)
        means = scores.mean(axis=1)
        needed = self.settings.min_share
        judged = []
        for row in np.lexsort((np.arange(len(shares)), -means, -shares)):
            share, mean = float(shares[row]), float(means[row])
            drop = needed is not None and share <= needed
            reason = f"In the top {p} of {share:.0%} of the fragment combinations"
            reason += f", not more than the {needed:.0%} required." if drop else "."
            signals = {"vote_share": share, "mean_similarity": mean}
            judged.append(Judgement(int(row), share, reason, drop, signals, suspicion=1 - share))
        return judged

    def certificates(self, candidates: int, k: int) -> tuple[Certificate, ...]:
        """How many payload fragments cannot bring a document in, whatever they say."""
        p = min(self.settings.p or k, candidates)
        bound = self._bound if p < candidates else 0
        if bound:
            statement = (
                f"Every kept document was placed in the top {p} by at least one combination free of its payload, "
                f"if the payload touches at most {bound} of its {self.settings.n} fragments."
            )
        else:
            statement = "Nothing is certified: one payload fragment may be enough to be kept."
        assumption = (
            f"The top {p} is that of {candidates} candidates, and the attacker did not fill them; "
            "a payload across a boundary counts as two fragments, a word of a text shorter than its fragments as several."
        )
        return (Certificate(self.name, bound, statement, assumption),)


def combination_matrix(n: int, k: int, seed: int = 0, limit: int = MAX_COMBINATIONS) -> NDArray[np.float32]:
    """Which fragments each combination holds.

    Args:
        n: Number of fragments.
        k: Fragments in a combination.
        seed: Of the sample.
        limit: All combinations up to this number; above, as many distinct ones as this, drawn uniformly.

    Returns:
        0 or 1, shape (combinations, n).
    """
    total = math.comb(n, k)
    if total <= limit:
        chosen = list(combinations(range(n), k))
    else:
        generator = np.random.default_rng(seed)
        drawn: set[tuple[int, ...]] = set()
        while len(drawn) < limit:
            drawn.add(tuple(sorted(generator.choice(n, size=k, replace=False).tolist())))
        chosen = sorted(drawn)
    members = np.zeros((len(chosen), n), dtype=np.float32)
    for row, combination in enumerate(chosen):
        members[row, list(combination)] = 1
    return members


def combination_scores(similarities: Vectors, grams: Vectors, members: NDArray[np.float32]) -> Vectors:
    """Cosine of the query with the normalised mean of each combination's fragments, without forming that mean.

    Args:
        similarities: Dot products of the query with the fragments, shape (documents, n).
        grams: Gram matrices of the fragments, shape (documents, n, n).
        members: Which fragments each combination holds, shape (combinations, n).

    Returns:
        Shape (documents, combinations); 0 where the fragments of a combination cancel out.
    """
    n = members.shape[1]
    pairs = (members[:, :, None] * members[:, None, :]).reshape(len(members), n * n)
    squares = grams.reshape(len(grams), n * n) @ pairs.T
    lengths = np.sqrt(np.maximum(squares, 0))
    sums = similarities @ members.T
    scores: Vectors = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 1e-6)
    return scores


def votes(scores: Vectors, p: int) -> NDArray[np.int64]:
    """How many combinations place each document in their top p; ties at the p-th place go to earlier rows.

    Args:
        scores: Shape (documents, combinations).
        p: Between 1 and the number of documents.

    Returns:
        Shape (documents,).
    """
    columns = np.ascontiguousarray(scores.T)  # one combination a row: partitioned in place, not in strides
    threshold = np.partition(columns, len(scores) - p, axis=1)[:, len(scores) - p]
    combination, document = np.nonzero(columns >= threshold[:, None])
    above = columns[combination, document] > threshold[combination]
    free = p - np.bincount(combination[above], minlength=len(columns))
    tied = combination[~above]
    place = np.arange(len(tied)) - np.searchsorted(tied, tied)
    chosen = np.concatenate([document[above], document[~above][place < free[tied]]])
    return np.bincount(chosen, minlength=len(scores))


def certified_fragments(members: NDArray[np.float32], share: float) -> int:
    """The largest f such that no f fragments touch more than the given share of the combinations."""
    total, n = members.shape
    bound = 0
    for f in range(1, n + 1):
        symmetric = total == math.comb(n, int(members[0].sum()))  # then every f fragments touch equally many
        if not symmetric and math.comb(n, f) > 100_000:
            return bound
        subsets = islice(combinations(range(n), f), 1 if symmetric else None)
        if max(int(members[:, list(subset)].any(axis=1).sum()) for subset in subsets) / total > share:
            return bound
        bound = f
    return bound
