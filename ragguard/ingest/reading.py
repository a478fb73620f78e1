"""Files of documents in parts: each is read in a stream, by whichever worker has it, and knows the numbers of its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ragguard.errors import InvalidInputError
from ragguard.evaluation.fields import DOCUMENT
from ragguard.evaluation.reading import LINES as LINED
from ragguard.evaluation.reading import LONGEST as LONGEST
from ragguard.evaluation.reading import rows
from ragguard.evidence import BLOCK

LINES = 2 * BLOCK
"""Lines of a JSON file that one worker takes at a time: whole blocks, and half a minute to a minute of a core's time."""

COLUMNS = (*DOCUMENT.ids, "title", "text")
FORMATS = (*LINED, ".parquet")


@dataclass(frozen=True)
class Part:
    """Lines of a JSON file, or one row group of a Parquet file.

    Attributes:
        path: Of the file; with its protocol, where it is not a local one.
        start: Offset of the first byte, or number of the row group.
        stop: Offset after the last byte, or number of the next row group.
        first: Number of the first line or row, from 1.
        count: How many lines or rows.
    """

    path: str
    start: int
    stop: int
    first: int
    count: int

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows with `text` and, where they have them, `_id` and `title`; each with its place, `path:number`.

        Raises:
            InvalidInputError: If the file cannot be read, or a line is no JSON object; the message names file and line.
        """
        with _readable(self.path):
            yield from self._groups() if self.path.endswith(".parquet") else self._lines()

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with _open(self.path) as file:
            file.seek(self.start)
            yield from rows((file.readline() for _ in range(self.count)), self.path, self.first)

    def _groups(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with _open(self.path) as file:
            table = _parquet(file)
            known = [name for name in COLUMNS if name in table.schema_arrow.names]
            number = self.first
            for batch in table.iter_batches(BLOCK, row_groups=range(self.start, self.stop), columns=known):
                for row in batch.to_pylist():
                    fields = {name: value for name, value in row.items() if value is not None}
                    yield f"{self.path}:{number}", fields
                    number += 1


def parts(sources: Sequence[str]) -> list[Part]:
    """The parts of files and folders, in the order of their names.

    Of a folder with `corpus.jsonl` (BEIR) that file is taken, else every `.jsonl`, `.ndjson` and `.parquet` file in it and below.

    Args:
        sources: Paths, or URLs of what fsspec opens, such as `s3://bucket/folder` with the package s3fs.

    Raises:
        InvalidInputError: If something is not there, is of another format, or cannot be read.
    """
    files = dict.fromkeys(file for source in sources for file in _files(source))
    return [part for file in files for part in (_row_groups(file) if file.endswith(".parquet") else _line_parts(file))]


def _files(source: str) -> list[str]:
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    with _readable(source):
        system, root = url_to_fs(source)
        if not system.exists(root):
            raise InvalidInputError(f"there is no file or folder {source!r}")
        paths = [root]
        if system.isdir(root):
            corpus = f"{root}/corpus.jsonl"
            paths = [corpus] if system.exists(corpus) else sorted(path for path in system.find(root) if path.endswith(FORMATS))
        if not paths or not paths[0].endswith(FORMATS):
            raise InvalidInputError(f"{source!r} is, or holds, no file of documents; they end in {', '.join(LINED)} or .parquet")
        return paths if isinstance(system, LocalFileSystem) else [system.unstrip_protocol(path) for path in paths]


def _line_parts(path: str) -> Iterator[Part]:
    with _readable(path), _open(path) as file:
        start = stop = count = 0
        first = 1
        while line := file.readline(LONGEST + 1):
            if len(line) > LONGEST:
                raise InvalidInputError(f"{path}:{first + count} has more than {LONGEST:,} bytes; split or take out that line")
            stop, count = stop + len(line), count + 1
            if count == LINES:
                yield Part(path, start, stop, first, count)
                start, first, count = stop, first + count, 0
        if count:
            yield Part(path, start, stop, first, count)


def _row_groups(path: str) -> Iterator[Part]:
    with _readable(path), _open(path) as file:
        table = _parquet(file)
        if "text" not in table.schema_arrow.names:
            raise InvalidInputError(
                f"{path} has no column 'text', but {', '.join(table.schema_arrow.names)}; rename the one to read"
            )
        first = 1
        for number in range(table.num_row_groups):
            count = table.metadata.row_group(number).num_rows
            yield Part(path, number, number + 1, first, count)
            first += count


def _open(path: str) -> Any:
    import fsspec

    return fsspec.open(path, "rb").open()


def _parquet(file: Any) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as missing:
        raise InvalidInputError("Parquet files need pyarrow: pip install 'ragguard-defense[ingest]'") from missing
    return ParquetFile(file)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except InvalidInputError:
        raise
    except (OSError, ImportError, ValueError) as error:  # the latter of fsspec, and of pyarrow for damaged files
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
