"""Checks on what encoders return, with `raise`, so that they hold under `python -O`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ragguard.errors import EncoderError, RAGGuardError
from ragguard.protocols import Encoder
from ragguard.types import Vectors

NORM_TOLERANCE = 1e-2
"""How far from 1 a norm may be; covers fp16 and int8 models, whose rounding stays below 1e-3."""

QUERY_CACHE = 1024
"""Query vectors that an encoder keeps, so that index and defenses encode a query once."""


def checked(vectors: object, count: int, dimension: int, source: str) -> Vectors:
    """Check that vectors are what an encoder must return, and bring them to exact unit norm.

    Args:
        vectors: Anything an encoder returned.
        count: Number of rows there must be.
        dimension: Number of columns there must be.
        source: Who returned them; named in errors.

    Returns:
        float32, C-contiguous, shape (count, dimension), unit rows.

    Raises:
        EncoderError: If shape, finiteness or norm is wrong.
    """
    try:
        array = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EncoderError(f"{source} returned something that is not an array of numbers: {error}") from error
    if array.shape != (count, dimension):
        raise EncoderError(f"{source} returned shape {array.shape} for {count} texts; it must be {(count, dimension)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise EncoderError(f"{source} returned NaN or infinite values for text {int(np.argmin(finite))} of {count}")
    norms = np.linalg.norm(array, axis=1)
    wrong = np.abs(norms - 1) > NORM_TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        raise EncoderError(f"{source} returned a vector of norm {norms[row]:.4g} for text {row} of {count}; it must be 1")
    return np.ascontiguousarray(array / norms[:, None])


def encode_documents(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Embed texts as documents with any encoder, checked; shape (len(texts), d).

    Raises:
        EncoderError: If the encoder raises or returns something wrong.
    """
    return _encode(encoder, encoder.encode_document, texts)


def encode_queries(encoder: Encoder, queries: Sequence[str]) -> Vectors:
    """Embed queries with any encoder, checked; shape (len(queries), d).

    Raises:
        EncoderError: If the encoder raises or returns something wrong.
    """
    return _encode(encoder, encoder.encode_query, queries)


def encode_one_query(encoder: Encoder, query: str) -> Vectors:
    """Embed one query with any encoder, checked; shape (d,).

    Raises:
        EncoderError: If the encoder raises or returns something wrong.
    """
    vector: Vectors = encode_queries(encoder, [query])[0]
    return vector


def _encode(encoder: Encoder, method: Callable[[Sequence[str]], Vectors], texts: Sequence[str]) -> Vectors:
    if not texts:
        return np.empty((0, encoder.dimension), dtype=np.float32)
    try:
        vectors = method(texts)
    except RAGGuardError:
        raise
    except Exception as error:
        raise EncoderError(f"encoder {encoder.name!r} failed on {len(texts)} texts: {error}") from error
    return checked(vectors, len(texts), encoder.dimension, f"encoder {encoder.name!r}")
