"""RAGPart: documents are judged by combinations of their fragments, which vote (arXiv 2512.24268, RAGPart)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragguard.checks import an_encoder
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.defenses.combinations import Combinations, Floats, votes
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.evidence import EvidenceBuilder, FragmentPlan, MemoryStore
from ragguard.protocols import Encoder, EvidenceStore
from ragguard.text import content_hash
from ragguard.types import Certificate, Document, Evidence, Hit


class RAGPartSettings(BaseModel):
    """Settings of RAGPart.

    Attributes:
        n: Fragments a document is cut into (N). 5, as in the paper.
        k: Fragments in a combination. 3, as in the paper.
        p: Votes of each combination go to its top p candidates; None means as many as are asked for.
        min_share: Share of the votes a document must exceed to be kept; None keeps all and only ranks, as the paper does.
        seed: Of the sample of combinations, where there are more than 4,096.
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

    @property
    def plan(self) -> FragmentPlan:
        """What is computed of a document ahead of queries."""
        return FragmentPlan(self.n)


class RAGPart(BaseDefense):
    """Ranks candidates by the votes of fragment combinations.

    A combination of k of the N fragments embeds as the normalised mean of their embeddings. Its similarity to the query is
    computed from N dot products and the N x N Gram matrix, so no combination is ever embedded or stored. Above 4,096 combinations
    a sample votes; each verdict then states the error of its share (`vote_share_error`), and the certificate remains exact.
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
        self._evidence = EvidenceBuilder(encoder, self.settings.plan, MemoryStore() if store is None else store)
        self.combinations = Combinations.of(n, k, seed)
        required = self.settings.min_share
        self._bound = 0 if required is None else self.combinations.certified(required)

    @classmethod
    def paper(cls, encoder: Encoder, *, store: EvidenceStore | None = None) -> RAGPart:
        """The paper's setting: N=5, k=3, majority vote. It certifies nothing: one fragment touches 60 % of the combinations."""
        return cls(encoder, n=5, k=3, store=store)

    def prepare(self, documents: Sequence[Document]) -> None:
        """Embed the fragments of documents ahead of queries."""
        self._evidence.prepare(judgeable(documents))

    def describe(self) -> Mapping[str, Any]:
        """Settings and encoder."""
        return {**super().describe(), "encoder": self.encoder.name}

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
        scores = self.combinations.scores(vectors @ encode_one_query(self.encoder, query), grams)
        return [replace(judged, position=order[judged.position]) for judged in self.rank(scores, k, len(texts))]

    def rank(self, scores: Floats, k: int, among: int) -> list[Judgement]:
        """Vote and rank.

        Args:
            scores: Of every document by every combination, shape (documents, combinations). Ties go to earlier rows.
            k: How many will be kept.
            among: From how many documents these are; the error of a sample is stated for all of them at once.

        Returns:
            One judgement for each document, best first.
        """
        p = min(self.settings.p or k, len(scores))
        shares = votes(scores, p) / len(self.combinations)
        means = scores.mean(axis=1)
        needed = self.settings.min_share
        error = self.combinations.error(among)
        sample = f", as sampled: within {error:.3f} of the share of all {self.combinations.total:,}" if error else ""
        judged = []
        for row in np.lexsort((np.arange(len(shares)), -means, -shares)):
            share, mean = float(shares[row]), float(means[row])
            drop = needed is not None and share <= needed
            reason = f"In the top {p} of {share:.0%} of the fragment combinations{sample}"
            reason += f", not more than the {needed:.0%} required." if drop else "."
            signals = {"vote_share": share, "mean_similarity": mean}
            if error:
                signals["vote_share_error"] = error
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
