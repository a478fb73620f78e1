"""What it is, in a line: the question as somebody else's. Name the paper here, or the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ragguard.attacks import Attack, Target, ThreatModel
from ragguard.errors import InvalidInputError
from ragguard.types import Document


class Quoted(Attack):
    """Writes the query into a random passage, as the question of a reader."""

    name = "quoted"
    family = "A"  # it carries a trigger; "B" is misinformation without one
    threat = ThreatModel(knows=("query",))

    def __init__(self, passages: Sequence[Document], *, seed: int = 0) -> None:
        """Configure.

        Args:
            passages: What is written into.
            seed: Of the draw.

        Raises:
            InvalidInputError: If there are no passages.
        """
        super().__init__(seed=seed)
        if not passages:
            raise InvalidInputError("quoted needs passages to write into")
        self._passages = passages

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str | Document]:
        """Texts against one target, as many as there can be: the base class takes what the budget allows, and tags it."""
        for row in generator.permutation(len(self._passages)):
            yield f"A reader asks: {target.query}? {self._passages[int(row)].text}"
