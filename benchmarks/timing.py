"""A stopwatch."""

from __future__ import annotations

import time
from collections.abc import Callable


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)
