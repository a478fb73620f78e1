"""The query's content words over and over: keyword stuffing of the web (Gyöngyi & Garcia-Molina, "Web Spam Taxonomy", 2005)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ragguard.attacks.base import Target, ThreatModel
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.checks import positive
from ragguard.types import Document

COMMON = 0.1
"""A word found in a larger share of the passages says nothing about a topic."""

_WORD = re.compile(r"\w[\w'’-]*")
# Words of questions, which passages seldom hold.
_ASKING = re.compile(r"who(?:m|se)?|what|which|when|where|why|how|do|does|did|is|are|was|were|can", re.IGNORECASE)


class KeywordStuffing(PlantedAttack):
    """Plants the query's content words, in their order, `repeats` times."""

    base = "keyword-stuffing"
    family = "A"
    threat = ThreatModel(knows=("query", "corpus"))

    def __init__(
        self, passages: Sequence[Document], *, repeats: int = 3, places: Sequence[Place] = ("front",), seed: int = 0
    ) -> None:
        """Configure.

        Args:
            passages: Carriers; also what tells content words from common ones.
            repeats: How often the content words are said; the attack's `effort`.
            places: Where they are planted; several places repeat them once more.
            seed: Of the draw.

        Raises:
            InvalidInputError: If there are no passages or no places, or `repeats` is below 1.
        """
        super().__init__(passages, places=places, seed=seed)
        self.series, self.effort = self.name, positive(repeats, "repeats")
        self.name = f"{self.name}-x{repeats}"
        counts = Counter(word for passage in passages for word in set(_WORD.findall(passage.text.casefold())))
        limit = max(1, COMMON * len(passages))
        self._common = {word for word, count in counts.items() if count > limit}
        self._repeats = repeats

    def trigger(self, target: Target, generator: np.random.Generator) -> str:  # noqa: ARG002
        """The content words, repeated; all words of a query that has none."""
        words = _WORD.findall(target.query)
        content = [word for word in words if word.casefold() not in self._common and not _ASKING.fullmatch(word)]
        return " ".join((content or target.query.split()) * self._repeats)
