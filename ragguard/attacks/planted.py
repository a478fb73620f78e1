"""A trigger planted in random passages: what the attacks that differ only in their trigger have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from ragguard.attacks.base import Attack, Target
from ragguard.errors import InvalidInputError
from ragguard.text import fragments, words
from ragguard.types import Document

Place = Literal["front", "middle", "end", "every-fragment", "spread"]
FRAGMENTS = 5
"""Fragments of "every-fragment": RAGPart's N in the paper."""


class PlantedAttack(Attack):
    """Writes one trigger into passages that have nothing to do with the query. A subclass sets `base` and makes the trigger.

    Attributes:
        base: Name of the attack, to which the places are added where they are not the default.
    """

    base: str

    def __init__(self, passages: Sequence[Document], *, places: Sequence[Place] = ("front",), seed: int = 0) -> None:
        """Configure.

        Args:
            passages: Carriers, drawn at random without repetition for a target.
            places: Where the trigger is planted; several places repeat it.
            seed: Of the draw.

        Raises:
            InvalidInputError: If there are no passages or no places, or a place is unknown.
        """
        super().__init__(seed=seed)
        if isinstance(places, str) or not set(places) <= set(get_args(Place)):
            raise InvalidInputError(f"places must be a list of {', '.join(get_args(Place))}, not {places!r}")
        if not passages or not places:
            raise InvalidInputError(f"{self.base} needs passages to write into and a place to write at")
        self._passages, self._places = passages, tuple(places)
        self.name = self.base if self._places == ("front",) else f"{self.base}:{'+'.join(self._places)}"

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str | Document]:
        """Plant the target's trigger in one random passage after another."""
        rows = generator.permutation(len(self._passages))
        trigger = self.trigger(target, generator)
        for row in rows:
            yield plant(self._passages[int(row)].text, trigger, self._places)

    @abstractmethod
    def trigger(self, target: Target, generator: np.random.Generator) -> str:
        """What is planted against a target; made once and shared by its documents."""


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
