"""HotFlip: words chosen by the encoder's gradient (Ebrahimi et al., arXiv 1712.06751; on retrieval, arXiv 2310.19156)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragguard.attacks.base import Target, ThreatModel
from ragguard.attacks.flips import (
    CALLS,
    EXCERPT,
    WORDS,
    Strategy,
    Template,
    WhiteBox,
    WhiteBoxEncoder,
    flip,
    shortened,
)
from ragguard.attacks.kept import Cache
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.attacks.triggers import Writer
from ragguard.checks import positive
from ragguard.encoders.vectors import encode_one_query
from ragguard.types import Document


class HotFlip(PlantedAttack):
    """Plants words that pull a passage towards the query, found from random words: none of the query's is needed."""

    base = "hotflip"
    family = "A"
    threat = ThreatModel(knows=("query", "encoder"))
    strategy: Strategy = staticmethod(flip)

    def __init__(
        self,
        encoder: WhiteBoxEncoder,
        passages: Sequence[Document],
        *,
        words: int = WORDS,
        calls: int = CALLS,
        excerpt: int = EXCERPT,
        places: Sequence[Place] = ("front",),
        cache: Cache | None = None,
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            encoder: The retriever's, with its weights.
            passages: Carriers; a target's trigger is optimised in the one drawn first, and shared by the rest.
            words: Length of the trigger.
            calls: Texts encoded for a target; a gradient counts as three. The attack's `effort`.
            excerpt: Words of that carrier that are read; a trigger spread over more of them than it was optimised in is weaker.
            places: Where the trigger is planted, and optimised.
            cache: Keeps triggers between runs.
            seed: Of everything random.

        Raises:
            InvalidInputError: If there are no passages or places, a number is below 1, or the encoder shows no weights.
        """
        super().__init__(passages, places=places, seed=seed)
        self._words, self._excerpt = positive(words, "words"), positive(excerpt, "excerpt")
        self._encoder = encoder
        self._writer = Writer(WhiteBox(encoder), self.strategy, calls=calls, cache=cache)
        self.series, self.effort = self.name, calls

    def trigger(self, target: Target, generator: np.random.Generator) -> str:
        """Words optimised against a target in the carrier of its first document."""
        first = self._generator(target.id).permutation(len(self._passages))[0]  # as `craft` draws it
        carrier = shortened(self._passages[int(first)].text, self._excerpt)
        goal = encode_one_query(self._encoder, target.query)
        return self._writer(Template.planted(carrier, self._words, self._places), goal, generator)
