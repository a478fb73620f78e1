"""An attacker who knows the ingestion gate: what he plants is found for its query, and is nothing that the gate would flag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.checks import positive
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder, Retriever
from ragguard.text import canonical, words
from ragguard.types import Hit, Vectors

NEAR = 0.05
"""Similarity that counts for one nat of suspicion where neither is enough yet: a typical step of either."""

LONGEST_PHRASE = 8
"""Words that are put in at once, at most."""

OTHER_CARRIER = 0.25
"""Share of tries with another passage."""

Arranged: TypeAlias = list[str | None]
"""Words, and None where the passage stands among them."""


class EvadeGate(Attack):
    """Random search over what stands around an honest passage, by the gate's own suspicion and the encoder's similarity.

    It begins with the query, as it is asked and in other orders, which have nearly its embedding, and with half of it at either
    end. Then words are exchanged and taken out, phrases of the honest candidates put in, and other passages tried, until the
    document is among the first k and below the gate's threshold. It stops there: fewer calls are spent the weaker the gate.
    """

    family = "A"
    threat = ThreatModel(knows=("query", "corpus", "encoder", "defense"))
    series = "against the gate"

    def __init__(
        self,
        passages: Sequence[str],
        retriever: Retriever,
        encoder: Encoder,
        excess: Callable[[str], float],
        *,
        calls: int = 100,
        k: int = 10,
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            passages: Texts of carriers.
            retriever: Finds the honest candidates, which the attacker knows; its scores must be the encoder's cosines.
            encoder: Of the retriever.
            excess: A text's suspicion above the threshold of the attacker's copy of the gate, in nats; at most 0 is admitted.
            calls: Texts that the attacker may embed and have judged for each target.
            k: Results per query.
            seed: Of everything random.

        Raises:
            InvalidInputError: If there are no passages, or a number is below 1.
        """
        super().__init__(seed=seed)
        if not passages:
            raise InvalidInputError("an attack on the gate needs passages to write in front of")
        self._passages, self._retriever, self._encoder, self._excess = passages, retriever, encoder, excess
        self._calls, self._k = positive(calls, "calls"), positive(k, "k")
        self.effort = calls
        self.name = f"adaptive-gate:{calls}"

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """One search after another; of each the first document that succeeds, or what was nearest to it."""
        honest = list(self._retriever.retrieve(target.query, self._k))
        query = encode_one_query(self._encoder, target.query)
        while True:
            yield self._search(target.query, query, honest, generator)

    def _search(self, query: str, vector: Vectors, honest: Sequence[Hit], generator: np.random.Generator) -> str:
        sources = [_words(hit.document.text) for hit in honest]
        bar = honest[-1].score if len(honest) == self._k else -1.0
        first = _arranged(_words(query))
        best, trigger, carrier, best_value = "", first[0], self._carrier(generator), -np.inf
        for call in range(self._calls):
            arrangement, passage = first[call] if call < len(first) else _moved(trigger, sources, generator), carrier
            if call >= len(first) and generator.random() < OTHER_CARRIER:
                passage = self._carrier(generator)
            text = " ".join(passage if word is None else word for word in arrangement)
            near = float(encode_documents(self._encoder, [text])[0] @ vector)
            value = min(near - bar, 0.0) / NEAR - max(self._excess(text), 0.0)
            if value > best_value:
                best, trigger, carrier, best_value = text, arrangement, passage, value
            if near > bar and value == 0:
                break
        return best

    def _carrier(self, generator: np.random.Generator) -> str:
        return self._passages[int(generator.integers(len(self._passages)))]


def _words(text: str) -> list[str]:
    text = canonical(text).text
    return [text[span.start : span.end] for span in words(text)]


def _arranged(query: list[str]) -> list[Arranged]:
    """In front: as asked, halves exchanged, backwards, every other word first, and that backwards; then half at either end."""
    half = (len(query) + 1) // 2
    orders = [query, query[half:] + query[:half], query[::-1], query[::2] + query[1::2], query[1::2][::-1] + query[::2][::-1]]
    return [*([*order, None] for order in orders), *([*order[:half], None, *order[half:]] for order in orders)]


def _moved(trigger: Arranged, sources: Sequence[list[str]], generator: np.random.Generator) -> Arranged:
    """One to three random changes: two words, or a word and the passage, exchanged; a word taken out; a phrase put in."""
    arrangement = list(trigger)
    for _ in range(int(generator.integers(1, 4))):
        kind, row = int(generator.integers(3)), int(generator.integers(len(arrangement)))
        if kind == 0 or not sources:
            other = int(generator.integers(len(arrangement)))
            arrangement[row], arrangement[other] = arrangement[other], arrangement[row]
        elif kind == 1:
            if len(arrangement) > 2 and arrangement[row] is not None:
                del arrangement[row]
        else:
            source = sources[int(generator.integers(len(sources)))]
            start, length = int(generator.integers(len(source))), int(generator.integers(1, LONGEST_PHRASE + 1))
            arrangement[row:row] = source[start : start + length]
    return arrangement
