"""What a corpus says of a text: how surprising its words are, each where it stands, to a model that has never seen the text."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ragguard.language.near_duplicates import NearDuplicates
from ragguard.language.ngrams import Floats, KneserNey, lowercase_words
from ragguard.language.reading import Reading
from ragguard.text import content_hash

SAMPLE = 100_000
"""Texts of a corpus that its language is learned from, at most: half a gigabyte (benchmarks/results/scale.json). For nq_dev
2,119 are enough and 1,000 too few: HotFlip's ASR@10 is .03 and .18 (benchmarks/results/language_sample.json)."""

SOON = 20
"""Tokens within which a bigram is no news."""

UNKNOWN = 8.0
"""Surprise of words that no other text has, in nats: a little above the usual, since honest names are such. With what the model
says of them (10 and more), HotFlip's ASR@10 on nq_dev would be .16 instead of .00: honest titles set the threshold."""


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
        self._known: set[str] = set()
        self._duplicates = NearDuplicates()
        self._lock = threading.Lock()
        self._model = KneserNey(self._fresh(texts))
        self._duplicates.add(self._model.texts)
        self.generation = 0
        self._digest = (-1, "")

    def learn(self, texts: Iterable[str]) -> None:
        """Learn more texts; those it knows are not learned again."""
        with self._lock:
            fresh = self._fresh(texts)
            if fresh:
                before = len(self)
                self._model.learn(map(lowercase_words, fresh))
                self._duplicates.add(self._model.texts[before:])
                self.generation += 1

    @property
    def digest(self) -> str:
        """Hash of what it learned; that of `ragguard.calibration.corpus_hash` where it learned a whole corpus."""
        generation = self.generation  # without the lock: for who looks at it, queries must not wait
        if self._digest[0] != generation:
            self._digest = generation, hashlib.sha256("".join(sorted(self._known.copy())).encode()).hexdigest()
        return self._digest[1]

    def __len__(self) -> int:
        return len(self._model.texts)

    def read(self, text: str) -> Reading:
        """Surprise and intrusion of each token, as judged by the rest of the corpus."""
        tokens = lowercase_words(text)
        with self._lock:
            ids = self._model.ids([None, *tokens])
            twins = self._duplicates.of(ids[1:], len(set(pairwise(tokens))))
            model = self._model.leaving_out([self._model.texts[i] for i in twins])
            previous, following = np.concatenate([ids[:-1], ids[1:-2]]), np.concatenate([ids[1:], ids[3:]])
            usual, without = np.split(np.log(model.probability(previous, following)), [len(tokens)])
            lower, known = np.log(model.lower(ids[1:])), model.seen(ids[1:]) > 0
        surprise = np.where(known, -usual, UNKNOWN)
        return Reading(tuple(tokens), surprise, _fresh(tokens), _intrusion(tokens, usual, without, lower))

    def _fresh(self, texts: Iterable[str]) -> list[str]:
        fresh = {name: text for text in texts if (name := content_hash(text)) not in self._known}
        self._known.update(fresh)
        return list(fresh.values())


def sample(texts: Sequence[str]) -> Sequence[str]:
    """At most `SAMPLE` of the texts, drawn at random with a fixed seed, in their order: all of a smaller corpus."""
    if len(texts) <= SAMPLE:
        return texts
    drawn = np.random.default_rng(0).choice(len(texts), SAMPLE, replace=False)
    return [texts[i] for i in np.sort(drawn).tolist()]


def _fresh(tokens: Sequence[str]) -> NDArray[np.bool_]:
    last: dict[tuple[str, str], int] = {}
    fresh = np.ones(len(tokens), dtype=bool)
    for i, pair in enumerate(pairwise(tokens), 1):
        fresh[i] = i - last.get(pair, -SOON - 1) > SOON
        last[pair] = i
    return fresh


def _intrusion(tokens: Sequence[str], usual: Floats, without: Floats, lower: Floats) -> Floats:
    """Gains (see `Reading`) from logarithms of probabilities.

    Args:
        tokens: Of the text.
        usual: Of each token after the one before.
        without: Of each from the third on, after the one before that.
        lower: Of each, whatever is before it.
    """
    gains = np.zeros(len(tokens))
    if len(tokens) > 2:
        bonds = usual[1:] - lower[1:]
        words = [token[0].isalnum() for token in tokens[1:-1]]
        gains[1:-1] = np.where(words, without - lower[2:] - bonds[:-1] - bonds[1:], 0.0)
    return gains
