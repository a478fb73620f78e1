"""Text decoded word by word to resemble the query and to read well (Zhang et al., "Adversarial Decoding", arXiv 2410.02163)."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ragguard.attacks.base import Target, ThreatModel
from ragguard.attacks.kept import Cache, kept
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.checks import positive
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.language.ngrams import KneserNey, lowercase_words
from ragguard.protocols import Encoder
from ragguard.types import Document

LIKELY = 6
"""Next words that come from the language model alone; the others are on the query's subject."""


class LanguageModel(Protocol):
    """A language model, as far as decoding needs it."""

    @property
    def name(self) -> str:
        """What tells models apart; part of the key of kept triggers."""

    def next_words(self, words: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
        """The likeliest next words and those that are wanted, with the natural logarithms of their probabilities."""


class Bigrams:
    """The corpus's own bigram model, where no language model is at hand."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Count a corpus."""
        self.name = f"bigrams of {hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]}"
        self._model = KneserNey(texts)

    def next_words(self, words: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
        """As `LanguageModel`; punctuation marks are left out."""
        last = words[-1] if words else None
        likely = [word for word in self._model.successors(last, 3 * LIKELY) if word.isalnum()][:LIKELY]
        return {word: self._model.log_probability(last, word) for word in (*likely, *wanted)}


class CausalLanguageModel:
    """Any causal language model of transformers."""

    def __init__(self, model: str) -> None:
        """Load a model by name or path."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = model
        self._tokenizer = AutoTokenizer.from_pretrained(model)
        self._model = AutoModelForCausalLM.from_pretrained(model).train(mode=False)

    def next_words(self, words: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
        """As `LanguageModel`; a wanted word has the probability of its first token."""
        import torch

        tokenizer = self._tokenizer
        start = next((i for i in (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id) if i is not None), 0)
        ids = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logs = torch.log_softmax(self._model(torch.tensor([[start, *ids]])).logits[0, -1].float(), dim=-1)
        before = str(tokenizer.decode(ids))
        log_probabilities: dict[str, float] = {}
        for i in logs.topk(8 * LIKELY).indices.tolist():
            word = str(tokenizer.decode([*ids, i]))[len(before) :]
            if (word[:1].isspace() or not words) and word.strip().isalnum() and len(log_probabilities) < LIKELY:
                log_probabilities[word.strip()] = float(logs[i])
        for word in wanted:
            first = tokenizer(f"{' ' if words else ''}{word}", add_special_tokens=False)["input_ids"][0]
            log_probabilities[word] = float(logs[first])
        return log_probabilities


class AdversarialDecoding(PlantedAttack):
    """Beam search over what a language model finds likely, kept where it brings the text nearer to the query.

    Next words are the model's likeliest ones, the query's, and the rarest of the passage that shares most with it. The value of a
    text is its similarity to the query plus `fluency` times the mean log-probability of its words.
    """

    base = "adversarial-decoding"
    family = "A"
    threat = ThreatModel(knows=("query", "corpus", "encoder"))

    def __init__(
        self,
        encoder: Encoder,
        passages: Sequence[Document],
        *,
        language_model: LanguageModel | str | None = None,
        words: int = 12,
        beams: int = 5,
        fluency: float = 0.02,
        places: Sequence[Place] = ("front",),
        cache: Cache | None = None,
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            encoder: The encoder under attack, of which only similarities are used.
            passages: Carriers; also the corpus of the bigram model.
            language_model: One, or the name or path of a causal one; None takes a bigram model of the passages.
            words: Length of the trigger; the attack's `effort`.
            beams: Partial texts kept after each word.
            fluency: Weight of the mean log-probability, in similarity.
            places: Where the trigger is planted.
            cache: Keeps triggers between runs.
            seed: Of the draw of carriers.

        Raises:
            InvalidInputError: If there are no passages or no places, or a number is below 1.
        """
        super().__init__(passages, places=places, seed=seed)
        self.series, self.effort = self.name, positive(words, "words")
        self._encoder, self._words, self._beams = encoder, words, positive(beams, "beams")
        if isinstance(language_model, str):
            language_model = CausalLanguageModel(language_model)
        self._model = language_model or Bigrams([passage.text for passage in passages])
        self._fluency, self._cache = fluency, cache
        self._passages_words = [frozenset(lowercase_words(passage.text)) for passage in passages]
        counts = Counter(word for words_ in self._passages_words for word in words_)
        self._rarity = {word: math.log(len(passages) / count) for word, count in counts.items()}
        self.name = f"{self.name}-{words}"

    def trigger(self, target: Target, generator: np.random.Generator) -> str:  # noqa: ARG002
        """The best text there was at any length."""
        settings = [self.name, self._encoder.name, self._model.name, self._beams, self._fluency, target.query]
        return kept(self._cache, settings, lambda: self._decode(target))

    def _decode(self, target: Target) -> str:
        goal = encode_one_query(self._encoder, target.query)
        subject = self._subject(target.query)
        beams: list[tuple[tuple[str, ...], float]] = [((), 0.0)]
        best, best_value = "", -math.inf
        for length in range(1, self._words + 1):
            longer = {
                (*words, word): likelihood + log
                for words, likelihood in beams
                for word, log in self._model.next_words(words, subject).items()
                if word not in words[-3:]
            }
            texts = list(longer)
            similarities = encode_documents(self._encoder, [" ".join(words) for words in texts]) @ goal
            values = similarities + self._fluency * np.array(list(longer.values())) / length
            kept = np.argsort(-values, kind="stable")[: self._beams]
            beams = [(texts[int(row)], longer[texts[int(row)]]) for row in kept]
            if values[kept[0]] > best_value:
                best, best_value = " ".join(beams[0][0]), float(values[kept[0]])
        return best

    def _subject(self, query: str) -> list[str]:
        """The query's words, and the rarest ones of the passage that shares most with it."""
        query_words = [word for word in dict.fromkeys(lowercase_words(query)) if word.isalnum()]
        weights = [sum(self._rarity[word] for word in query_words if word in words) for words in self._passages_words]
        near = self._passages_words[int(np.argmax(weights))]
        rare = sorted((word for word in near if word.isalpha()), key=lambda word: (-self._rarity[word], word))
        return list(dict.fromkeys([*query_words, *rare[:LIKELY]]))
