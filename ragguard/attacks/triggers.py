"""Triggers: what a search strategy writes for a template, each once and kept between runs."""

from __future__ import annotations

import numpy as np

from ragguard.attacks.flips import Search, Strategy, Template, WhiteBox, Words
from ragguard.attacks.kept import Cache, kept
from ragguard.checks import positive
from ragguard.types import Vectors


class Writer:
    """Writes triggers with one strategy and budget, each once."""

    def __init__(self, box: WhiteBox, strategy: Strategy, *, calls: int, cache: Cache | None) -> None:
        """Configure.

        Args:
            box: The encoder.
            strategy: How words are searched for.
            calls: Texts encoded for each trigger; a gradient counts as three.
            cache: Keeps triggers between runs.

        Raises:
            InvalidInputError: If `calls` is below 1.
        """
        self._box, self._strategy, self._calls, self._cache = box, strategy, positive(calls, "calls"), cache

    def __call__(self, template: Template, goal: Vectors, generator: np.random.Generator, start: Words | None = None) -> str:
        """A trigger for a template: words separated by spaces.

        Args:
            template: What the words go into.
            goal: What the text should resemble, shape (d,).
            generator: Of everything random, random first words included.
            start: The first words; None draws them from the vocabulary.
        """
        seed = int(generator.integers(2**63))
        settings = [
            self._strategy.__qualname__,
            self._calls,
            self._box.encoder.name,
            template.pieces,
            template.order,
            start,
            seed,
        ]

        def make() -> str:
            own = np.random.default_rng(seed)
            first = start or tuple(own.choice(self._box.vocabulary[1], max(template.order) + 1).tolist())
            search = Search(self._box, template, goal, first, self._calls)
            self._strategy(search, own)
            return " ".join(search.best)

        return kept(self._cache, settings, make, goal=goal.tobytes())
