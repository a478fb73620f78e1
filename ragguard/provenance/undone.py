"""Several files that change together: all of them, or none, whatever happens between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ragguard.errors import InvalidInputError
from ragguard.evaluation.files import write_whole


def journal(manifest: Path) -> Path:
    """The file that is there while changes are decided and not yet done."""
    return manifest.with_name(f"{manifest.name}.undone")


def ready(place: Path) -> Path:
    """Where a file is made whole that then takes the place of another: beside it, on the same disk."""
    place = place.resolve()
    return place.with_name(f"{place.name}.next")


def replace_all(manifest: Path, places: Sequence[Path]) -> None:
    """Put the files that are `ready` in their places. From the moment that the journal is there, `finish` does what is left.

    Args:
        manifest: Beside which the journal is kept.
        places: What is replaced.
    """
    write_whole(journal(manifest), json.dumps([str(place.resolve()) for place in places]))
    finish(manifest)


def finish(manifest: Path) -> bool:
    """Do what an interrupted `replace_all` left; returns whether there was something.

    Raises:
        InvalidInputError: If the journal cannot be read.
    """
    path = journal(manifest)
    if not path.exists():
        return False
    try:
        places = [Path(place) for place in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}; restore corpus and manifest from a backup") from error
    for place in places:  # from beside it alone: whoever can write a journal may not be able to write there
        if ready(place).exists():
            ready(place).replace(place)
    path.unlink()
    return True
