"""RobustScore: a document is worth no more than most of it bears out, so a planted passage cannot win for the whole.

A bounded-influence estimate (Hampel, "The influence curve and its role in robust estimation", 1974) of RAGPart's idea.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragguard.calibration.derived import DERIVED, DerivedQuery, WithoutCopies, derived_queries
from ragguard.checks import an_encoder, positive, query_text
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.evidence import WINDOW, EvidenceBuilder, MemoryStore, WindowPlan
from ragguard.protocols import Encoder, EvidenceStore, Retriever
from ragguard.text import canonical, merge
from ragguard.types import Certificate, Document, Evidence, Hit, Span, Vectors

QUANTILE = 0.8
"""The highest at which one paraphrase in a random passage is left in ASR@10 of at most .10 on nq_dev (results/robust.json)."""

SHARE = 3
"""One window in so many is the rest of a document. At the quantile of .8 this harms .37 of the clean queries of nq_dev and leaves
paraphrases a mean ASR@10 of .16; half of the windows .42 and .25; two of five fragments, another encoding, .44 and .18."""

LEAST = 10
"""Queries to fit on, at least; about 200 pairs."""

SAMPLE, ROUNDED = 8, 0.02
"""First hits by which it is seen whether scores are cosines of the encoder, and by how much an index of these may round."""


class RobustScoreSettings(BaseModel):
    """Settings of RobustScore: documents score at most a + b * rest.

    Attributes:
        a: In units of cosine.
        b: Not negative, so that a document cannot gain by a rest that is further from the query.
        cosines: Whether the retriever's scores are cosines of the same encoder. Where they are not (BM25, fused lists), the j-th
            hit stands for the j-th largest of the candidates' best windows: the retriever's order, in units of cosine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    a: float
    b: float = Field(ge=0)
    cosines: bool = True


class RobustScore(BaseDefense):
    """Ranks by min(similarity, a + b * rest), rest being what a third of a document's windows do not exceed.

    It only moves documents down, drops none, and looks at windows that `CalibratedGuard` embeds anyway: give both the same store.
    It re-orders clean results, too: that is its price (docs/guard.md). Put it after what drops, before what ranks otherwise.
    """

    def __init__(self, encoder: Encoder, *, a: float, b: float, cosines: bool = True, store: EvidenceStore | None = None) -> None:
        """Configure with what `fitted` finds; a, b and cosines are those of `RobustScoreSettings`.

        Args:
            encoder: Embeds windows and queries.
            a: Intercept.
            b: Slope, at least 0.
            cosines: Whether the retriever's scores are cosines of this encoder.
            store: Keeps the embeddings of windows; None keeps them in memory.

        Raises:
            InvalidInputError: If a setting is out of range, or `encoder` is none.
        """
        try:
            self.settings = RobustScoreSettings(a=a, b=b, cosines=cosines)
        except ValidationError as error:
            raise InvalidInputError(f"RobustScore: {error}") from error
        self.name = f"RobustScore({self.settings.a:.2f} + {self.settings.b:.2f} * rest)"
        self._encoder = an_encoder(encoder)
        self._windows = EvidenceBuilder(encoder, WindowPlan(), MemoryStore() if store is None else store)

    @classmethod
    def fitted(
        cls,
        encoder: Encoder,
        retriever: Retriever,
        documents: Sequence[Document],
        queries: Sequence[str] | None = None,
        *,
        quantile: float = QUANTILE,
        k: int = 10,
        depth: int = 2,
        store: EvidenceStore | None = None,
    ) -> RobustScore:
        """Fitted on clean queries and what they find: that share of the pairs stays as it is.

        Args:
            encoder: Embeds windows and queries.
            retriever: The undefended retriever of the corpus.
            documents: The corpus.
            queries: Like those that users ask; `default_guard`'s will do. None derives them from the documents.
            quantile: Share of the pairs whose similarity the bound leaves alone. Lower stops more and re-orders more.
            k: Results per query.
            depth: Candidates for each result, as in service.
            store: Keeps the embeddings of windows, as the guard's does; None keeps them in memory.

        Raises:
            InvalidInputError: If `quantile` is not between 0 and 1, `k` or `depth` is below 1, or fewer than 10 different queries
                find a document.
        """
        if not 0 < quantile < 1:
            raise InvalidInputError(f"quantile must lie between 0 and 1, not {quantile}")
        clean_queries = derived_queries(documents, DERIVED) if queries is None else queries
        if derived := [query for query in clean_queries if isinstance(query, DerivedQuery)]:
            retriever = WithoutCopies(retriever, derived)
        texts = dict.fromkeys(query_text(query.text if isinstance(query, DerivedQuery) else query) for query in clean_queries)
        candidates = {text: _judged(retriever.retrieve(text, positive(depth, "depth") * positive(k))) for text in texts}
        candidates = {text: hits for text, hits in candidates.items() if hits}
        if len(candidates) < LEAST:
            raise InvalidInputError(f"{len(candidates)} different queries that find documents are too few; give at least {LEAST}")
        unfitted = cls(encoder, a=0, b=0, cosines=_are_cosines(encoder, candidates), store=store)
        unfitted._windows.get(list({hit.document.text: None for hits in candidates.values() for hit in hits}))  # in large batches
        rests: list[float] = []
        similarities: list[float] = []
        for text, hits in candidates.items():
            scores, windows, _ = unfitted._look(encode_one_query(encoder, text), hits)
            similarities += scores.tolist()
            rests += map(rest, windows)
        a, b = fit(rests, similarities, quantile)
        return cls(encoder, a=a, b=b, cosines=unfitted.settings.cosines, store=store)

    def prepare(self, documents: Sequence[Document]) -> None:
        """Embed windows ahead of queries; nothing is left to do where `CalibratedGuard` has the same store."""
        self._windows.get(judgeable(documents))

    def describe(self) -> Mapping[str, Any]:
        """Settings and encoder."""
        return {**super().describe(), "encoder": self._encoder.name}

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Rank by the bounded similarity; what is equal keeps its order."""
        similarities, windows, evidence = self._look(encode_one_query(self._encoder, query), hits)
        judged = []
        for i, (similarity, each) in enumerate(zip(similarities.tolist(), windows, strict=True)):
            lower = rest(each)
            bound = self.settings.a + self.settings.b * lower
            spans: tuple[Span, ...] = ()
            reason = f"Similarity {similarity:.2f}, which most of it bears out."
            if bound < similarity:
                reason = f"Similarity {similarity:.2f} counts as {bound:.2f}: a third of its passages have {lower:.2f} or less."
                spans = merge([span for (span,), near in zip(evidence[i].spans, each > bound, strict=True) if near])
            signals = {"similarity": similarity, "rest": lower}
            judged.append(Judgement(i, min(similarity, bound), reason, signals=signals, spans=spans))
        return sorted(judged, key=lambda judgement: -judgement.score)

    def certificates(self, candidates: int, k: int) -> tuple[Certificate, ...]:  # noqa: ARG002
        """How much of a document must be touched before the bound moves with it."""
        touched = 100 * (SHARE - 1) // SHARE
        statement = (
            f"A document of whose windows of {WINDOW} words an attacker wrote into at most {touched} % scores at most a + b * "
            f"the similarity of the nearest of the others (a = {self.settings.a:.3g}, b = {self.settings.b:.3g})."
        )
        return (Certificate(self.name, touched, statement, "the others are not his; no later defense raises a score"),)

    def _look(self, vector: Vectors, hits: Sequence[Hit]) -> tuple[NDArray[np.float64], list[Vectors], list[Evidence]]:
        """The similarity of each hit, shape (hits,); those of its windows; the windows."""
        evidence = self._windows.get([hit.document.text for hit in hits])
        windows = [item.vectors @ vector for item in evidence]
        if not self.settings.cosines:
            return np.sort([float(each.max()) for each in windows])[::-1], windows, evidence
        scores = np.array([hit.score for hit in hits], dtype=np.float64)
        if scores.max() > 1 + ROUNDED:
            raise InvalidInputError(f"{self.name} was fitted to cosines, and a hit scores {scores.max():.4g}; fit it again")
        return scores, windows, evidence


def rest(windows: ArrayLike) -> float:
    """What a third of a document's windows do not exceed; two thirds of them, whatever they say, cannot lift it over the others.

    Args:
        windows: Their similarities to the query; at least one.
    """
    values = np.asarray(windows, dtype=np.float64)
    place = -(-len(values) // SHARE) - 1
    return float(np.partition(values, place)[place])


def fit(rests: ArrayLike, similarities: ArrayLike, quantile: float) -> tuple[float, float]:
    """The line a + b * rest that this share of the similarities does not exceed; b is at least 0.

    Quantile regression (Koenker and Bassett, "Regression quantiles", 1978) by its dual linear program: one bounded variable for
    each pair, a and b being the multipliers of the two rows.

    Args:
        rests: Shape (pairs,).
        similarities: Shape (pairs,).
        quantile: Between 0 and 1.
    """
    from scipy.optimize import linprog  # slow to import

    x, y = np.asarray(rests, dtype=np.float64)[None, :], np.asarray(similarities, dtype=np.float64)
    above = 1 - quantile
    solution = linprog(
        -y, A_eq=np.ones_like(x), b_eq=[above * x.size], A_ub=x, b_ub=[above * x.sum()], bounds=(0, 1), method="highs"
    )
    return -float(solution.eqlin.marginals[0]), abs(float(solution.ineqlin.marginals[0]))


def _judged(hits: Sequence[Hit]) -> list[Hit]:
    return [hit.with_text(canonical(hit.document.text).text) for hit in hits if judgeable([hit.document])]


def _are_cosines(encoder: Encoder, candidates: Mapping[str, Sequence[Hit]]) -> bool:
    """Whether first hits score what the encoder says of them."""
    first = [(text, hits[0]) for text, hits in candidates.items()][:SAMPLE]
    vectors = encode_documents(encoder, [hit.document.text for _, hit in first])
    cosines = [float(encode_one_query(encoder, text) @ vector) for (text, _), vector in zip(first, vectors, strict=True)]
    return bool(np.median(np.abs(np.subtract(cosines, [hit.score for _, hit in first]))) <= ROUNDED)
