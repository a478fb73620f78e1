"""Embeddings and optimised triggers on disk, so that a benchmark computes each once and not once a run."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder
from ragguard.types import Vectors

BLOCK = 2048
"""Texts embedded between two writes: what an interrupted run loses at most."""


class CachedEncoder:
    """Any encoder, with its vectors kept in one SQLite file per encoder, by content hash."""

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        """Open or make the encoder's file.

        Args:
            encoder: What embeds texts that are not in the file yet.
            folder: Where the files lie; None keeps vectors in memory.

        Raises:
            InvalidInputError: If the file is damaged.
        """
        self.encoder = encoder
        self.name, self.dimension = encoder.name, encoder.dimension
        self._live = False
        self._lock = threading.Lock()
        self._connection = _open(folder, encoder.name, "CREATE TABLE IF NOT EXISTS v (k BLOB PRIMARY KEY, x BLOB)")

    @contextmanager
    def live(self) -> Iterator[None]:
        """While this lasts nothing is looked up or kept, so that times are the encoder's own."""
        self._live = True
        try:
            yield
        finally:
            self._live = False

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """As the encoder; shape (len(texts), d)."""
        return self._encode("q:", texts, self.encoder.encode_query)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """As the encoder; shape (len(texts), d)."""
        return self._encode("d:", texts, self.encoder.encode_document)

    def _encode(self, kind: str, texts: Sequence[str], method: Callable[[Sequence[str]], Vectors]) -> Vectors:
        if self._live:
            return method(texts)
        keys = [hashlib.sha256(f"{kind}{text}".encode("utf-8", "surrogatepass")).digest() for text in texts]
        with self._lock:
            known = self._read(set(keys))
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            names = list(missing)
            for start in range(0, len(names), BLOCK):
                block = names[start : start + BLOCK]
                fresh = np.asarray(method([missing[key] for key in block]), dtype=np.float32)
                with self._connection:
                    rows = [(key, vector.tobytes()) for key, vector in zip(block, fresh, strict=True)]
                    self._connection.executemany("INSERT OR REPLACE INTO v VALUES (?, ?)", rows)
                known.update(zip(block, fresh, strict=True))
        return np.stack([known[key] for key in keys]) if keys else np.empty((0, self.dimension), dtype=np.float32)

    def _read(self, keys: set[bytes]) -> dict[bytes, Vectors]:
        vectors: dict[bytes, Vectors] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), 500):
            block = wanted[start : start + 500]
            marks = ",".join("?" * len(block))
            for key, data in self._connection.execute(f"SELECT k, x FROM v WHERE k IN ({marks})", block):  # noqa: S608
                vectors[key] = np.frombuffer(data, dtype=np.float32)
        return vectors


class TextCache(MutableMapping[str, str]):
    """Texts by key in one SQLite file: triggers that took long to optimise."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open or make the file `texts.sqlite` in a folder; None keeps texts in memory."""
        self._connection = _open(folder, "texts", "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, x TEXT)")

    def __getitem__(self, key: str) -> str:
        row = self._connection.execute("SELECT x FROM t WHERE k = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return str(row[0])

    def __setitem__(self, key: str, text: str) -> None:
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (key, text))

    def __delitem__(self, key: str) -> None:
        with self._connection:
            if self._connection.execute("DELETE FROM t WHERE k = ?", (key,)).rowcount == 0:
                raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (str(row[0]) for row in self._connection.execute("SELECT k FROM t").fetchall())

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM t").fetchone()[0])


def _open(folder: Path | None, name: str, table: str) -> sqlite3.Connection:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    path = ":memory:" if folder is None else str(folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.sqlite")
    try:
        connection = sqlite3.connect(path, check_same_thread=False, timeout=60)
        connection.execute(table)
    except sqlite3.Error as error:
        raise InvalidInputError(f"the cache {path} cannot be used; delete it, or give another folder: {error}") from error
    return connection
