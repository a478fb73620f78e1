"""RAGMask: spans whose removal makes the similarity collapse do not count in the ranking (arXiv 2512.24268, RAGMask)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragguard.checks import an_encoder
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.evidence import EvidenceBuilder, MaskPlan, MemoryStore, WholePlan
from ragguard.protocols import Encoder, EvidenceStore
from ragguard.text import content_hash, merge, without
from ragguard.types import Document, Evidence, Hit, Span, Vectors

REMEMBERED = 10_000
"""Remainders of texts (what is left without the spans that collapse for some query) whose embeddings are kept in memory."""


class RAGMaskSettings(BaseModel):
    """Settings of RAGMask.

    Attributes:
        m: Words in a mask span.
        delta: A span is kept when the similarity without it, plus delta, exceeds the similarity with it.
        alpha: The top alpha * k candidates are examined, the rest dropped; None examines all that the retriever gave.
        group_similarity: Cosine from which spans are masked together as well as alone; None masks single spans only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    m: int = Field(default=15, ge=1)
    delta: float = Field(default=0.05, ge=0, le=2)
    alpha: float | None = Field(default=None, ge=1)
    group_similarity: float | None = Field(default=0.7, gt=0, le=1)

    @property
    def plan(self) -> MaskPlan:
        """What is computed of a document ahead of queries."""
        return MaskPlan(self.m, self.group_similarity)


class RAGMask(BaseDefense):
    """Ranks candidates by what is left of their similarity without the spans that carry it.

    The masked embeddings do not depend on the query and are computed once per document; judging is dot products, and one batched
    pass for what is left where more than one span goes. The text that is returned is whole: only the ranking changes.
    A text of one span has nothing to compare with and is left as it is; one of few spans is judged coarsely, so corpora of short
    texts want a smaller `m`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        m: int = 15,
        delta: float = 0.05,
        alpha: float | None = None,
        group_similarity: float | None = 0.7,
        store: EvidenceStore | None = None,
    ) -> None:
        """Configure; the arguments are those of `RAGMaskSettings`.

        Args:
            encoder: Embeds masked texts and queries.
            m: Words in a mask span.
            delta: How much similarity a span may carry.
            alpha: How many times k candidates are examined; None examines all.
            group_similarity: Cosine from which spans are also masked together; None is the paper's single spans.
            store: Where masked embeddings are kept; None keeps them in memory.

        Raises:
            InvalidInputError: If a setting is out of range, or `encoder` is none.
        """
        try:
            self.settings = RAGMaskSettings(m=m, delta=delta, alpha=alpha, group_similarity=group_similarity)
        except ValidationError as error:
            raise InvalidInputError(f"RAGMask: {error}") from error
        groups = "" if group_similarity is None else ", groups"
        self.name = f"RAGMask(m={m}, delta={self.settings.delta:g}{groups})"
        self._encoder = an_encoder(encoder)
        self._masks = EvidenceBuilder(encoder, self.settings.plan, MemoryStore() if store is None else store)
        self._rest = EvidenceBuilder(encoder, WholePlan(), MemoryStore(REMEMBERED))

    def prepare(self, documents: Sequence[Document]) -> None:
        """Embed the masked forms of documents ahead of queries."""
        self._masks.prepare(judgeable(documents))

    def describe(self) -> Mapping[str, Any]:
        """Settings and encoder."""
        return {**super().describe(), "encoder": self._encoder.name}

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """Rank by the similarity of what is left, ties by content hash."""
        alpha = self.settings.alpha
        pool = len(hits) if alpha is None else min(len(hits), math.ceil(alpha * k))
        vector = encode_one_query(self._encoder, query)
        texts = [hit.document.text for hit in hits[:pool]]
        evidence = self._masks.get(texts)
        collapsing = [self._collapsing(item, vector) for item in evidence]
        rest = [without(text, spans) for text, spans in zip(texts, collapsing, strict=True)]
        left = self._similarities(rest, evidence, collapsing, vector)
        judged = []
        for i, (item, spans) in enumerate(zip(evidence, collapsing, strict=True)):
            whole = float(item.vectors[0] @ vector)
            reason = f"Similarity {whole:.2f}; no span carries more than {self.settings.delta:g} of it."
            if spans:
                reason = f"Similarity {whole:.2f} falls to {left[i]:.2f} without {_count(spans, 'passage')} that carried it."
            if not rest[i]:
                reason = (
                    f"Similarity {whole:.2f}; every passage carries {self.settings.delta:g} of it or more, so nothing is left."
                )
            signals = {"similarity": whole, "similarity_left": left[i]}
            judged.append(Judgement(i, left[i], reason, signals=signals, spans=spans, suspicion=whole - left[i]))
        judged.sort(key=lambda j: (-j.score, content_hash(texts[j.position]), hits[j.position].document.id))
        unexamined = f"Not among the {pool} candidates that are examined."
        return [*judged, *(Judgement(i, hits[i].score, unexamined, drop=True) for i in range(pool, len(hits)))]

    def _collapsing(self, evidence: Evidence, vector: Vectors) -> tuple[Span, ...]:
        similarities = evidence.vectors @ vector
        collapses = similarities[1:] + self.settings.delta <= similarities[0]
        rows = zip(evidence.spans[1:], collapses, strict=True)
        return merge([span for spans, collapsed in rows if collapsed for span in spans])

    def _similarities(
        self, rest: Sequence[str], evidence: Sequence[Evidence], collapsing: Sequence[tuple[Span, ...]], vector: Vectors
    ) -> list[float]:
        """Similarity of what is left; nothing left ranks below everything. What evidence already holds is not embedded again."""
        left = [-1.0] * len(rest)
        unknown = []
        for i, (item, spans) in enumerate(zip(evidence, collapsing, strict=True)):
            if spans in item.spans:
                left[i] = float(item.vectors[item.spans.index(spans)] @ vector)
            elif rest[i]:
                unknown.append(i)
        for i, item in zip(unknown, self._rest.get([rest[i] for i in unknown]), strict=True):
            left[i] = float(item.vectors[0] @ vector)
        return left


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
