"""What every entry point demands of its arguments."""

from __future__ import annotations

from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.text import canonical


def positive(value: object, name: str = "k") -> int:
    """An integer of at least 1.

    Raises:
        InvalidInputError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"{name} must be an integer of at least 1, not {value!r}")
    return value


def an_encoder(value: object) -> Encoder:
    """An encoder.

    Raises:
        InvalidInputError: If it is something else, such as a model's name.
    """
    if not isinstance(value, Encoder):
        raise InvalidInputError(f"{value!r:.100} is not an encoder; wrap a model's name in SentenceTransformerEncoder(...)")
    return value


def query_text(query: object) -> str:
    """A query in canonical form.

    Raises:
        InvalidInputError: If it is not a string, or empty.
    """
    if not isinstance(query, str) or not (text := canonical(query).text).strip():
        raise InvalidInputError(f"the query has no text: {query!r}")
    return text
