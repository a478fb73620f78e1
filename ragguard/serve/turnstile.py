"""What is let in: so many requests a second from one address, so many at once, and so much of each."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragguard.serve.limits import AT_ONCE, RATE
from ragguard.serve.problems import problem
from ragguard.serve.schema import BODY


class Turnstile:
    """ASGI middleware. Requests beyond a limit are answered 429 before their body is read; /health always passes."""

    def __init__(self, app: ASGIApp, *, rate: int = RATE, at_once: int = AT_ONCE) -> None:
        """Wrap an application.

        Args:
            app: What answers.
            rate: Requests a second from one address.
            at_once: Requests at once, from all.
        """
        self._app, self._at_once, self._inside = app, at_once, 0
        self._rate, self._limiter = RateLimitItemPerSecond(rate), MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer 429 with when to come again."""
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("",))[0]
        wait = 0
        if self._inside >= self._at_once:
            wait, why = 1, f"{self._at_once} requests are being judged"
        elif not self._limiter.hit(self._rate, address):
            wait = max(1, math.ceil(self._limiter.get_window_stats(self._rate, address).reset_time - time.time()))
            why = f"more than {self._rate.amount} requests a second"
        if wait:
            answer = problem(429, f"{why}; come again in {wait} s", {"Retry-After": str(wait)})
            await answer(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > BODY:
                raise HTTPException(413)
            return message

        self._inside += 1
        try:
            await self._app(scope, counted, send)
        finally:
            self._inside -= 1
