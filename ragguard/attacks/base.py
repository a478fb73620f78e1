"""What every attack has in common: a threat model, a budget it cannot exceed, and tags on what it made."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np

from ragguard.errors import InvalidInputError
from ragguard.text import words
from ragguard.types import Document

Family = Literal["A", "B"]
"""A: the text carries a retrieval trigger. B: fluent, on-topic misinformation without one."""

Knowledge = Literal["query", "topic", "answer", "corpus", "encoder", "defense"]

TARGET = "attack_target"
"""Metadata key under which a poisoned document names the query it was made for."""

EVERY_TARGET = "*"
"""Its value where a document was made for all of them."""


@dataclass(frozen=True)
class ThreatModel:
    """What the attacker knows and may write.

    Attributes:
        knows: "query": its exact words; "topic": queries like it, or a word it holds; "answer": the right and a wrong answer;
            "corpus": the honest documents; "encoder": its weights; "defense": code and settings of the guard.
        sources: Under how many sources it brings documents in.
        edits: Whether it changes documents that are there, instead of adding its own.
    """

    knows: tuple[Knowledge, ...]
    sources: int = 1
    edits: bool = False

    def __str__(self) -> str:
        """In a sentence for reports."""
        known = " and ".join(part for part in (", ".join(self.knows[:-1]), self.knows[-1]) if part)
        writes = "edits honest documents" if self.edits else "adds documents"
        return f"knows the {known}; {writes} from {self.sources} source{'' if self.sources == 1 else 's'}"


@dataclass(frozen=True)
class Target:
    """A query under attack, and what an attacker may know about it.

    Attributes:
        id: The query's id in its dataset.
        query: Its text.
        correct: Its answer, where known.
        incorrect: The answer the attacker wants to be read, where known.
        lies: Fluent texts that state the incorrect answer.
        relevant: Honest documents that answer the query, best first.
    """

    id: str
    query: str
    correct: str = ""
    incorrect: str = ""
    lies: tuple[str, ...] = ()
    relevant: tuple[Document, ...] = ()


@dataclass(frozen=True)
class Budget:
    """What an attacker may spend.

    Attributes:
        documents: Documents for each target, at most as many as there are where they are edited; for attacks on all targets
            together, documents in all.
        tokens: Longest document, in tokens (words, as `ragguard.text.words` counts them); None is no limit.
    """

    documents: int = 3
    tokens: int | None = None


class Attack(ABC):
    """Makes poisoned documents. A subclass sets the attributes and implements `craft`.

    Attributes:
        name: Short name for tables.
        family: A or B, see `Family`.
        threat: What the attacker knows and may write.
        series: Attacks that differ only in `effort` share it; None where there is no such curve.
        effort: Where the attack lies on the budget curve of its series (copies, words, encoder calls); None where there is none.
    """

    name: str
    family: Family
    threat: ThreatModel
    series: str | None = None
    effort: int | None = None

    def __init__(self, *, seed: int = 0) -> None:
        """Configure.

        Args:
            seed: Of everything random. A target's documents do not depend on the other targets.
        """
        self._seed = seed

    def __call__(self, targets: Sequence[Target], budget: Budget, step: Callable[[str], None] = lambda _: None) -> list[Document]:
        """Poisoned documents for each target, tagged and within the budget.

        Args:
            targets: The queries under attack.
            budget: What may be spent on each.
            step: Called with a sentence before each target, for progress.

        Raises:
            InvalidInputError: If the attack cannot make what the budget allows, or exceeds it.
        """
        documents = []
        for number, target in enumerate(targets, 1):
            step(f"{self.name}: writing for query {number} of {len(targets)}")
            documents += self._tagged(self.craft(target, self._generator(target.id)), budget, target.id)
        return documents

    def asked(self, target: Target) -> str:
        """The query as the victim asks it; a backdoor is attacked only when its trigger is in the query."""
        return target.query

    @abstractmethod
    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str | Document]:
        """Texts against one target, as many as the attack can make; a Document is an honest one with its text changed."""

    def _generator(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.default_rng([self._seed, int.from_bytes(digest[:8], "big")])

    def _tagged(self, crafted: Iterable[str | Document], budget: Budget, target: str) -> list[Document]:
        drafts = list(islice(crafted, budget.documents))
        if len(drafts) < (1 if self.threat.edits else budget.documents):  # there may be fewer documents to edit
            raise InvalidInputError(
                f"attack {self.name!r} made {len(drafts)} of {budget.documents} documents for {target!r}; "
                f"ask for fewer, or give it more to write with"
            )
        tags = {"attack": self.name, "family": self.family, TARGET: target}
        documents = []
        for number, draft in enumerate(drafts):
            source = f"attacker/{self.name}/{number % self.threat.sources}"
            document = (
                replace(draft, metadata={**draft.metadata, **tags})
                if isinstance(draft, Document)
                else Document(f"poison/{self.name}/{target}/{number}", draft, {"source": source, **tags})
            )
            if budget.tokens is not None and (count := len(words(document.text))) > budget.tokens:
                raise InvalidInputError(
                    f"attack {self.name!r}: document {document.id!r} has {count} tokens, more than the {budget.tokens} allowed"
                )
            documents.append(document)
        return documents


class UniversalAttack(Attack):
    """Makes documents against all targets together. A subclass implements `craft_for_all`."""

    def __call__(self, targets: Sequence[Target], budget: Budget, step: Callable[[str], None] = lambda _: None) -> list[Document]:
        """`budget.documents` documents in all, each aimed at every target; otherwise as `Attack`."""
        step(f"{self.name}: writing for all {len(targets)} queries")
        crafted = self.craft_for_all(targets, budget.documents, self._generator(EVERY_TARGET))
        return self._tagged(crafted, budget, EVERY_TARGET)

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """Texts against one target alone."""
        yield from self.craft_for_all([target], 1, generator)

    @abstractmethod
    def craft_for_all(self, targets: Sequence[Target], documents: int, generator: np.random.Generator) -> Iterator[str]:
        """That many texts, against all targets together."""
