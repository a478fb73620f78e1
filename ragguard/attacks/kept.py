"""What took long to optimise is kept, and made once for the same settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, MutableMapping, Sequence
from typing import TypeAlias

Cache: TypeAlias = MutableMapping[str, str]
"""Texts by key, such as `ragguard.evaluation.cache.TextCache`."""


def kept(cache: Cache | None, settings: Sequence[object], make: Callable[[], str], *, goal: bytes = b"") -> str:
    """What the cache holds for these settings, or what is made now, which is kept.

    Args:
        cache: None keeps nothing.
        settings: All that the text depends on, as JSON can write it.
        make: Called where the cache does not hold it.
        goal: What JSON cannot write: the bytes of a vector.
    """
    if cache is None:
        return make()
    key = hashlib.sha256(json.dumps(settings).encode() + goal).hexdigest()
    if (known := cache.get(key)) is None:
        known = cache[key] = make()
    return known
