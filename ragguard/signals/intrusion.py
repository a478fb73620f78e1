"""Intrusion: words that were put between the words of a text."""

from __future__ import annotations

import numpy as np

from ragguard._moved import moved_names
from ragguard.signals.base import Candidates, Scores, Signal


class Intrusion(Signal):
    """How much a text gains when words are taken out, token by token, above what honest text does; in standard units.

    A trigger spread word by word breaks up pairs that belong together, where no passage is odd as a whole and each mask span
    holds little of it. Of documents with 32 words of GASLITE spread through them it finds .97 on nq_dev at 2 % of queries, of the
    query dealt out three times .95, of HotFlip's 16 words spread .62.
    """

    name = "intrusion"
    meaning = "has words between its words that do not belong there"
    advice = "Take out words that have nothing to do with their sentence."
    computed = "ingestion"
    cost = "three lookups a token in the bigram model of the corpus"

    def __call__(self, candidates: Candidates) -> Scores:
        """Known before the query."""
        return np.array([profile.intrusion for profile in candidates.profiles])


__getattr__ = moved_names(__name__)
