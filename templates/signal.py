"""What it is, in a line: questions in a text that is to answer one. Name the paper here, or the reason."""

from __future__ import annotations

import numpy as np

from ragguard.signals import Candidates, Scores, Signal


class Asks(Signal):
    """The share of a document's windows that end a question: who copies a query copies its question mark.

    What it does not see belongs here, too: a query without one.
    """

    name = "asks"
    meaning = "asks questions"  # the end of a sentence that begins with "The document"
    computed = "query"  # or "ingestion", if it needs only what a Profile has before any query
    cost = "one pass over the text"

    def __call__(self, candidates: Candidates) -> Scores:
        """Higher is more suspicious. Calibration finds out what is usual: there is no threshold here."""
        shares = [
            sum("?" in profile.text[span.start : span.end] for span in profile.spans) / len(profile.spans)
            for profile in candidates.profiles
        ]
        return np.asarray(shares, dtype=np.float64)
