"""What a corpus says of a text: how surprising its words are, each where it stands, to a model that has never seen the text."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ragguard.ngrams import KneserNey, LeavingOut, lowercase_words
from ragguard.text import content_hash

SHARED = 0.4
"""Share of rare bigrams that near-duplicates have in common. A passage with a word planted after every third keeps half."""

RARE = 8
"""Bigrams in more texts than this say nothing about near-duplicates."""

SOON = 20
"""Tokens within which a bigram is no news."""

UNKNOWN = 8.0
"""Surprise of words that no other text has, in nats: a little above the usual, since honest names are such. With what the model
says of them (10 and more), HotFlip's ASR@10 on nq_dev would be .16 instead of .00: honest titles set the threshold."""


@dataclass(frozen=True)
class Reading:
    """A text as the corpus sees it.

    Attributes:
        tokens: Its words and marks, in lower case.
        surprise: -log P(token | previous token) of each, in nats; `UNKNOWN` for those that no other text has.
        fresh: Whether the token follows the previous one for the first time in 20 tokens: a title that its text takes up again
            says nothing new. No longer, or an attacker would scatter his bigrams before he uses them.
        intrusion: For each token, by how much the text around it gains when the token is taken out, in nats: the logarithm of
            P(next | previous) / P(next), less those of P(token | previous) / P(token) and P(next | token) / P(next). Words that
            were put between others break up pairs that belong together.
    """

    tokens: tuple[str, ...]
    surprise: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    intrusion: NDArray[np.float64]


class CorpusModel:
    """A Kneser-Ney bigram model of a corpus that leaves out, for each text it reads, the text itself and its near-duplicates.

    Otherwise a flood would teach the model its own gibberish, and what was copied from the corpus would look more natural than
    what is new. Safe to use from many threads.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Learn a corpus.

        Raises:
            InvalidInputError: If no text has a word.
        """
        self._texts: list[str] = []
        self._known: set[str] = set()
        self._places: dict[tuple[str, str], list[int]] = {}
        self._sizes: list[int] = []
        self._lock = threading.Lock()
        fresh = self._index(texts)
        self._model = KneserNey(fresh)
        self.generation = 0

    def learn(self, texts: Iterable[str]) -> None:
        """Learn more texts; those it knows are not learned again."""
        with self._lock:
            fresh = self._index(texts)
            if fresh:
                self._model.learn(lowercase_words(text) for text in fresh)
                self.generation += 1

    def __len__(self) -> int:
        return len(self._texts)

    def read(self, text: str) -> Reading:
        """Surprise and intrusion of each token, as judged by the rest of the corpus."""
        tokens = lowercase_words(text)
        with self._lock:
            model = self._model.leaving_out([lowercase_words(self._texts[i]) for i in self._near_duplicates(tokens)])
            surprise = [
                -math.log(model.probability(before, token)) if model.knows(token) else UNKNOWN
                for before, token in zip([None, *tokens], tokens, strict=False)
            ]
            return Reading(tuple(tokens), np.array(surprise), _fresh(tokens), np.array(_intrusion(model, tokens)))

    def _index(self, texts: Iterable[str]) -> list[str]:
        fresh = []
        for text in texts:
            if (name := content_hash(text)) not in self._known:
                self._known.add(name)
                fresh.append(text)
                pairs = _pairs(lowercase_words(text))
                for pair in pairs:
                    places = self._places.setdefault(pair, [])
                    if len(places) <= RARE:  # one more than is rare says that it is not
                        places.append(len(self._texts))
                self._texts.append(text)
                self._sizes.append(len(pairs))
        return fresh

    def _near_duplicates(self, tokens: Sequence[str]) -> list[int]:
        mine = _pairs(tokens)
        shared = Counter(i for pair in mine if len(places := self._places.get(pair, ())) <= RARE for i in places)
        return [i for i, count in shared.items() if count >= SHARED * min(len(mine), self._sizes[i])]


def _fresh(tokens: Sequence[str]) -> NDArray[np.bool_]:
    last: dict[tuple[str, str], int] = {}
    fresh = np.ones(len(tokens), dtype=bool)
    for i, pair in enumerate(pairwise(tokens), 1):
        fresh[i] = i - last.get(pair, -SOON - 1) > SOON
        last[pair] = i
    return fresh


def _pairs(tokens: Sequence[str]) -> set[tuple[str, str]]:
    return set(pairwise(tokens))


def _intrusion(model: LeavingOut, tokens: Sequence[str]) -> list[float]:
    lower = [math.log(model.lower(token)) for token in tokens]

    def bond(left: int, right: int) -> float:
        return math.log(model.probability(tokens[left], tokens[right])) - lower[right]

    bonds = [bond(i, i + 1) for i in range(len(tokens) - 1)]
    gains = [0.0] * len(tokens)
    for i in range(1, len(tokens) - 1):
        if tokens[i][0].isalnum():
            gains[i] = bond(i - 1, i + 1) - bonds[i - 1] - bonds[i]
    return gains
