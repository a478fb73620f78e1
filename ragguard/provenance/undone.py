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


def replace_all(manifest: Path, ready: Sequence[tuple[Path, Path]]) -> None:
    """Put files in the place of others. From the moment that the journal is there, `finish` does what is left.

    Args:
        manifest: Beside which the journal is kept.
        ready: Pairs of a file that is whole and on the disk, and whose place it takes.
    """
    names = [[str(new.resolve()), str(old.resolve())] for new, old in ready]
    write_whole(journal(manifest), json.dumps(names))
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
        names = [(Path(new), Path(old)) for new, old in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}; restore corpus and manifest from a backup") from error
    for new, old in names:
        if new.exists():
            new.replace(old)
    path.unlink()
    return True
