"""Echo: the query's words, found again in the document in their order."""

from __future__ import annotations

import numpy as np
from rapidfuzz import fuzz

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.text import words
from ragguard.types import Span


class Echo(Signal):
    """How little of the query is missing, in order, from the best equally long part of the document.

    Minus the logarithm of the missing share, half a word added: that a query of three words is there by chance says less than
    that one of ten is. Sees every attack that copies the query; honest documents echo keyword queries, so only calibration makes
    it safe (DESIGN section 5: 100 % of copied queries at 1 % of benign candidates).
    """

    name = "echo"
    meaning = "repeats the query word for word"
    advice = "Say it in your own words instead of repeating the question."
    computed = "query"
    cost = "an alignment of words in compiled code, about 10 microseconds a document"

    def __call__(self, candidates: Candidates) -> Scores:
        """From the indel similarity of the best alignment."""
        return candidates.together

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """Where the alignment is, by its share of the document's words."""
        profile = candidates.profiles[i]
        alignment = fuzz.partial_ratio_alignment(candidates.words, profile.words)
        spans = words(profile.text)
        if alignment is None or not profile.words or len(profile.words) < len(candidates.words):
            return ()
        scale = len(spans) / len(profile.words)
        first, last = int(alignment.dest_start * scale), min(int(np.ceil(alignment.dest_end * scale)), len(spans))
        return (Span(spans[first].start, spans[max(last, first + 1) - 1].end),)
