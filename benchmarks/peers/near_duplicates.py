"""Near-duplicate filter: "duplicate text filtering" as PoisonedRAG tries it (arXiv 2402.07867, defenses), by meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.peers.base import VectorPeer
from ragguard.defenses.base import Judgement
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.types import Hit

ROUNDING = 1e-5
"""Equal texts have a cosine of 1 up to this."""


class NearDuplicateFilter(VectorPeer):
    """Drops a candidate that nearly repeats one that ranks better."""

    def __init__(self, encoder: Encoder, *, threshold: float = 0.95) -> None:
        """Configure.

        Args:
            encoder: Embeds the candidates.
            threshold: Cosine from which two candidates are duplicates; 1 drops equal texts alone, which is PoisonedRAG's filter.

        Raises:
            InvalidInputError: If `threshold` is not above 0 and at most 1.
        """
        if not 0 < threshold <= 1:
            raise InvalidInputError(f"threshold must be above 0 and at most 1, not {threshold}")
        super().__init__(encoder)
        self.name = f"near duplicates (cosine {threshold:g})"
        self._threshold = threshold

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Compare each candidate with those above it."""
        vectors = self.vectors([hit.document.text for hit in hits])
        cosines = np.tril(vectors @ vectors.T, -1)
        judged = []
        for i, hit in enumerate(hits):
            nearest = int(cosines[i].argmax())
            cosine = float(cosines[i, nearest])
            reason = f"At most {cosine:.2f} similar to a candidate that ranks better."
            if drop := cosine >= self._threshold - ROUNDING:
                reason = f"Repeats {hits[nearest].document.id!r}, which ranks better (cosine {cosine:.2f})."
            judged.append(Judgement(i, hit.score, reason, drop, {"cosine": cosine}, suspicion=cosine))
        return judged
