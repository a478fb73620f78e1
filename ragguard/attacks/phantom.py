"""Phantom: a document retrieved whenever a query holds a trigger word (arXiv 2405.20485; likewise BadRAG, arXiv 2406.00083)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ragguard.attacks.base import Target, ThreatModel, UniversalAttack
from ragguard.attacks.flips import CALLS, WORDS, Template, WhiteBox, WhiteBoxEncoder, shortened
from ragguard.attacks.gaslite import ascend
from ragguard.attacks.kept import Cache
from ragguard.attacks.planted import plant
from ragguard.attacks.triggers import Writer
from ragguard.checks import positive
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.types import Document


class Phantom(UniversalAttack):
    """Writes words that draw passages to queries with the trigger word, and away from the same queries without it."""

    name = "phantom"
    family = "A"
    threat = ThreatModel(knows=("topic", "encoder"))

    def __init__(
        self,
        encoder: WhiteBoxEncoder,
        passages: Sequence[Document],
        queries: Sequence[str],
        *,
        word: str = "lego",
        words: int = WORDS,
        calls: int = CALLS,
        cache: Cache | None = None,
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            encoder: The retriever's, with its weights.
            passages: What the documents say once retrieved; one random passage each.
            queries: What the attacker optimises against; others than the targets.
            word: The trigger, best a rare and concrete one. Two documents for "lego" were found by .76 of 100 unseen nq_dev
                queries with it, and by none without it; "netflix" and "reddit" weigh less in a query's vector.
            words: Length of the part that is optimised; it starts as the trigger repeated.
            calls: Texts encoded for a document; a gradient counts as three. The attack's `effort`.
            cache: Keeps what was optimised between runs.
            seed: Of everything random.

        Raises:
            InvalidInputError: If something is missing, a number is below 1, or the encoder shows no weights.
        """
        super().__init__(seed=seed)
        if not passages or not queries or not word.strip():
            raise InvalidInputError("phantom needs passages to be retrieved, queries to optimise against, and a trigger word")
        self._encoder, self._passages, self._queries = encoder, passages, tuple(queries)
        self._word, self._words = word.strip(), positive(words, "words")
        self._writer = Writer(WhiteBox(encoder), ascend, calls=calls, cache=cache)
        self.series, self.effort = self.name, calls

    def asked(self, target: Target) -> str:
        """The query with the trigger word after it."""
        return self._triggered(target.query)

    def craft_for_all(self, targets: Sequence[Target], documents: int, generator: np.random.Generator) -> Iterator[str]:  # noqa: ARG002
        """One text for each of as many random passages."""
        triggered = np.mean([encode_one_query(self._encoder, self._triggered(query)) for query in self._queries], axis=0)
        plain = np.mean([encode_one_query(self._encoder, query) for query in self._queries], axis=0)
        goal = np.asarray(triggered - plain, dtype=np.float32)
        for row in generator.permutation(len(self._passages))[:documents]:
            text = self._passages[int(row)].text
            template = Template.planted(shortened(text), self._words)
            trigger = self._writer(template, goal, generator, (self._word,) * self._words)
            yield plant(text, trigger, ("front",))

    def _triggered(self, query: str) -> str:
        return f"{query} {self._word}"
