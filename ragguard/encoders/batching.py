"""Queries that come at the same time are encoded in one go: threads share the work without waiting for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ragguard.types import Vectors

MOST = 32
"""Queries that are encoded together; beyond that, the first of them would wait long for the last."""


@dataclass
class _Waiting:
    """A text whose vector somebody waits for."""

    text: str
    done: bool = False
    vector: Vectors | None = None


class Together:
    """Whoever finds nobody at work encodes for all who wait; who comes meanwhile waits for the next turn.

    Nobody waits for others to come: a query that is alone is encoded at once. Safe to use from many threads.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Vectors]) -> None:
        """Bind a function that embeds texts; shape (texts, d)."""
        self._encode = encode
        self._free = threading.Condition()
        self._busy = False
        self._waiting: list[_Waiting] = []

    def __call__(self, text: str) -> Vectors:
        """The vector of a text, shape (d,); an error is that of this text, whatever others asked for."""
        own = _Waiting(text)
        with self._free:
            self._waiting.append(own)
        while True:
            with self._free:
                self._free.wait_for(lambda: own.done or not self._busy)
                if own.done:
                    break
                self._busy = True
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            self._work(batch)
        return self._encode([text])[0] if own.vector is None else own.vector

    def _work(self, batch: Sequence[_Waiting]) -> None:
        """Encode for those who came first; after an error each does it alone, since it may be another's."""
        vectors: Sequence[Vectors | None] = [None] * len(batch)
        try:
            vectors = list(self._encode([waiting.text for waiting in batch]))
        except Exception:  # noqa: S110  # raised again to whom it concerns
            pass
        finally:
            with self._free:
                for waiting, vector in zip(batch, vectors, strict=True):
                    waiting.done, waiting.vector = True, vector
                self._busy = False
                self._free.notify_all()
