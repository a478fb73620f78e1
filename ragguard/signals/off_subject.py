"""Off subject: the rest of a document is not about what is asked."""

from __future__ import annotations

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal


class OffSubject(Signal):
    """Minus the mean similarity to the query of the windows that neither carry the document's similarity nor overlap with these.

    Where there are none, in a short document or one with the query in all places, the least similar window stands for them.
    Says nothing alone: most documents hold passages on other things. It tells a question that was copied into a passage on
    something else from an honest page that repeats the question because it answers it.
    """

    name = "off subject"
    meaning = "is otherwise not about the query"
    advice = "Keep to what the page is found for, or cut what is about something else."
    computed = "query"
    cost = "a mean of similarities that are known"
    alone = False

    def __call__(self, candidates: Candidates) -> Scores:
        """From the cosines of windows."""
        rows, near = candidates.rows, candidates.near
        carrying = near.copy()
        same = rows[1:] == rows[:-1]
        carrying[1:] |= near[:-1] & same
        carrying[:-1] |= near[1:] & same
        left = np.add.reduceat((~carrying).astype(np.float64), candidates.starts)
        total = np.add.reduceat(np.where(carrying, 0.0, candidates.similarities), candidates.starts)
        rest = total / np.maximum(left, 1)
        rest = np.where(left > 0, rest, np.minimum.reduceat(candidates.similarities, candidates.starts))
        return np.asarray(-rest, dtype=np.float64)
