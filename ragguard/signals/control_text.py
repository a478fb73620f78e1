"""Control text: what speaks to a language model instead of to a reader."""

from __future__ import annotations

import numpy as np

from ragguard._moved import moved_names
from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.text import merge
from ragguard.text.marks import strength
from ragguard.types import Span


class ControlText(Signal):
    """Chat-template tokens, role markers and instructions to the model; the logarithm of one more than their weights together.

    A heading, a role or a token says little, an order on answers much, less where it is quoted, in code, or in a text about
    models; see `ragguard.text.control`. The templates are those of ChatML, Llama 2 and 3, Gemma and DeepSeek; the phrases those
    of published prompt injections (Greshake et al., arXiv 2302.12173; Liu et al., arXiv 2310.12815), and others, in eleven
    languages. Language has more ways to give orders than these: a document without them is not cleared.
    """

    name = "control text"
    meaning = "gives orders to a language model"
    advice = "Describe what a model should do instead of ordering it."
    telltale = True
    computed = "ingestion"
    cost = "some eighty regular expressions a document"
    unit = 0.5

    def __call__(self, candidates: Candidates) -> Scores:
        """Known before the query."""
        return np.array([strength(profile.control) for profile in candidates.profiles])

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The places."""
        return merge([mark.span for mark in candidates.profiles[i].control])


__getattr__ = moved_names(__name__)
