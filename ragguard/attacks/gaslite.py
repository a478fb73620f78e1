"""GASLITE: words at many positions from one averaged gradient (Ben-Tov & Sharif, arXiv 2412.20953)."""

from __future__ import annotations

import numpy as np

from ragguard.attacks.flips import Search, replaced
from ragguard.attacks.hotflip import HotFlip

NEIGHBOURS, POSITIONS, CANDIDATES = 4, 16, 4
"""Triggers that a gradient is averaged over, positions visited with it, and words encoded at each. The paper's 50, 20 and 128 are
for budgets of many thousand texts; with 300, the few settings tried lay within .01 of each other (three nq_dev queries)."""


def ascend(search: Search, generator: np.random.Generator) -> None:
    """Average the gradient over triggers that differ in one word, then improve one random position after another by it."""
    count = len(search.best)
    while True:
        flips = zip(
            generator.integers(count, size=NEIGHBOURS - 1), generator.choice(search.vocabulary, NEIGHBOURS - 1), strict=True
        )
        around = [search.best, *(replaced(search.best, int(i), str(word)) for i, word in flips)]
        if (gains := search.gains(around)) is None:
            return
        for position in generator.permutation(count)[:POSITIONS]:
            top = np.argsort(-gains[position])[:CANDIDATES]
            search.offer([replaced(search.best, int(position), search.vocabulary[v]) for v in top])


class GASLITE(HotFlip):
    """As `HotFlip`, with a search that changes many words for one gradient.

    For the same 400 calls stronger where the words are spread (similarity .557, HotFlip .465), equal at the front (.587, .600).
    """

    base = "gaslite"
    strategy = staticmethod(ascend)
