"""Control text: what speaks to a language model instead of to a reader."""

from __future__ import annotations

import math
import re

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.text import merge
from ragguard.types import Span

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"<\|[a-z0-9_ ]{2,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<\uff5c[^<>]{2,40}\uff5c>",
        r"^\s*(?:system|assistant|developer)\s*:|\n\n(?:Human|Assistant):|^#{2,}\s*(?:instruction|system|response)s?\s*(?::|$)",
        r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,30}\b(?:previous|above|prior|earlier|preceding|other|all)\b[^.\n]{0,30}"
        r"\b(?:instructions?|prompts?|rules|context|passages?|documents?|text|information)\b",
        r"\b(?:when|if|whenever)\b[^.\n]{0,20}\b(?:asked|answering|queried|prompted)\b[^.\n]{0,80}"
        r"\b(?:answer|say|output|respond|reply)\b",
        r"\b(?:respond with|reply with|answer with|answer only|say exactly|output only)\b[^.\n]{0,60}[:\"'\u201c]",
        r"\byou are (?:now |an? )(?:[a-z]+ )?(?:AI|assistant|chatbot|language model|GPT)\b",
        r"\byour (?:new )?(?:instructions|system prompt)\b",
        r"\b(?:do not|don't|never) (?:mention|reveal|answer|use the (?:other|above))\b[^.\n]{0,60}",
    )
)


class ControlText(Signal):
    """Chat-template tokens, role markers and instructions to the model; the logarithm of one more than their number.

    The templates are those of ChatML, Llama 2 and 3, Gemma and DeepSeek; the phrases those of published prompt injections
    (Greshake et al., arXiv 2302.12173; Liu et al., arXiv 2310.12815). Language has more ways to give orders than these: a
    document without them is not cleared.
    """

    name = "control text"
    meaning = "gives orders to a language model"
    computed = "ingestion"
    cost = "a few regular expressions a document"
    unit = 0.5

    def __call__(self, candidates: Candidates) -> Scores:
        """Known before the query."""
        return np.array([math.log1p(len(profile.control)) for profile in candidates.profiles])

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The places."""
        return candidates.profiles[i].control


def control_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a canonical text that speak to a model, in order."""
    return merge([Span(*match.span()) for pattern in _PATTERNS for match in pattern.finditer(text)])
