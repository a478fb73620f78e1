"""One query while it is worked on: what took how long, and what to answer if the deadline passes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pydantic import BaseModel

from ragguard.protocols import Defense
from ragguard.retriever.observing import Decision, Observers, Stage
from ragguard.types import GuardedResult


class Progress:
    """Where the work puts what it has, as it goes on.

    Attributes:
        result: The answer; None until there is one.
        late: What is answered if the deadline passes, where the policy wants an answer then.
        stages: What is done.
    """

    def __init__(self) -> None:
        """Start the clock."""
        self.result: GuardedResult | None = None
        self.late: GuardedResult | None = None
        self.stages: list[Stage] = []
        self._settled, self._began = False, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a part of the work."""
        start = self.seconds
        try:
            yield
        finally:
            self.stages.append(Stage(name, start, self.seconds - start))

    def offer(self, answer: GuardedResult) -> None:
        """What there is after some of the defenses, unless all were done with fewer candidates."""
        if not self._settled:
            self.late = answer

    def settle(self, result: GuardedResult) -> None:
        """What all defenses let pass, of too few candidates."""
        short = "fewer candidates were judged than asked for: the deadline passed"
        self.late, self._settled = replace(result, degraded=(*result.degraded, short)), True


@contextmanager
def watched(
    observers: Observers | None, original_query: str, k: int, defenses: Sequence[Defense], policy: BaseModel
) -> Iterator[Progress]:
    """Tell observers what becomes of a query: the `result` that is put into the progress, or the error that is raised."""
    started, progress = time.time(), Progress()

    def tell(error: BaseException | None) -> None:
        if observers is None:
            return
        took, stages, result = progress.seconds, tuple(progress.stages), progress.result if error is None else None
        observers.tell(
            lambda number: Decision(number, original_query, k, tuple(defenses), policy, started, took, stages, result, error)
        )

    try:
        yield progress
    except BaseException as error:  # also a caller that is cancelled
        tell(error)
        raise
    tell(None)
