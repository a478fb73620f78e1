"""The query itself, planted in a random passage: the trigger of PoisonedRAG's black-box attack (Zou et al., arXiv 2402.07867)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ragguard.attacks.base import Attack, Target
from ragguard.errors import InvalidInputError
from ragguard.text import fragments, words
from ragguard.types import Document

Place = Literal["front", "middle", "end", "every-fragment", "spread"]
FRAGMENTS = 5
"""Fragments of "every-fragment": RAGPart's N in the paper."""


class QueryCopy(Attack):
    """Copies the query into passages that have nothing to do with it."""

    family = "A"
    knowledge = "Knows the query and can add documents; knows neither encoder nor defense."

    def __init__(self, passages: Sequence[Document], *, places: Sequence[Place] = ("front",), seed: int = 0) -> None:
        """Configure.

        Args:
            passages: Carriers, drawn at random without repetition for a target.
            places: Where the query is copied; several places repeat it.
            seed: Of the draw.

        Raises:
            InvalidInputError: If there are no passages or no places.
        """
        super().__init__(seed=seed)
        if not passages or not places:
            raise InvalidInputError("query copy needs passages to write into and a place to write at")
        self._passages, self._places = passages, tuple(places)
        self.name = "query-copy" if self._places == ("front",) else f"query-copy:{'+'.join(self._places)}"

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """Plant the query in one random passage after another."""
        for row in generator.permutation(len(self._passages)):
            yield plant(self._passages[int(row)].text, target.query, self._places)


def plant(text: str, trigger: str, places: Sequence[Place]) -> str:
    """Insert a trigger into a text, between words.

    Args:
        text: The carrier; at least one word.
        trigger: What is inserted.
        places: Where; "every-fragment" is the start of each of five fragments. "spread" deals the trigger's words out over the
            text, one by one, against defenses that look for it in one piece; every "spread" deals them out once more.
    """
    spans = words(text)
    at: list[tuple[int, str]] = []
    for place in places:
        if place == "every-fragment":
            at.extend((span.start, trigger) for span in fragments(text, FRAGMENTS))
        elif place != "spread":
            at.append(({"front": 0, "middle": spans[len(spans) // 2].start, "end": len(text)}[place], trigger))
    dealt = trigger.split() * places.count("spread")
    at.extend((spans[i * len(spans) // len(dealt)].start, word) for i, word in enumerate(dealt))
    for offset, planted in sorted(at, key=lambda pair: -pair[0]):
        text = f"{text[:offset].rstrip()} {planted} {text[offset:].lstrip()}".strip()
    return text
