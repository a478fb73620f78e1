"""Long work asks between its steps whether its caller still waits."""

from __future__ import annotations

import threading
from contextvars import ContextVar

from ragguard.errors import DeadlineExceededError

given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


def check() -> None:
    """Called between the steps of long work.

    Raises:
        DeadlineExceededError: If the work was given up.
    """
    event = given_up.get()
    if event is not None and event.is_set():
        raise DeadlineExceededError("this work was given up: its caller's deadline has passed")
