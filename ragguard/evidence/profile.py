"""What is known of a text before any query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ragguard.text.marks import Mark
from ragguard.types import Span, Vectors


@dataclass(frozen=True)
class Profile:
    """What is known of a text before any query.

    Attributes:
        text: The canonical text.
        spans: Its windows.
        vectors: Embeddings of the windows, shape (windows, d).
        surprise: Mean surprise of each window's tokens, in nats; shape (windows,). See `Reading`.
        intrusion: How much of the text seems put between its words; see `Intrusion`.
        words: Its words as a reader sees them.
        hidden: What hides, see `HiddenText`.
        control: What gives orders to a language model, see `ControlText`.
    """

    text: str
    spans: tuple[Span, ...]
    vectors: Vectors
    surprise: NDArray[np.float64]
    intrusion: float
    words: tuple[str, ...]
    hidden: tuple[Mark, ...]
    control: tuple[Mark, ...]

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """Its words as Python hashes them, which differ from process to process; shape (words,)."""
        return np.fromiter(map(hash, self.words), dtype=np.int64, count=len(self.words))

    @cached_property
    def total(self) -> Vectors:
        """Sum of the windows, shape (d,)."""
        total: Vectors = self.vectors.sum(axis=0)
        return total

    @cached_property
    def centre(self) -> Vectors:
        """Normalised mean of the windows: a vector of the whole text that costs no further encoding; shape (d,)."""
        return self.total / max(float(np.linalg.norm(self.total)), 1e-6)
