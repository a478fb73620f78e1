"""What becomes of queries, told to whoever observes: audit logs, traces, counters. Nothing here can change a verdict."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import queue
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel

from ragguard.checks import positive
from ragguard.errors import InvalidInputError
from ragguard.protocols import Defense
from ragguard.types import GuardedResult

LOGGER = logging.getLogger("ragguard")

WAITING = 1000
"""Decisions that wait for one observer, at most. With twenty candidates of a thousand characters, 20 MB of texts."""

GRACE_S = 5.0
"""How long the interpreter waits at exit for observers to catch up, all together."""


@dataclass(frozen=True)
class Stage:
    """One part of the work on a query.

    Attributes:
        name: `search`, or the name of a defense; again for each time it was done.
        start: Seconds after the query came.
        seconds: How long it took.
    """

    name: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Decision:
    """What became of one query: a result or an error, and what it rests on.

    Attributes:
        number: Counts what one `Observers` was told, from 1: a gap is a decision that an observer was not given.
        asked: The query as it was asked.
        k: How many hits were asked for.
        defenses: Those that were to judge, in their order.
        policy: How they were applied.
        started: When the query came, in seconds since 1970.
        seconds: From then to the answer.
        stages: What took how long, in the order in which it ended; those that a deadline cut off are not among them.
        result: What was answered; None where an error was.
        error: What was raised; None where a result was answered. It keeps its frames alive until it is observed.
    """

    number: int
    asked: str
    k: int
    defenses: tuple[Defense, ...]
    policy: BaseModel
    started: float
    seconds: float
    stages: tuple[Stage, ...]
    result: GuardedResult | None
    error: BaseException | None

    @property
    def outcome(self) -> str:
        """`answered`, `degraded`, or the name of the error's class."""
        if self.error is not None:
            return type(self.error).__name__
        return "degraded" if self.result is not None and self.result.degraded else "answered"


Observer: TypeAlias = Callable[[Decision], object]
"""Is told each decision, one at a time, in a thread of its own; what it raises is logged once and counted."""


class Observers:
    """Hands decisions to observers after the answer is out, so that none of them can change, delay or prevent it.

    Each has a queue and a thread: one that hangs holds up nobody. It is called in a copy of the context in which the query was
    asked, so that a tracer finds the caller's span. One object may serve several guards and threads, and a process after a fork.
    """

    def __init__(self, observers: Sequence[Observer], *, waiting: int = WAITING) -> None:
        """Start nothing yet; threads start with the first decision.

        Args:
            observers: Each is told everything.
            waiting: Decisions that wait for one of them, at most; more are lost, and counted.

        Raises:
            InvalidInputError: If there are none, or something cannot be called.
        """
        if not isinstance(observers, Sequence) or not observers or not all(callable(observer) for observer in observers):
            raise InvalidInputError(f"observers must be a list of at least one callable, not {observers!r:.200}")
        self._posts = [_Post(observer, positive(waiting, "waiting")) for observer in observers]
        self.renew()
        for post in self._posts:  # its thread ends when nobody can tell it anything any more
            weakref.finalize(self, post.end).atexit = False
        _ALIVE.add(self)
        atexit.unregister(_flush_at_exit)
        atexit.register(_flush_at_exit)  # before what was registered until now, such as the end of a tracer that is told

    @property
    def lost(self) -> int:
        """How many times an observer was not told, because too many decisions waited for it."""
        return sum(post.lost for post in self._posts)

    @property
    def failed(self) -> int:
        """How many times an observer raised."""
        return sum(post.failed for post in self._posts)

    def tell(self, numbered: Callable[[int], Decision]) -> None:
        """Number a decision and put it into every queue; never waits, never raises.

        Args:
            numbered: Makes the decision of its number.
        """
        with self._lock:  # so that numbers rise in every queue
            decision = numbered(next(self._numbers))
            warnings = [post.put(decision) for post in self._posts]
        for warning in filter(None, warnings):
            LOGGER.warning(warning)

    def flush(self, timeout_s: float = GRACE_S) -> bool:
        """Wait until all that was told before has been observed, and say whether it has."""
        end = time.monotonic() + timeout_s
        return min([post.flush(end - time.monotonic()) for post in self._posts])  # not all(): each gets its turn

    def renew(self) -> None:
        """Count from 1 and start no thread yet: also in a forked process, which leaves what waits to its parent's threads."""
        self._numbers, self._lock = itertools.count(1), threading.RLock()  # a signal's handler may ask, too
        for post in self._posts:
            post.renew()


class _Post:
    """One observer, its queue and its thread."""

    def __init__(self, observer: Observer, waiting: int) -> None:
        self._observer, self._waiting = observer, waiting
        self._name = getattr(observer, "__qualname__", type(observer).__qualname__)  # its repr could fail, or be long
        self.lost = self.failed = 0

    def renew(self) -> None:
        # A finalizer, which may come at any time, can put into this kind of queue; Queue would wait for itself.
        self._queue: queue.SimpleQueue[tuple[Context, Decision] | None] = queue.SimpleQueue()
        self._queued = self._done = 0
        self._more_done = threading.Condition()
        self._working = False

    def put(self, decision: Decision) -> str:
        """What to warn of: why it is the first that is lost; empty otherwise."""
        why = "is too slow" if self._queue.qsize() >= self._waiting else self._start()
        if not why:
            self._queued += 1
            self._queue.put((copy_context(), decision))
            return ""
        self.lost += 1
        if self.lost > 1:
            return ""
        return f"the observer {self._name} {why}; it misses decisions, which are counted, not repeated"

    def end(self) -> None:
        self._queue.put(None)

    def flush(self, timeout_s: float) -> bool:
        queued = self._queued
        with self._more_done:
            return self._more_done.wait_for(lambda: self._done >= queued, max(timeout_s, 0.0))

    def _start(self) -> str:
        """Start the thread if there is none; why there cannot be one."""
        if self._working:
            return ""
        try:
            threading.Thread(target=self._work, daemon=True, name="ragguard-observer").start()
        except RuntimeError as error:
            return f"has no thread: {error}"
        self._working = True
        _WORKING.add(self)
        return ""

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                message[0].run(self._observer, message[1])
            except BaseException as error:  # also SystemExit, which would end the thread
                self.failed += 1
                if self.failed == 1:
                    problem = "".join(traceback.format_exception_only(error)).strip()  # whose own repr may fail
                    LOGGER.warning(f"the observer {self._name} failed: {problem}; later failures are only counted")
            del message  # else the last one is held until the next comes
            with self._more_done:
                self._done += 1
                self._more_done.notify_all()


_ALIVE: weakref.WeakSet[Observers] = weakref.WeakSet()
_WORKING: weakref.WeakSet[_Post] = weakref.WeakSet()
"""Those with a thread, which keeps them: also of observers that are gone, until what they were told is done."""


def _flush_at_exit() -> None:
    end = time.monotonic() + GRACE_S
    for post in list(_WORKING):
        post.flush(end - time.monotonic())


def _forked() -> None:
    _WORKING.clear()  # their threads are the parent's
    for observers in list(_ALIVE):
        observers.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forked)
