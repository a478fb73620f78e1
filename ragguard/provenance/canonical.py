"""One form of JSON, and hashes of it that cannot be taken for each other."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["content", "document", "corpus", "changes", "head", "signature"]
"""What is hashed or signed. The kind is part of it, so that nothing can be passed off as something else."""


def dumped(value: Any) -> bytes:
    """JSON in ASCII, keys in order, no white space: the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def domain(kind: Kind) -> bytes:
    """What stands in front of the bytes that are hashed or signed."""
    return f"ragguard manifest 1 {kind}\n".encode("ascii")


def digest(kind: Kind, data: bytes) -> str:
    """SHA-256 of bytes of a kind, in hexadecimal."""
    return hashlib.sha256(domain(kind) + data).hexdigest()
