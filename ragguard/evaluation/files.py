"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ragguard.errors import InvalidInputError


def write_whole(path: Path, text: str) -> None:
    """Write a text file; an interruption leaves the old one, or none.

    Raises:
        InvalidInputError: If it cannot be written.
    """
    try:
        with whole(path) as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error}") from error


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to, which takes the place of the old one when all is on the disk; an error leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:  # never through a link that somebody left there
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
