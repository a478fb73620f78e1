"""PoisonedRAG: a part S that gets the document retrieved, before a part I that lies (Zou et al., arXiv 2402.07867)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.attacks.flips import CALLS, Template, WhiteBox, WhiteBoxEncoder, flip
from ragguard.attacks.kept import Cache
from ragguard.attacks.triggers import Writer
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError


class PoisonedRAG(Attack):
    """The black-box attack: S is the question, I one of the target's lies."""

    name = "poisonedrag"
    family = "A"
    threat = ThreatModel(knows=("query", "answer"))

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """One text for each lie, in their order.

        Raises:
            InvalidInputError: If the target has no lies.
        """
        if not target.lies:
            raise InvalidInputError(
                f"{self.name} needs lies about {target.id!r}: set Target.lies to texts that state a wrong answer"
            )
        question = self.question(target, generator)
        for lie in target.lies:
            yield f"{question}. {lie}"

    def question(self, target: Target, generator: np.random.Generator) -> str:  # noqa: ARG002
        """S, the part that gets the lies retrieved."""
        return target.query


class PoisonedRAGWhiteBox(PoisonedRAG):
    """The white-box attack: S starts from the question's words, and HotFlip replaces them in front of the first lie."""

    name = "poisonedrag-whitebox"
    threat = ThreatModel(knows=("query", "answer", "encoder"))

    def __init__(self, encoder: WhiteBoxEncoder, *, calls: int = CALLS, cache: Cache | None = None, seed: int = 0) -> None:
        """Configure.

        Args:
            encoder: The retriever's, with its weights.
            calls: Texts encoded for a target; a gradient counts as three. The attack's `effort`.
            cache: Keeps S between runs.
            seed: Of everything random.

        Raises:
            InvalidInputError: If `calls` is below 1, or the encoder shows no weights.
        """
        super().__init__(seed=seed)
        self._encoder = encoder
        self._writer = Writer(WhiteBox(encoder), flip, calls=calls, cache=cache)
        self.series, self.effort = self.name, calls

    def question(self, target: Target, generator: np.random.Generator) -> str:
        """The question's words, replaced one by one where that brings the first lie closer to it."""
        start = tuple(target.query.split())
        template = Template.planted(f". {target.lies[0]}", len(start))
        return self._writer(template, encode_one_query(self._encoder, target.query), generator, start)
