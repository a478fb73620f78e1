"""White-box search for words: the gradient proposes which word to put where, and the encoder itself decides.

A text under attack is a template with gaps, and the attacker's words fill the gaps. What a word in a gap would add to the text's
similarity to a query is estimated to first order from one backward pass (HotFlip, Ebrahimi et al., arXiv 1712.06751). Candidates
are written out as real texts and encoded as documents are, so that no attack lives on tokens that no text has.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard._moved import moved_names
from ragguard.attacks.planted import Place, plant
from ragguard.encoders.vectors import encode_documents
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.text import words
from ragguard.types import Span, Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Words: TypeAlias = tuple[str, ...]

BATCH = 8
"""Flips encoded together."""

GRADIENT_CALLS = 3
"""What one gradient costs of the budget, in texts encoded: a forward pass, and a backward pass of twice the work."""

EXCERPT = 48
"""Words of the carrier that a trigger is optimised in."""

WORDS, CALLS = 16, 400
"""Default length of a trigger, and texts encoded for it: at the front, HotFlip and GASLITE then reach ASR@10 1.00 (ten nq_dev
queries, three documents each, undefended). "spread" over whole passages takes 32 words and GASLITE for that."""


class WhiteBoxEncoder(Encoder, Protocol):
    """An encoder whose weights the attacker has, such as `SentenceTransformerEncoder`."""

    @property
    def model(self) -> SentenceTransformer:
        """The model, its first module a transformer."""


@dataclass(frozen=True)
class Template:
    """A text with gaps.

    Attributes:
        pieces: The text between the gaps; one more than there are gaps.
        order: For each gap the position of the word that fills it; a position that comes twice repeats its word.
    """

    pieces: tuple[str, ...]
    order: tuple[int, ...]

    @classmethod
    def planted(cls, text: str, count: int, places: Sequence[Place] = ("front",)) -> Template:
        """A carrier with gaps where `plant` puts the words of a trigger; an empty carrier gives gaps alone."""
        gaps = " ".join(f"\0{i}\0" for i in range(count))
        parts = re.split("\0([0-9]+)\0", plant(text, gaps, places) if words(text) else gaps)
        return cls(tuple(parts[::2]), tuple(map(int, parts[1::2])))

    def fill(self, trigger: Words) -> str:
        """The text with a trigger in it."""
        return self._filled(trigger)[0]

    def spans(self, trigger: Words) -> list[Span]:
        """Where the words then lie, gap by gap."""
        return self._filled(trigger)[1]

    def _filled(self, trigger: Words) -> tuple[str, list[Span]]:
        text, spans = self.pieces[0], []
        for position, piece in zip(self.order, self.pieces[1:], strict=True):
            spans.append(Span(len(text), len(text) + len(trigger[position])))
            text += trigger[position] + piece
        return text, spans


class WhiteBox:
    """The vocabulary of an encoder, and what its words would add to a text. Shares no tokenizer with the encoder's threads."""

    def __init__(self, encoder: WhiteBoxEncoder) -> None:
        """Take an encoder; nothing is computed yet.

        Raises:
            InvalidInputError: If the encoder does not show its weights.
        """
        if not hasattr(encoder, "model"):
            raise InvalidInputError(f"{encoder!r:.100} shows no weights to differentiate; pass a SentenceTransformerEncoder")
        self.encoder = encoder

    @cached_property
    def vocabulary(self) -> tuple[NDArray[np.int64], Words]:
        """Ids and texts of the tokens that are whole ASCII words and are read back as themselves after another word."""
        texts = [token.lstrip("▁Ġ") for token in self._tokenizer.convert_ids_to_tokens(range(len(self._tokenizer)))]
        known = [i for i, text in enumerate(texts) if text.isascii() and text.isalnum()]
        read = self._tokenizer([f"a {texts[i]}" for i in known], add_special_tokens=False)["input_ids"]
        ids = {texts[i]: i for i, tokens in zip(known, read, strict=True) if len(tokens) == 2 and tokens[1] == i}
        return np.fromiter(ids.values(), dtype=np.int64), tuple(ids)

    def gains(self, texts: Sequence[str], gaps: Sequence[Sequence[Span]], goal: Vectors) -> NDArray[np.float32]:
        """First-order estimate of what each word adds to a text's inner product with the goal, in each gap.

        Args:
            texts: Texts to average over.
            gaps: For each of them the ranges of its words, the same number in all.
            goal: What texts should resemble, shape (d,).

        Returns:
            Shape (gaps, vocabulary). Gaps beyond the length that the model reads gain nothing.
        """
        import torch

        model: Any = self.encoder.model
        prompt = next((model.prompts[name] for name in ("document", "passage", "corpus") if model.prompts.get(name)), "")
        features = dict(
            self._tokenizer(
                [prompt + text for text in texts],
                padding=True,
                truncation=True,
                max_length=model.max_seq_length,
                return_offsets_mapping=True,
                return_tensors="pt",
            )
        )
        offsets = features.pop("offset_mapping").numpy() - len(prompt)
        features = {name: value.to(model.device) for name, value in features.items()}
        table = model[0].auto_model.get_input_embeddings()
        with torch.enable_grad():
            embedded = table(features.pop("input_ids")).detach().requires_grad_(True)
            vectors = model({**features, "inputs_embeds": embedded})["sentence_embedding"]
            target = torch.tensor(goal, dtype=vectors.dtype, device=vectors.device)
            value = (torch.nn.functional.normalize(vectors, dim=-1) @ target).sum()
            (gradient,) = torch.autograd.grad(value, embedded)
        known = table.weight.detach()[torch.as_tensor(self.vocabulary[0], device=model.device)]
        slopes = torch.zeros((len(gaps[0]), gradient.shape[-1]), dtype=gradient.dtype, device=gradient.device)
        now = torch.zeros((len(gaps[0]), 1), dtype=gradient.dtype, device=gradient.device)
        for row, spans in enumerate(gaps):
            for gap, span in enumerate(spans):
                inside = (offsets[row, :, 0] >= span.start) & (offsets[row, :, 1] <= span.end)
                inside &= offsets[row, :, 1] > offsets[row, :, 0]
                for column in np.flatnonzero(inside):
                    slope = gradient[row, column] / int(inside.sum()) / len(texts)
                    slopes[gap] += slope
                    now[gap] += slope @ embedded[row, column].detach()
        return np.asarray((slopes @ known.T - now).float().cpu().numpy(), dtype=np.float32)

    @cached_property
    def _tokenizer(self) -> Any:
        return copy.deepcopy(self.encoder.model.tokenizer)  # fast tokenizers refuse to be shared while they run


class Search:
    """One trigger in the making: counts what is spent and remembers the best.

    Attributes:
        best: The best words so far.
        similarity: Their inner product with the goal; it never falls.
        left: Texts that may still be encoded.
    """

    def __init__(self, box: WhiteBox, template: Template, goal: Vectors, start: Words, calls: int) -> None:
        """Measure the words to start from, which spends one call.

        Args:
            box: The encoder.
            template: What the words go into.
            goal: What the text should resemble, shape (d,): a query's vector, or a mean or difference of several.
            start: The first words, as many as the template has places for.
            calls: The budget, at least 1.
        """
        self._box, self._template, self._goal = box, template, goal
        self.best, self.similarity, self.left = start, -np.inf, calls
        self.offer([start])

    @property
    def vocabulary(self) -> Words:
        """The words there are."""
        return self._box.vocabulary[1]

    def offer(self, candidates: Sequence[Words]) -> bool:
        """Encode as many candidates as the budget allows; returns whether one is better than the best so far."""
        candidates = candidates[: self.left]
        self.left -= len(candidates)
        if not candidates:
            return False
        texts = [self._template.fill(candidate) for candidate in candidates]
        similarities = encode_documents(self._box.encoder, texts) @ self._goal
        first = int(np.argmax(similarities))
        if similarities[first] <= self.similarity:
            return False
        self.best, self.similarity = candidates[first], float(similarities[first])
        return True

    def gains(self, around: Sequence[Words]) -> NDArray[np.float32] | None:
        """Estimated gain of each word at each position, averaged over triggers; None if the budget does not allow it.

        Returns:
            Shape (positions, vocabulary).
        """
        cost = GRADIENT_CALLS * len(around)
        if cost >= self.left:  # without a candidate to try after it, a gradient is wasted
            self.left = 0
            return None
        self.left -= cost
        texts, gaps = [self._template.fill(t) for t in around], [self._template.spans(t) for t in around]
        by_gap = self._box.gains(texts, gaps, self._goal)
        gains = np.zeros((len(self.best), by_gap.shape[1]), dtype=np.float32)
        np.add.at(gains, np.asarray(self._template.order), by_gap)
        return gains


Strategy: TypeAlias = Callable[[Search, np.random.Generator], None]
"""Improves a search's best words until its budget is spent."""


def flip(search: Search, generator: np.random.Generator) -> None:  # noqa: ARG001
    """HotFlip: encode the flips with the largest estimated gains, keep the first that help, take the gradient again.

    Eight positions at a time, one word each: the largest gains of all are one word's neighbours at one position.
    """
    while (gains := search.gains([search.best])) is not None:
        ranked = np.argsort(-gains, axis=1)
        positions = np.argsort(-gains.max(axis=1))
        deepest = min(-(-search.left // len(positions)), ranked.shape[1])
        flips = [
            replaced(search.best, int(i), search.vocabulary[ranked[i, depth]]) for depth in range(deepest) for i in positions
        ]
        for start in range(0, len(flips), BATCH):
            if search.offer(flips[start : start + BATCH]):
                break
        else:
            return  # no single flip helps


def shortened(text: str, count: int = EXCERPT) -> str:
    """The first words of a carrier, so that candidates are short."""
    return text[: words(text)[:count][-1].end]


def replaced(trigger: Words, position: int, word: str) -> Words:
    """The trigger with another word at a position."""
    return (*trigger[:position], word, *trigger[position + 1 :])


__getattr__ = moved_names(__name__)
