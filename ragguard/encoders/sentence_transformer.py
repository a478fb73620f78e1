"""Sentence-transformers models as encoders: devices, precision, long texts, and the model that needs no network."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ragguard import cancellation
from ragguard.encoders.base import PiecewiseEncoder
from ragguard.encoders.batching import Together
from ragguard.encoders.offline import offline_model_path
from ragguard.encoders.tokenizing import Splitter, speed_up
from ragguard.errors import EncoderError, InvalidInputError
from ragguard.types import Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CPU_BATCH, GPU_BATCH = 16, 256
"""Texts per forward pass. On two cores 16 was 1.4 times as fast as 64 for texts of 140 tokens, and as fast for short ones."""

PASSAGE, MORE = 600, 16
"""Characters up to which `GPU_BATCH` is meant: of shorter texts, such as windows, up to so many times as many fit."""

AHEAD = 2
"""Batches under way on a GPU: while it embeds one, the next is tokenised."""

PROGRESS_AFTER_S = 2.0
"""Seconds of work before a progress bar shows."""


class SentenceTransformerEncoder(PiecewiseEncoder):
    """Any sentence-transformers model as an encoder of unit vectors.

    Texts that are longer than the model reads are cut into the fewest pieces of nearly equal length, and the piece vectors are
    averaged by their number of tokens: nothing is cut off in silence. Strings that look like special tokens ("[MASK]") are text.
    Its name is a fingerprint of the model (weights, length it reads, prompts) and precision. Safe to use from many threads.
    """

    unit_pieces = False

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
            batch_size: Passages per forward pass, on a GPU more of shorter texts; None takes 16 on a CPU and 256 elsewhere.
            progress: Whether work of over two seconds shows a progress bar (on stderr).

        Raises:
            InvalidInputError: If `batch_size` is below 1 or `dtype` is unknown.
            EncoderError: If the model cannot be loaded.
        """
        if batch_size is not None and batch_size < 1:
            raise InvalidInputError(f"batch_size must be at least 1, not {batch_size}")
        if dtype not in ("float32", "float16"):
            raise InvalidInputError(f"dtype must be 'float32' or 'float16', not {dtype!r}")
        super().__init__()
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
        self._ahead = 1 if self._model.device.type == "cpu" else AHEAD
        self._batch_size = batch_size or (CPU_BATCH if self._model.device.type == "cpu" else GPU_BATCH)
        self._progress = progress
        self._splitter = Splitter(self._model, speed_up(self._model))
        self._room = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))  # more at once only hinder each other
        self._name = f"{_fingerprint(self._model)}@{dtype}"
        dimension = self._model.get_embedding_dimension() if hasattr(self._model, "get_embedding_dimension") else None
        self._dimension = int(dimension or self._encode_pieces(self._model.encode_document, ["a"], bar=False).shape[1])
        self._together: Together | None = Together(partial(self._encode, self._runs.encode_query))

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
    def model(self) -> SentenceTransformer:
        """The loaded model, for what needs its gradients; change nothing in it."""
        return self._model

    @property
    def device(self) -> str:
        """The torch device the model runs on."""
        return str(self._model.device)

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Embed queries, with the model's query prompt if it has one; shape (len(texts), d).

        A single query is remembered (the last 1,024 are), and encoded together with others that come at the same time.

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

    def _query_vector(self, text: str) -> Vectors:
        short = isinstance(text, str) and len(text) <= PASSAGE  # a long one must not keep others waiting
        if self._together and short:
            return self._together(text).copy()
        vector: Vectors = self._encode(self._runs.encode_query, [text])[0]
        return vector

    def _split(self, texts: Sequence[str]) -> tuple[list[list[str]], list[Vectors]]:
        return self._splitter(texts)

    def _unit(self, rows: Vectors) -> Vectors:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        bad = ~np.isfinite(norms[:, 0]) | (norms[:, 0] < 1e-6)
        if bad.any():
            raise EncoderError(f"{self._name}: text {int(np.argmax(bad))} of {len(rows)} has no usable vector")
        return np.asarray(rows / norms, dtype=np.float32)

    def _encode_pieces(self, method: Callable[..., object], texts: list[str], *, bar: bool = True) -> Vectors:
        from tqdm.auto import tqdm

        # Sorted by length over all texts, a batch has little padding; the longest first shows running out of memory at once.
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        batches = list(self._batches(order, texts))
        rows: list[Vectors] = []
        hidden = True if not (self._progress and bar) else None  # None: hidden where stderr is no terminal

        def embed(batch: Sequence[int]) -> Vectors:
            with self._room:
                out = method([texts[i] for i in batch], batch_size=len(batch), show_progress_bar=False)
            return np.asarray(out, dtype=np.float32)

        with ExitStack() as stack:
            shown = stack.enter_context(
                tqdm(total=len(texts), desc="embedding", delay=PROGRESS_AFTER_S, disable=hidden, leave=False)
            )
            embedded: Iterator[Vectors] = map(embed, batches)
            if self._ahead > 1 and len(batches) > 1:
                pool = ThreadPoolExecutor(self._ahead, "embedding")
                stack.callback(pool.shutdown, cancel_futures=True)
                embedded = pool.map(embed, batches)
            cancellation.check()
            for vectors in embedded:
                rows.append(vectors)
                shown.update(len(vectors))
                cancellation.check()
        by_length = np.concatenate(rows)
        ordered = np.empty_like(by_length)
        ordered[order] = by_length
        return ordered

    def _batches(self, order: Sequence[int], texts: Sequence[str]) -> Iterator[Sequence[int]]:
        """Texts by descending length, on a GPU more of them where they are short."""
        start = 0
        while start < len(order):
            more = 1 if self._ahead == 1 else min(max(PASSAGE // max(len(texts[order[start]]), 1), 1), MORE)
            yield order[start : start + more * self._batch_size]
            start += more * self._batch_size


def _fingerprint(model: SentenceTransformer) -> str:
    """Hash of whatever decides what a text's vector is."""
    digest = hashlib.sha256(f"{model.max_seq_length}|{sorted(model.prompts.items())}|{model}".encode())
    if model.truncate_dim is not None:
        digest.update(f"first {model.truncate_dim}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
