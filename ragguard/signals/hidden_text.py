"""Hidden text: what people do not see, or see as something else, and models read."""

from __future__ import annotations

import math
import re

import numpy as np

from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.text import LOOK_ALIKES, merge
from ragguard.types import Span

_PATTERNS = (
    re.compile("[\u202a-\u202e\u2066-\u2069]+"),  # embeddings, overrides and isolates of direction
    re.compile("(?<=[A-Za-z])[\u200c-\u200f]+(?=[A-Za-z])"),  # joiners and marks between Latin letters join nothing
    re.compile("[a-z]\u0323|[\u1e05\u1e0d\u1e25\u1e33\u1e37\u1e43\u1e47\u1e5b\u1e63\u1e6d\u1e7f\u1e89\u1e93]{2,}"),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"<[^<>]*(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0)[^<>]*>[^<]*", re.I),
    re.compile(r"<[a-z]+[^<>]*\s(?:hidden|aria-hidden=.true.)[^<>]*>[^<]*", re.I),
    re.compile(r"<(?:template|noscript|script|style)\b[^<>]*>.*?</", re.I | re.DOTALL),
    re.compile(r"\balt\s*=\s*\"[^\"]{20,}\"|\balt\s*=\s*'[^']{20,}'", re.I),
)
_MIXED = re.compile(r"[^\W\d_]*[A-Za-z][^\W\d_]*")


class HiddenText(Signal):
    """The logarithm of one more than the number of places where text is hidden.

    Direction controls, characters that join nothing, letters inside Latin words that only look like Latin ones, markup that is
    not shown. Characters that show nothing at all are removed by `ragguard.text.canonical` before that. Right-to-left
    text, emoji sequences and words of one alphabet are left alone (Boucher et al., arXiv 2106.09898; Unicode TR39).
    """

    name = "hidden text"
    meaning = "hides text from people that models read"
    computed = "ingestion"
    cost = "a few regular expressions a document"
    unit = 0.5

    def __call__(self, candidates: Candidates) -> Scores:
        """Known before the query."""
        return np.array([math.log1p(len(profile.hidden)) for profile in candidates.profiles])

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        """The places."""
        return candidates.profiles[i].hidden


def hidden_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a canonical text that are hidden, in order."""
    found = [Span(*match.span()) for pattern in _PATTERNS for match in pattern.finditer(text)]
    if not text.isascii():
        found += [Span(*match.span()) for match in _MIXED.finditer(text) if not LOOK_ALIKES.isdisjoint(match.group())]
    return merge(found)
