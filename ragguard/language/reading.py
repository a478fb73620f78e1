"""A text as its corpus sees it, and what is read off that before any query."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HONEST_GAIN = 0.25
"""Gain by a token of honest text, in nats, from which the excess is counted."""

PRIOR_TOKENS, PRIOR_SURPRISE = 6, 7.0
"""Tokens of usual surprise, in nats, that are added to each window: texts of three words say little."""


@dataclass(frozen=True)
class Reading:
    """A text as the corpus sees it.

    Attributes:
        tokens: Its words and marks, in lower case.
        surprise: -log P(token | previous token) of each, in nats; `UNKNOWN` for those that no other text has.
        fresh: Whether the token follows the previous one for the first time in 20 tokens: a title that its text takes up again
            says nothing new. No longer, or an attacker would scatter his bigrams before he uses them.
        intrusion: For each token, by how much the text around it gains when the token is taken out, in nats: the logarithm of
            P(next | previous) / P(next), less those of P(token | previous) / P(token) and P(next | token) / P(next). Words that
            were put between others break up pairs that belong together.
    """

    tokens: tuple[str, ...]
    surprise: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    intrusion: NDArray[np.float64]


def window_surprise(reading: Reading, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean surprise of each window's fresh tokens, with the prior; shape (windows,).

    Args:
        reading: Of the text.
        places: First token of each window, and the one after its last; shape (windows, 2).
    """
    each = np.stack([reading.surprise * reading.fresh, reading.fresh])
    sums = np.pad(np.cumsum(each, axis=1), ((0, 0), (1, 0)))
    total, count = sums[:, places[:, 1]] - sums[:, places[:, 0]]
    surprise: NDArray[np.float64] = (total + PRIOR_TOKENS * PRIOR_SURPRISE) / (count + PRIOR_TOKENS)
    return surprise


def intrusion_of(gains: NDArray[np.float64]) -> float:
    """The number for a text, from its tokens' gains (`Reading.intrusion`)."""
    return float((np.maximum(gains, 0).sum() - HONEST_GAIN * len(gains)) / math.sqrt(len(gains) + 1))
