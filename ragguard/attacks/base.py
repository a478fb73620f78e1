"""What every attack has in common: targets, a budget it cannot exceed, and tags on what it made."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from ragguard.errors import InvalidInputError
from ragguard.text import words
from ragguard.types import Document

Family = Literal["A", "B"]
"""A: the text carries a retrieval trigger. B: fluent, on-topic misinformation without one."""

TARGET = "attack_target"
"""Metadata key under which a poisoned document names the query it was made for."""


@dataclass(frozen=True)
class Target:
    """A query under attack.

    Attributes:
        id: The query's id in its dataset.
        query: Its text.
    """

    id: str
    query: str


@dataclass(frozen=True)
class Budget:
    """What an attacker may add to the corpus.

    Attributes:
        documents: Documents for each target.
        words: Longest document, in words; None is no limit.
    """

    documents: int = 3
    words: int | None = None


class Attack(ABC):
    """Makes poisoned documents. A subclass sets the attributes and implements `craft`.

    Attributes:
        name: Short name for tables.
        family: A or B, see `Family`.
        knowledge: What the attacker knows and may do, in a sentence.
    """

    name: str
    family: Family
    knowledge: str

    def __init__(self, *, seed: int = 0) -> None:
        """Configure.

        Args:
            seed: Of everything random. A target's documents do not depend on the other targets.
        """
        self._seed = seed

    def __call__(self, targets: Sequence[Target], budget: Budget) -> list[Document]:
        """Poisoned documents for each target, tagged and within the budget.

        Raises:
            InvalidInputError: If the attack cannot make what the budget allows, or exceeds it.
        """
        made = []
        for target in targets:
            digest = hashlib.sha256(target.id.encode()).digest()
            generator = np.random.default_rng([self._seed, int.from_bytes(digest[:8], "big")])
            texts = list(islice(self.craft(target, generator), budget.documents))
            if len(texts) < budget.documents:
                raise InvalidInputError(
                    f"attack {self.name!r} made {len(texts)} of {budget.documents} documents for {target.id!r}"
                )
            for number, text in enumerate(texts):
                if budget.words is not None and (count := len(words(text))) > budget.words:
                    raise InvalidInputError(
                        f"attack {self.name!r}: document {number} for {target.id!r} has {count} words, budget {budget.words}"
                    )
                metadata = {"source": f"attacker/{self.name}", "attack": self.name, "family": self.family, TARGET: target.id}
                made.append(Document(f"poison/{self.name}/{target.id}/{number}", text, metadata))
        return made

    @abstractmethod
    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """Texts against one target, as many as the attack can make."""
