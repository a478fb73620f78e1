"""Where evidence is kept between queries."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from ragguard.errors import InvalidInputError
from ragguard.types import Evidence

T = TypeVar("T")

CAPACITY = 100_000
"""Texts kept by default; at 384 dimensions about 0.8 GB of fragments (5 a text), 1.4 GB of masks (9 a text of 117 words)."""


class Recent(Generic[T]):
    """What was computed, in memory; the least recently used goes first when it is full.

    Safe to use from many threads.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Make an empty store.

        Args:
            capacity: Number of texts it holds at most.

        Raises:
            InvalidInputError: If `capacity` is below 1.
        """
        if capacity < 1:
            raise InvalidInputError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._items: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[str]) -> list[T | None]:
        """What is stored under each key, or None."""
        with self._lock:
            values = [self._items.get(key) for key in keys]
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    self._items.move_to_end(key)
            return values

    def put(self, items: Mapping[str, T]) -> None:
        """Store items under their keys."""
        with self._lock:
            for key, item in items.items():
                self._items[key] = item
                self._items.move_to_end(key)
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        return len(self._items)


class MemoryStore(Recent[Evidence]):
    """Evidence in memory."""
