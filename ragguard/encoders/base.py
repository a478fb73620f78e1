"""What the encoders of this package have in common: long texts are read in pieces, every vector is a unit vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ragguard.encoders.vectors import QUERY_CACHE
from ragguard.errors import InvalidInputError
from ragguard.types import Vectors


class PiecewiseEncoder(ABC):
    """Texts to unit vectors, by something that reads texts up to some length only.

    Longer texts are cut into pieces whose vectors are averaged by weight, and the vector of a single query is remembered. A
    subclass says how texts are cut, how pieces are embedded, and how rows are checked.
    """

    unit_pieces: ClassVar[bool]
    """Whether `_encode_pieces` gives unit rows, so that a piece counts by its weight alone, whatever its norm was."""

    _name: str
    _dimension: int

    def __init__(self) -> None:
        """Remember no query yet."""
        self._query = lru_cache(maxsize=QUERY_CACHE)(self._shared_query_vector)

    @property
    def name(self) -> str:
        """Of the model and of all else that decides what a text's vector is: vectors compare if their encoders' names agree."""
        return self._name

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self._dimension

    @abstractmethod
    def _query_vector(self, text: str) -> Vectors:
        """Embed one query, shape (d,); nobody else holds the vector."""

    @abstractmethod
    def _split(self, texts: Sequence[str]) -> tuple[list[list[str]], list[Vectors]]:
        """The pieces of each text, at least one, and their weights (any where there is one piece)."""

    @abstractmethod
    def _encode_pieces(self, method: Callable[..., object], texts: list[str]) -> Vectors:
        """Embed texts that are read whole, at least one; shape (len(texts), d)."""

    @abstractmethod
    def _unit(self, rows: Vectors) -> Vectors:
        """Check rows and bring them to unit norm; float32."""

    def _shared_query_vector(self, text: str) -> Vectors:
        vector = self._query_vector(text)
        vector.flags.writeable = False  # shared by everyone who asks again
        return vector

    def _encode(self, method: Callable[..., object], texts: Sequence[str]) -> Vectors:
        """Embed texts of any length by one of the ways that there are; shape (len(texts), d)."""
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidInputError(f"text {i} must be a string, not {type(text).__name__}")
        if not len(texts):
            return np.empty((0, self._dimension), dtype=np.float32)
        groups, weights = self._split(texts)
        vectors = self._encode_pieces(method, [piece for pieces in groups for piece in pieces])
        if len(vectors) == len(texts):
            return vectors if self.unit_pieces else self._unit(vectors)
        bounds = np.cumsum([0, *map(len, groups)])[:-1]
        return self._unit(np.add.reduceat(vectors * np.concatenate(weights)[:, None], bounds, axis=0))
