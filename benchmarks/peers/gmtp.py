"""GMTP (Kim et al., arXiv 2507.18202): the tokens that make a document similar to the query must be probable in their place."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import HeldOut
from ragguard.defenses.base import BaseDefense, Judgement
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.encoders.tokenizing import speed_up
from ragguard.errors import InvalidInputError
from ragguard.types import Hit, Span, Vectors

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEYS, LOWEST, SHARE, PAIRS = 10, 5, 0.1, 1000
"""N, M, lambda and K in the authors' run scripts; the paper's text was not at hand."""

QUANTILE = 0.01
"""Share of benign pairs below the threshold of the bigram variant. A share of their mean separates nothing there: on nq_dev it
dropped half of the honest documents, since a few well-known bigrams make up the mean."""

LEAST = -1000.0
"""Score of a text in which the encoder reads nothing: below any other."""

BATCH = 16
"""Documents, or masked copies of one, in a forward pass."""

REMEMBERED = 100_000
"""Texts whose masked-token probabilities are kept."""


@dataclass(frozen=True)
class Reading:
    """A document as the encoder reads it with a query in mind.

    Attributes:
        text: The document.
        pieces: Its word pieces, as far as the encoder reads at once.
        spans: Where each piece is in the text.
        pull: Norm of the gradient of the similarity with respect to each piece's embedding, shape (len(pieces),).
    """

    text: str
    pieces: tuple[str, ...]
    spans: tuple[Span, ...]
    pull: NDArray[np.float64]

    def keys(self, n: int) -> list[int]:
        """Positions of the n pieces with the strongest pull, of those not below the mean."""
        strongest = np.argsort(-self.pull, kind="stable")[:n].tolist()
        return [i for i in strongest if self.pull[i] >= self.pull.mean()]


class LanguageModel(Protocol):
    """Says how probable pieces of a text are where they stand, on a scale of its own."""

    name: str

    def values(self, reading: Reading, keys: Sequence[int]) -> list[float]:
        """A number for each of these pieces of a text; there may be more or fewer where the model cuts text otherwise."""

    def threshold(self, scores: Sequence[float]) -> float:
        """What a document must exceed, from the scores of benign pairs."""


class GMTP(BaseDefense):
    """Drops a document whose key tokens are improbable: those with the largest gradient of its similarity to the query.

    The score is the mean of the lowest probabilities of the key tokens; the threshold comes from its values for benign pairs of a
    query and a relevant document. What lies beyond the length that the encoder reads at once is not examined, as in the authors'
    program.
    """

    def __init__(
        self,
        encoder: SentenceTransformerEncoder,
        language_model: LanguageModel,
        benign: Sequence[tuple[str, str]],
        *,
        keys: int = KEYS,
        lowest: int = LOWEST,
    ) -> None:
        """Set the threshold.

        Args:
            encoder: The retriever's encoder, whose gradients name the key tokens.
            language_model: `MaskedLanguageModel`, which is the paper's, or `Bigrams`, which needs no other model.
            benign: Queries and texts of documents that answer them; the first 1,000 are used.
            keys: How many key tokens at most (N).
            lowest: Over how many of the lowest probabilities the mean is taken (M).

        Raises:
            InvalidInputError: If there are no benign pairs.
        """
        if not benign:
            raise InvalidInputError("GMTP sets its threshold on benign pairs of a query and a document; give it some")
        self.name = f"GMTP{language_model.name}"
        self._encoder, self._model = encoder, language_model
        self._keys, self._lowest = keys, lowest
        scores = [self.score(reading) for query, text in benign[:PAIRS] for reading in read(encoder, query, [text])]
        self.threshold = language_model.threshold(scores)

    def score(self, reading: Reading) -> float:
        """Mean of the lowest values among the key tokens."""
        found = self._model.values(reading, reading.keys(self._keys))
        return float(np.mean(sorted(found)[: self._lowest])) if found else LEAST

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Judge every candidate."""
        judged = []
        for i, reading in enumerate(read(self._encoder, query, [hit.document.text for hit in hits])):
            score = self.score(reading)
            drop = score <= self.threshold
            reason = f"Key tokens score {score:.3g}, {'not ' * drop}above {self.threshold:.3g}."
            spans = tuple(reading.spans[key] for key in sorted(reading.keys(self._keys)))
            judged.append(Judgement(i, hits[i].score, reason, drop, {"score": score}, spans, -score))
        return judged


class Bigrams:
    """In place of the masked language model: log P(piece | piece before) under bigram models of the corpus.

    It knows one neighbour where the masked language model knows the whole text, so it finds odd pieces, not odd places.
    """

    name = " (bigram variant)"

    def __init__(self, encoder: SentenceTransformerEncoder, texts: Sequence[str], *, quantile: float = QUANTILE) -> None:
        """Learn a corpus, in the encoder's word pieces.

        Args:
            encoder: Whose tokenizer is used.
            texts: The corpus.
            quantile: Share of benign pairs below the threshold.

        Raises:
            InvalidInputError: If the corpus is too small.
        """
        self._quantile = quantile
        own = copy.deepcopy(encoder.model.tokenizer)  # fast tokenizers refuse to be shared while they run
        self._models = HeldOut(texts, own.tokenize)

    def values(self, reading: Reading, keys: Sequence[int]) -> list[float]:
        """A log-probability for each key."""
        model = self._models.model(reading.text)
        before = [None, *reading.pieces]
        return [model.log_probability(before[key], reading.pieces[key]) for key in keys]

    def threshold(self, scores: Sequence[float]) -> float:
        """A quantile."""
        return float(np.quantile(scores, self._quantile))


class MaskedLanguageModel:
    """Any masked language model of `transformers`: the probability of the token that a mask hides, one mask at a time."""

    name = ""

    def __init__(
        self, model: str | Path | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, *, share: float = SHARE
    ) -> None:
        """Load a model.

        Args:
            model: Name on the Hugging Face hub, path of a folder, or a loaded model. The authors' is bert-base-uncased.
            tokenizer: Of a loaded model.
            share: The threshold, as a share of the mean score of benign pairs (lambda).

        Raises:
            InvalidInputError: If a loaded model comes without its tokenizer.
        """
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        if isinstance(model, str | Path):
            tokenizer = AutoTokenizer.from_pretrained(model)
        if tokenizer is None:
            raise InvalidInputError("a loaded masked language model needs its tokenizer, too")
        self._tokenizer: Any = tokenizer
        self._model: Any = AutoModelForMaskedLM.from_pretrained(model) if isinstance(model, str | Path) else model
        self._model.eval()
        self._share = share
        self._known: OrderedDict[str, dict[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def threshold(self, scores: Sequence[float]) -> float:
        """A share of the mean."""
        return self._share * float(np.mean(scores))

    def values(self, reading: Reading, keys: Sequence[int]) -> list[float]:
        """A probability for each of the model's own tokens that overlaps with a key."""
        with self._lock:
            tokens = self._tokenizer(reading.text, truncation=True, return_tensors="pt", return_offsets_mapping=True)
            offsets = tokens.pop("offset_mapping")[0].tolist()
            wanted = [reading.spans[key] for key in keys]
            places = [i for i, (a, b) in enumerate(offsets) if any(a < span.end and span.start < b for span in wanted)]
            known = self._known.setdefault(reading.text, {})
            self._known.move_to_end(reading.text)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            known.update(self._unmasked(tokens, [place for place in places if place not in known]))
            return [known[place] for place in places]

    def _unmasked(self, tokens: Any, places: Sequence[int]) -> dict[int, float]:
        import torch

        found: dict[int, float] = {}
        for start in range(0, len(places), BATCH):
            at = torch.tensor(places[start : start + BATCH])
            rows = torch.arange(len(at))
            copies = {name: value.repeat(len(at), 1).to(self._model.device) for name, value in tokens.items()}
            hidden = copies["input_ids"][rows, at].clone()
            copies["input_ids"][rows, at] = self._tokenizer.mask_token_id
            with torch.inference_mode():
                chances = self._model(**copies).logits[rows, at].softmax(-1)[rows, hidden]
            found.update(zip(at.tolist(), chances.tolist(), strict=True))
        return found


def read(encoder: SentenceTransformerEncoder, query: str, texts: Sequence[str]) -> list[Reading]:
    """Read documents with a query in mind: one forward and one backward pass of the encoder for each 16."""
    vector = encoder.encode_query([query])[0]
    return [one for start in range(0, len(texts), BATCH) for one in _read(encoder, vector, list(texts[start : start + BATCH]))]


def _read(encoder: SentenceTransformerEncoder, vector: Vectors, texts: list[str]) -> list[Reading]:
    import torch

    model: Any = encoder.model
    prompt = model.prompts.get("document") or ""
    with speed_up(encoder.model), torch.enable_grad():
        tokens = model.tokenizer(
            [prompt + text for text in texts],
            padding=True,
            truncation=True,
            max_length=model.max_seq_length,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        offsets = tokens.pop("offset_mapping").tolist()
        embedded: list[torch.Tensor] = []

        def catch(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            embedded.append(output.detach().requires_grad_())
            return embedded[0]

        hook = model.transformers_model.get_input_embeddings().register_forward_hook(catch)
        try:
            out = model(dict(tokens.to(model.device)))["sentence_embedding"]
        finally:
            hook.remove()
        query = torch.from_numpy(vector.copy()).to(out)
        similarity = torch.nn.functional.cosine_similarity(out, query[None]).sum()
        pull = torch.autograd.grad(similarity, embedded)[0].norm(dim=-1).double().cpu().numpy()
    readings = []
    for row, text in enumerate(texts):
        inside = [i for i, (start, end) in enumerate(offsets[row]) if end > max(start, len(prompt))]
        pieces = model.tokenizer.convert_ids_to_tokens(tokens["input_ids"][row][inside].tolist())
        spans = tuple(Span(max(offsets[row][i][0] - len(prompt), 0), offsets[row][i][1] - len(prompt)) for i in inside)
        readings.append(Reading(text, tuple(pieces), spans, pull[row, inside]))
    return readings
