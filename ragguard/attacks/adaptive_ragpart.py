"""An attacker who knows RAGPart: the query in as many fragments as it takes to touch most combinations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.errors import InvalidInputError
from ragguard.text import words
from ragguard.types import Document


class RepeatAgainstRAGPart(Attack):
    """Copies the query whole into some of the N fragments that RAGPart will cut, evenly spaced.

    c payload fragments touch 1 - C(N-c, k) / C(N, k) of RAGPart's combinations (arXiv 2512.24268): the majority of N=5, k=3 is
    lost to one copy, that of k=2 to two, that of k=1 to three. The budget curve is over the copies.
    """

    family = "A"
    threat = ThreatModel(knows=("query", "defense"))
    series = "repeat against RAGPart"

    def __init__(self, passages: Sequence[Document], *, copies: int, n: int = 5, seed: int = 0) -> None:
        """Configure.

        Args:
            passages: Carriers, drawn at random without repetition for a target.
            copies: In how many fragments the query is copied.
            n: RAGPart's N.
            seed: Of the draw.

        Raises:
            InvalidInputError: If there are no passages, or not between 1 and `n` copies.
        """
        super().__init__(seed=seed)
        if not passages or not 1 <= copies <= n:
            raise InvalidInputError(f"repeating needs passages to write into and 1 to {n} copies, not {copies}")
        self._passages, self._n, self._copies = passages, n, copies
        self.effort = copies
        self.name = f"repeat-ragpart:{copies}"

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """One random passage after another, with the query in the chosen fragments."""
        for row in generator.permutation(len(self._passages)):
            yield self._planted(self._passages[int(row)].text, target.query)

    def _planted(self, text: str, query: str) -> str:
        """Words of the passage and of the query in the order in which RAGPart's fragments will hold the copies whole."""
        carrier = [text[span.start : span.end] for span in words(text)]
        trigger = [query[span.start : span.end] for span in words(query)]
        total = len(carrier) + self._copies * len(trigger)
        sequence: list[str] = []
        for copy in range(self._copies):
            fragment = copy * self._n // self._copies
            while carrier and len(sequence) < fragment * total // self._n:
                sequence.append(carrier.pop(0))
            sequence += trigger
        return " ".join(sequence + carrier)
