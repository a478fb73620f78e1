"""Where commands that answer HTTP listen."""

from __future__ import annotations

import socket

from ragguard.errors import InvalidInputError

LOOPBACK = "127.0.0.1"
LISTEN = "Where it listens"
"""A panel of a command's help."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InvalidInputError: If the address or the port cannot be had.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InvalidInputError(f"cannot listen on {host} port {port}: {error.strerror}; name another with --port") from error


def url(listening: socket.socket) -> str:
    """Under which it is reached."""
    host, number = listening.getsockname()[:2]
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
