"""Documents of files and folders, read anew each time, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import document
from ragguard.ingest.reading import FORMATS, LONGEST, parts
from ragguard.types import Document

TEXTS = (".txt", ".md")
"""Files that are one document each, with their path as id."""


class Sources:
    """JSON lines, Parquet, text files, and folders of them. Only what is being read is in memory."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Look that they are there; of a folder with `corpus.jsonl` (BEIR) that file is taken, else all below that can be read.

        Args:
            sources: Paths; JSON lines and Parquet also as URLs of what fsspec opens.

        Raises:
            InvalidInputError: If something is not there, is of another format, or cannot be read; or if below a folder a link
                leads out of it, or to a folder, or what is named like a file is none: whoever filled the folder chose that.
        """
        self.names = tuple(sources)
        self._texts: list[Path] = []
        tables: list[str] = []
        for source in dict.fromkeys(sources):
            path = Path(source)
            below = [path]
            if path.is_dir():
                below = [path / "corpus.jsonl"] if (path / "corpus.jsonl").exists() else sorted(path.rglob("*"))
                _checked(path, below)
            texts = [file for file in below if file.suffix.lower() in TEXTS and file.is_file()]
            self._texts += texts
            if not texts or any(file.suffix in FORMATS for file in below):
                tables.append(source)
        self._parts = parts(tables)

    def __iter__(self) -> Iterator[Document]:
        """The documents, those of tables first.

        Raises:
            InvalidInputError: If a file cannot be read, or a row is no document; the message names file and line.
        """
        for part in self._parts:
            for place, row in part.read():
                yield document(place, row, place)
        for path in self._texts:
            try:
                if path.stat().st_size > LONGEST:
                    raise InvalidInputError(f"{path} has more than {LONGEST:,} bytes; split it, or take it out")
                yield Document(str(path), path.read_bytes().decode("utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidInputError(f"{path} cannot be read: {error}; save it as UTF-8, or take it out") from error


def _checked(folder: Path, below: Sequence[Path]) -> None:
    inside = folder.resolve()
    for path in below:
        if path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(inside)):
            raise InvalidInputError(
                f"{path} is a link to a folder, to nothing, or out of {folder}; take it out, or put there what it means"
            )
        if path.suffix.lower() in (*TEXTS, *FORMATS) and path.exists() and not (path.is_file() or path.is_dir()):
            raise InvalidInputError(f"{path} is no file that could be read to its end; take it out")
