"""What stands between browsers and the review page: who may ask, and what a page may do."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost")
"""Names it answers to: a page elsewhere whose name is made to lead here (DNS rebinding) calls it by another."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # under no-referrer, browsers say that the page's own forms come from nowhere
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer. Not even a script of its own may run: there is none."""


class Guarded:
    """ASGI middleware around everything, errors too."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = LOCAL) -> None:
        """Wrap an application."""
        self._app = TrustedHostMiddleware(app, allowed_hosts=list(hosts), www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with `HEADERS`."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


class Token:
    """What the page's own forms hold and no other page can read; of this process, so that forms do not outlive it."""

    def __init__(self) -> None:
        """Draw one."""
        self.value = secrets.token_urlsafe(32)

    def check(self, request: Request, given: str) -> None:
        """Refuse what does not come from a form of this page.

        Raises:
            HTTPException: With status 403.
        """
        own = f"{request.url.scheme}://{request.headers.get('host', '')}"
        if request.headers.get("origin") != own:
            raise HTTPException(403, "This was not sent from the review page.")
        if not hmac.compare_digest(given.encode(), self.value.encode()):
            raise HTTPException(403, "This form is of an earlier run of the review page. Go back, reload, and decide again.")
