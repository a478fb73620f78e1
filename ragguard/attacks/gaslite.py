"""GASLITE: words at many positions from one averaged gradient (Ben-Tov & Sharif, arXiv 2412.20953)."""

from __future__ import annotations

import numpy as np

from ragguard.attacks.flips import Search, replaced
from ragguard.attacks.hotflip import HotFlip

NEIGHBOURS, POSITIONS, CANDIDATES = 4, 16, 4
"""Triggers that a gradient is averaged over, positions visited with it, and words encoded at each. The paper's 50, 20 and 128 are
for budgets of many thousand texts; with 300, these raised the similarity most (nq_dev, 16 words: .805, HotFlip .784)."""


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
    """As `HotFlip`, with a search that changes many words for one gradient: stronger for the same budget."""

    base = "gaslite"
    strategy = staticmethod(ascend)
