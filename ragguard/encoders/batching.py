"""Queries that come at the same time are encoded in one go: threads share the work without waiting for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ragguard.types import Vectors

MOST = 32
"""Queries that are encoded together; beyond that, the first of them would wait long for the last."""


@dataclass
class _Asked:
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
        self._waiting: list[_Asked] = []

    def __call__(self, text: str) -> Vectors:
        """The vector of a text, shape (d,); an error is that of this text, whatever others asked for."""
        mine = _Asked(text)
        with self._free:
            self._waiting.append(mine)
        while True:
            with self._free:
                self._free.wait_for(lambda: mine.done or not self._busy)
                if mine.done:
                    break
                self._busy = True
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            self._work(batch)
        return self._encode([text])[0] if mine.vector is None else mine.vector

    def _work(self, batch: Sequence[_Asked]) -> None:
        """Encode for those who came first; after an error each does it alone, since it may be another's."""
        vectors: Sequence[Vectors | None] = [None] * len(batch)
        try:
            vectors = list(self._encode([one.text for one in batch]))
        except Exception:  # noqa: S110  # raised again to whom it concerns
            pass
        finally:
            with self._free:
                for one, vector in zip(batch, vectors, strict=True):
                    one.done, one.vector = True, vector
                self._busy = False
                self._free.notify_all()
