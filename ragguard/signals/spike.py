"""Spike: one short passage that is nearer to the query than passages are."""

from __future__ import annotations

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.types import Span


class Spike(Signal):
    """The similarity of the best window, less half that of the whole: a passage out of proportion to its document.

    Compares meanings, so it needs no shared words: RAGMask's idea (arXiv 2512.24268) without masks.
    """

    name = "spike"
    meaning = "has a short passage that is out of proportion near to the query"
    advice = "Let the passage that answers be about what the text around it is about."
    computed = "query"
    cost = "one inner product a window"

    def __call__(self, candidates: Candidates) -> Scores:
        """Difference of cosines."""
        counts = np.diff(np.append(candidates.starts, len(candidates.rows)))
        means = np.add.reduceat(candidates.similarities, candidates.starts) / counts
        return np.asarray(candidates.best - means / 2, dtype=np.float64)

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The windows nearest to the query."""
        return candidates.near_spans(i)
