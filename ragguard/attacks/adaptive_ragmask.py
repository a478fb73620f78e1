"""An attacker who knows RAGMask: the query spread over the document, so that no span carries what would collapse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragguard.attacks.base import Target, ThreatModel
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.types import Document


class SpreadAgainstRAGMask(PlantedAttack):
    """Deals the query's words out over the document, one by one, several times.

    RAGMask (arXiv 2512.24268) drops spans of m words whose removal costs more than delta; here every span carries a little. The
    budget curve is over the rounds.
    """

    base = "spread-ragmask"
    family = "A"
    threat = ThreatModel(knows=("query", "defense"))
    series = "spread against RAGMask"

    def __init__(self, passages: Sequence[Document], *, rounds: int, seed: int = 0) -> None:
        """Configure.

        Args:
            passages: Carriers, drawn at random without repetition for a target.
            rounds: How often the query's words are dealt out, at least 1.
            seed: Of the draw.

        Raises:
            InvalidInputError: If there are no passages or no rounds.
        """
        places: list[Place] = ["spread"] * rounds
        super().__init__(passages, places=places, seed=seed)
        self.effort = rounds
        self.name = f"{self.base}:{rounds}"

    def trigger(self, target: Target, generator: np.random.Generator) -> str:  # noqa: ARG002
        """The query."""
        return target.query
