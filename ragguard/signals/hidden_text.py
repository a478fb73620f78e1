"""Hidden text: what people do not see, or see as something else, and models read."""

from __future__ import annotations

import numpy as np

from ragguard._moved import moved_names
from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.text import merge
from ragguard.text.marks import strength
from ragguard.types import Span


class HiddenText(Signal):
    """The logarithm of one more than the weights of all places where text is hidden; see `ragguard.text.hidden`.

    Direction controls that reorder, characters that join nothing, letters inside Latin words that only look like Latin ones,
    markup that is not shown and holds a question or an order. Characters that show nothing at all are removed by
    `ragguard.text.canonical` before that. Right-to-left text, emoji sequences, words of one alphabet and Greek signs (TNFα) are
    left alone (Boucher et al., arXiv 2106.09898; Unicode TR39).
    """

    name = "hidden text"
    meaning = "hides text from people that models read"
    advice = "Show this text to readers, or remove it."
    telltale = True
    computed = "ingestion"
    cost = "a few regular expressions a document"
    unit = 0.5

    def __call__(self, candidates: Candidates) -> Scores:
        """Known before the query."""
        return np.array([strength(profile.hidden) for profile in candidates.profiles])

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The places."""
        return merge([mark.span for mark in candidates.profiles[i].hidden])


__getattr__ = moved_names(__name__)
