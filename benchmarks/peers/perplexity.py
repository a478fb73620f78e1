"""Perplexity filter (Alon & Kamfonas, arXiv 2308.14132; against RAG poisoning in PoisonedRAG, arXiv 2402.07867, defenses)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from benchmarks.peers.base import HeldOut
from ragguard.defenses.base import BaseDefense, Judgement
from ragguard.errors import InvalidInputError
from ragguard.types import Hit

REMEMBERED = 100_000
"""Texts whose perplexity is kept."""


class PerplexityFilter(BaseDefense):
    """Drops a candidate whose perplexity is above that of nearly all benign documents."""

    def __init__(self, scorer: Callable[[str], float], benign: Sequence[str], *, quantile: float = 0.99) -> None:
        """Set the threshold.

        Args:
            scorer: Text to perplexity; must not have learned the benign texts, or the threshold is too low for any other.
            benign: Texts whose perplexities give the threshold.
            quantile: Share of the benign texts that the threshold spares.

        Raises:
            InvalidInputError: If there are no benign texts, or `quantile` is not between 0 and 1.
        """
        if not benign or not 0 < quantile < 1:
            raise InvalidInputError(f"a threshold needs benign texts and a quantile between 0 and 1, not {quantile}")
        self._score = lru_cache(maxsize=REMEMBERED)(scorer)
        self.threshold = float(np.quantile([self._score(text) for text in benign], quantile))
        self.name = f"perplexity ({quantile:.0%} of benign)"

    @classmethod
    def of_corpus(cls, texts: Sequence[str], *, quantile: float = 0.99) -> PerplexityFilter:
        """With bigram models of a corpus in place of GPT-2, each text judged by one that has not learned it.

        Raises:
            InvalidInputError: If the corpus is too small.
        """
        models = HeldOut(texts)
        return cls(lambda text: models.model(text).perplexity(text), texts, quantile=quantile)

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Compare each candidate with the threshold."""
        judged = []
        for i, hit in enumerate(hits):
            value = self._score(hit.document.text)
            drop = value > self.threshold
            reason = f"Perplexity {value:.0f}, {'above' if drop else 'not above'} {self.threshold:.0f}."
            judged.append(Judgement(i, hit.score, reason, drop, {"perplexity": value}, suspicion=value))
        return judged
