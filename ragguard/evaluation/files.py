"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from ragguard.errors import InvalidInputError


def write_whole(path: Path, text: str) -> None:
    """Write a text file; an interruption leaves the old one, or none.

    Raises:
        InvalidInputError: If it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error}") from error
