"""An attacker who runs the guard himself and climbs its own ranking: one joint objective, whatever the guard computes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ragguard.attacks.base import Attack, Target, ThreatModel
from ragguard.attacks.kept import Cache, kept
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError, RAGGuardError
from ragguard.protocols import Defense, Encoder, Retriever
from ragguard.text import canonical, words
from ragguard.types import Document, Hit, Vectors

VERSION = 2
"""Of the search; part of the key of what is kept."""

LONGEST_PHRASE = 8
"""Words that are planted in one move, at most."""

LITTER = 6
"""Candidate documents tried at a time: a batch, and few enough that good moves are built upon soon."""

Placed = tuple[tuple[float, str], ...]
"""The trigger: words, and where each stands as a share of the carrier's words before it."""


class JointAttack(Attack):
    """Hill climbing over what is planted where, scored by the guard's own verdict among the honest candidates.

    The score of a document is the margin by which the guard ranks it above the k-th best honest candidate; if it is dropped, its
    suspicion, which the attacker lowers first; if it is not retrieved, its similarity. Moves plant, delete, shift and exchange
    words and phrases of the query and of the honest candidates, which are fluent, near to the query and no copies of it. Works
    against any defense, and best where `Verdict.suspicion` is told.
    """

    family = "A"
    threat = ThreatModel(knows=("query", "corpus", "encoder", "defense"))

    def __init__(
        self,
        passages: Sequence[Document],
        retriever: Retriever,
        encoder: Encoder,
        guard: Callable[[Encoder], Defense],
        *,
        calls: int = 1000,
        share: float = 0.25,
        k: int = 10,
        depth: int = 20,
        cache: Cache | None = None,
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            passages: Carriers, drawn at random without repetition for a target.
            retriever: Finds the honest candidates, which the attacker knows; its scores must be the encoder's cosines.
            encoder: The encoder of retriever and guard.
            guard: Builds the attacker's own copy of the guard.
            calls: Texts the attacker may encode for each target, their evidence included, that of honest candidates left out.
            share: Largest share of a document's words that are trigger.
            k: Results per query.
            depth: Candidates the guard is given.
            cache: Keeps what was found; None forgets.
            seed: Of everything random.

        Raises:
            InvalidInputError: If there are no passages, or a number is out of range.
        """
        super().__init__(seed=seed)
        if not passages or calls < 1 or not 0 < share < 1 or not 0 < k <= depth:
            raise InvalidInputError("a joint attack needs passages, calls, a share between 0 and 1, and k of at most the depth")
        self._passages, self._retriever, self._k, self._depth, self._share = passages, retriever, k, depth, share
        self._encoder, self._build, self._cache, self._calls = encoder, guard, cache, calls
        own = guard(encoder)
        self._guard = f"{getattr(own, 'settings', own.name)!r} {getattr(own, 'threshold', '')}"
        self.series, self.effort = f"joint against {own.name}", calls
        self.name = f"joint:{own.name}:{calls}"

    def craft(self, target: Target, generator: np.random.Generator) -> Iterator[str]:
        """One random passage after another, with what was found for the first planted at the same places."""
        order = generator.permutation(len(self._passages))
        carriers = (_words(self._passages[int(row)].text) for row in order)
        first = next(carriers)
        honest = list(self._retriever.retrieve(target.query, self._depth))
        ranking = [(hit.document.id, hit.score) for hit in honest]
        settings = [VERSION, self.name, self._guard, self._encoder.name, self._k, self._share, self._seed, target.query, first]
        placement = kept(self._cache, [*settings, ranking], lambda: json.dumps(self._search(target, first, honest, generator)))
        placed = tuple((at, word) for at, word in json.loads(placement))
        yield _written(first, placed)
        for carrier in carriers:
            yield _written(carrier, placed)

    def _search(self, target: Target, carrier: list[str], honest: Sequence[Hit], generator: np.random.Generator) -> Placed:
        query = _words(target.query)
        sources = [query, *(_words(hit.document.text) for hit in honest)]
        most = max(len(query), int(self._share / (1 - self._share) * len(carrier)))
        litter = [placed for placed in _starts(query) if len(placed) <= most]
        best, best_value = litter[0], -np.inf
        encoder = _Counting(self._encoder)
        judge = _Judge(encoder, self._build(encoder), honest, target.query, self._k, self._depth)
        encoder.left = self._calls
        try:
            while True:
                for start in range(0, len(litter), LITTER):
                    tried = litter[start : start + LITTER]
                    values = judge.values([_written(carrier, placed) for placed in tried])
                    top = int(np.argmax(values))
                    if values[top] > best_value:
                        best, best_value = tried[top], values[top]
                litter = [_moved(best, sources, most, generator) for _ in range(LITTER)]
        except _SpentError:
            return best


class _SpentError(RAGGuardError):
    """The budget of encoder calls does not allow more."""


class _Counting:
    """An encoder that encodes so many texts and no more; what it has encoded it knows."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self.left = encoder, math.inf
        self.name, self.dimension = encoder.name, encoder.dimension
        self._known: dict[tuple[str, str], Vectors] = {}

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        return self._encoded("query", texts, self._encoder.encode_query)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        return self._encoded("document", texts, self._encoder.encode_document)

    def _encoded(self, kind: str, texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors]) -> Vectors:
        fresh = list(dict.fromkeys(text for text in texts if (kind, text) not in self._known))
        self.left -= len(fresh)
        if self.left < 0:
            raise _SpentError
        if fresh:
            self._known.update(zip(((kind, text) for text in fresh), encode(fresh), strict=True))
        return np.stack([self._known[kind, text] for text in texts])


@dataclass
class _Judge:
    """What the guard makes of a document that is planted among the honest candidates of one query."""

    encoder: Encoder
    guard: Defense
    honest: Sequence[Hit]
    query: str
    k: int
    depth: int

    def __post_init__(self) -> None:
        self._vector = encode_one_query(self.encoder, self.query)
        self.guard(self.query, self.honest, self.k)  # from here on the evidence of honest candidates is there

    def values(self, texts: Sequence[str]) -> list[float]:
        similarities = self.encoder.encode_document(texts) @ self._vector
        planted = [Hit(Document("planted", text), float(s)) for text, s in zip(texts, similarities, strict=True)]
        least = self.honest[-1].score if len(self.honest) == self.depth else -1.0
        retrieved = [hit for hit in planted if hit.score > least]
        if prepare := getattr(self.guard, "prepare", None):
            prepare([hit.document for hit in retrieved])  # in one batch
        return [self._value(hit) if hit.score > least else hit.score - 10 for hit in planted]

    def _value(self, planted: Hit) -> float:
        hits = sorted([*self.honest, planted], key=lambda hit: -hit.score)[: self.depth]
        result = self.guard(self.query, hits, self.k)
        passed = [*result.kept, *result.reserve]
        others = [hit.score for hit in passed if hit.document.id != "planted"]
        for hit in passed:
            if hit.document.id == "planted":
                bar = others[self.k - 1] if len(others) >= self.k else min(others, default=0.0)
                return hit.score - bar + 0.01 * planted.score  # similarity decides where the guard's scores tie
        suspicion = next((v.suspicion for v in result.verdicts_on("planted") if v.suspicion is not None), 0.0)
        return -5 - suspicion


def _words(text: str) -> list[str]:
    text = canonical(text).text
    return [text[span.start : span.end] for span in words(text)]


def _starts(query: list[str]) -> list[Placed]:
    """The query in front, spread once to four times, and in front of each of two to five parts."""
    starts: list[Placed] = [tuple((0.0, word) for word in query)]
    for times in range(1, 5):
        dealt = query * times
        starts.append(tuple((i / len(dealt), word) for i, word in enumerate(dealt)))
        starts.append(tuple((i / (times + 1), word) for i in range(times + 1) for word in query))
    return starts


def _moved(placed: Placed, sources: Sequence[list[str]], most: int, generator: np.random.Generator) -> Placed:
    """One to three random changes: a phrase of the query or of another source planted, or words deleted, shifted, exchanged."""
    pairs = list(placed)
    for _ in range(int(generator.integers(1, 4))):
        kind = int(generator.integers(4))
        source = sources[int(generator.integers(len(sources)))] if generator.random() < 0.5 else sources[0]
        start = int(generator.integers(len(source)))
        if kind == 0:
            at = float(generator.random())
            pairs += [(at, word) for word in source[start : start + int(generator.integers(1, LONGEST_PHRASE + 1))]]
        elif kind == 1 and len(pairs) > 1:
            del pairs[int(generator.integers(len(pairs)))]
        elif kind == 2:
            row = int(generator.integers(len(pairs)))
            pairs[row] = (float(generator.random()), pairs[row][1])
        else:
            row = int(generator.integers(len(pairs)))
            pairs[row] = (pairs[row][0], source[start])
    while len(pairs) > most:
        del pairs[int(generator.integers(len(pairs)))]
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def _written(carrier: list[str], placed: Placed) -> str:
    sequence = list(carrier)
    for at, word in reversed(placed):
        sequence.insert(int(at * len(carrier)), word)
    return " ".join(sequence)
