"""Any function from texts to vectors as an encoder: a framework's embedding object, an endpoint, a model of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragguard import cancellation
from ragguard.checks import positive
from ragguard.encoders.base import PiecewiseEncoder
from ragguard.encoders.vectors import checked
from ragguard.errors import EncoderError, RAGGuardError
from ragguard.text import content_hash
from ragguard.types import Vectors

BATCH, CHARACTERS = 256, 250_000
"""Texts, and characters of them, that are handed over at a time. OpenAI takes 2,048 texts of 300,000 tokens together."""

LENGTHS = (500, 1000, 2000, 4000, 8000)
"""Characters of a text that may be embedded whole. OpenAI's models read 8,191 tokens, small ones 256, of some four characters."""

SAME = 1e-4
"""Distance (1 - cosine) below which two texts, of which the last tenth differs, have one vector: that tenth was not read. For
all-MiniLM-L6-v2, which reads 256 tokens, it is .14 at 1,000 characters and 1e-7 at 2,000."""

PROBE = "Which model is this?"
"""Its vector names a model that has no other name."""

_LONG, _END, _OTHER_END = (
    "The ferry leaves the old harbour at noon. ",
    "Copper roofs turn green in the rain. ",
    "Bread needs salt. ",
)


class FunctionEncoder(PiecewiseEncoder):
    """Brings what a function returns to unit norm, checks it, and never asks it for more than it reads.

    Texts that are longer than `longest` are cut into pieces of nearly equal length, at spaces where there are some, and their
    vectors are averaged by length. Its name is that of the model, and the length from which texts are cut. As safe to use from
    many threads as the function is.
    """

    unit_pieces = True

    def __init__(
        self,
        embed_documents: Callable[[list[str]], object],
        embed_query: Callable[[str], object] | None = None,
        *,
        name: str = "",
        longest: int | None = None,
        batch_size: int = BATCH,
    ) -> None:
        """Ask for a few vectors.

        Args:
            embed_documents: Texts to as many vectors, in their order: lists or an array, of any norm but 0.
            embed_query: A query to its vector; None embeds queries as documents.
            name: Of the model and its version. Without one it is named by the vector of a fixed sentence, which tells models
                apart, and a model from itself where its vectors vary by more than their last digits: name what is remote.
            longest: Characters of a text that are embedded whole. None finds out: the most of 500 to 8,000 characters of English
                at which the end of a text still changes its vector. Other scripts have up to four times as many tokens to a
                character: set a quarter of it for those.
            batch_size: Texts that are handed over at a time, at most.

        Raises:
            InvalidInputError: If `longest` or `batch_size` is below 1.
            EncoderError: If the function raises, or what it returns are no vectors.
        """
        super().__init__()
        self._documents, self._embed_query = embed_documents, embed_query
        self._batch_size = positive(batch_size, "batch_size")
        self._source, self._longest, self._dimension = name or _named(embed_documents), positive(longest or 1, "longest"), 0
        probe = self._query_vector(PROBE)
        self._dimension = len(probe)
        self._longest = longest or self._reads()
        above = np.packbits(probe > np.median(probe)).tobytes()  # rounding moves few of these: the middle is a thin place
        self._name = f"{name or f'{self._source}:{content_hash(above.hex())[:16]}'}:{self._longest}"

    @property
    def longest(self) -> int:
        """Characters of a text that are embedded whole."""
        return self._longest

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """Embed queries; shape (len(texts), d). The last 1,024 are remembered: a guard's defenses ask for a query one by one.

        Raises:
            EncoderError: If the function raises, or what it returns are no vectors of that length.
        """
        return np.stack([self._query(text) for text in texts]) if texts else np.empty((0, self.dimension), dtype=np.float32)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """Embed documents or pieces of them; shape (len(texts), d).

        Raises:
            EncoderError: If the function raises, or what it returns are no vectors of that length.
        """
        return self._encode(self._documents, texts)

    def _query_vector(self, text: str) -> Vectors:
        embed = self._embed_query
        method = self._documents if embed is None else lambda texts: [embed(text) for text in texts]
        vector: Vectors = self._encode(method, [text])[0]
        return vector

    def _split(self, texts: Sequence[str]) -> tuple[list[list[str]], list[Vectors]]:
        groups = [_pieces(text, self._longest if self._dimension else len(text)) for text in texts]
        return groups, [np.array([max(len(piece), 1) for piece in pieces], dtype=np.float32) for pieces in groups]

    def _encode_pieces(self, method: Callable[..., object], texts: list[str]) -> Vectors:
        return np.concatenate([self._encode_batch(method, batch) for batch in self._batches(texts)])

    def _unit(self, rows: NDArray[Any]) -> Vectors:
        return self._unit_rows(rows, len(rows), self._dimension)

    def _batches(self, pieces: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        characters = 0
        for piece in pieces:
            if batch and (len(batch) == self._batch_size or characters + len(piece) > CHARACTERS):
                yield batch
                batch, characters = [], 0
            batch.append(piece)
            characters += len(piece)
        yield batch

    def _encode_batch(self, method: Callable[..., object], batch: list[str]) -> Vectors:
        cancellation.check()
        try:
            output = method(batch)
        except RAGGuardError:
            raise
        except Exception as error:
            raise EncoderError(f"{self._source} failed on {len(batch)} texts: {error!r}") from error
        try:
            rows = np.asarray(output, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise EncoderError(f"{self._source} gave something that is not an array of numbers: {error}") from error
        if rows.ndim != 2 or not rows.shape[1]:
            raise EncoderError(f"{self._source} gave an array of shape {rows.shape} for {len(batch)} texts, which are no vectors")
        return self._unit_rows(rows, len(batch), self._dimension or rows.shape[1])

    def _unit_rows(self, rows: NDArray[Any], count: int, dimension: int) -> Vectors:
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            return checked(rows / np.where(norms > 0, norms, 1), count, dimension, self._source)

    def _reads(self) -> int:
        """The most characters of which the last tenth changes the vector."""
        read = 0
        for length in LENGTHS:
            whole = (_LONG * (length // len(_LONG) + 1))[: length - length // 10]
            ends = [(whole + end * (length // len(end) + 1))[:length] for end in (_END, _OTHER_END)]
            try:
                self._longest = length
                first, second = self.encode_document(ends)
            except EncoderError:
                if not read:
                    raise
                return read  # it refuses what it cannot read
            if 1 - float(first @ second) < SAME:
                break
            read = length
        if not read:
            raise EncoderError(f"{self._source} gives texts of {LENGTHS[0]} characters the same vector whatever they end with")
        return read


def _named(function: Callable[..., object]) -> str:
    owner = getattr(function, "__self__", None)
    return type(owner).__name__ if owner is not None else getattr(function, "__name__", type(function).__name__)


def _pieces(text: str, longest: int) -> list[str]:
    """Nearly equal pieces of at most so many characters; a cut moves back to a space in the last tenth of its piece."""
    pieces = []
    while (count := -(-len(text) // longest)) > 1:
        step = -(-len(text) // count)
        cut = text.rfind(" ", step - step // 10, step) + 1 or step
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]
