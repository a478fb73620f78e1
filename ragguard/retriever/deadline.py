"""Work in a thread that can be given up: the caller stops waiting, and the work stops at its next step."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from ragguard._moved import moved_names
from ragguard.cancellation import given_up

T = TypeVar("T")

GRACE_S = 5.0
"""How long the interpreter waits at exit for given-up work: ending inside a forward pass would abort the process."""

_running: set[threading.Thread] = set()


def start(work: Callable[[], T]) -> tuple[Future[T], threading.Event]:
    """Run work in a thread of its own, in a copy of the caller's context, so that tracing knows whose work it is.

    Returns:
        Its future, and an event that gives the work up when set. The future cannot be cancelled.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # nobody can cancel it now, so the thread may always set its result
    event = threading.Event()

    def run() -> None:
        given_up.set(event)
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            _running.discard(thread)

    # A daemon: work that hangs for good must not keep the interpreter from ending.
    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True, name="ragguard")
    _running.add(thread)
    thread.start()
    return future, event


async def in_thread(work: Callable[[], T]) -> T:
    """Await work in a thread of its own; a caller that is cancelled gives it up, and nothing waits for it."""
    future, give_up = start(work)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        give_up.set()
        raise


@atexit.register
def _wait_at_exit() -> None:
    end = time.monotonic() + GRACE_S
    for thread in list(_running):
        thread.join(max(0.0, end - time.monotonic()))


__getattr__ = moved_names(__name__)
