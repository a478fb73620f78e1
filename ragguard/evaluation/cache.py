"""Embeddings on disk, by content hash, so that a benchmark embeds a text once and not once a run."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ragguard.protocols import Encoder
from ragguard.types import Vectors

BLOCK = 2048
"""Texts embedded between two writes: what an interrupted run loses at most."""


class CachedEncoder:
    """Any encoder, with its vectors kept in one SQLite file per encoder. Times measured through it are not the encoder's."""

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        """Open or make the encoder's file.

        Args:
            encoder: What embeds texts that are not in the file yet.
            folder: Where the files lie.
        """
        self._encoder = encoder
        self.name, self.dimension = encoder.name, encoder.dimension
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', encoder.name)}.sqlite"
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("CREATE TABLE IF NOT EXISTS v (k BLOB PRIMARY KEY, x BLOB)")

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """As the encoder; shape (len(texts), d)."""
        return self._encode("q:", texts, self._encoder.encode_query)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """As the encoder; shape (len(texts), d)."""
        return self._encode("d:", texts, self._encoder.encode_document)

    def _encode(self, kind: str, texts: Sequence[str], method: Callable[[Sequence[str]], Vectors]) -> Vectors:
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
        found: dict[bytes, Vectors] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), 500):
            block = wanted[start : start + 500]
            marks = ",".join("?" * len(block))
            for key, data in self._connection.execute(f"SELECT k, x FROM v WHERE k IN ({marks})", block):  # noqa: S608
                found[key] = np.frombuffer(data, dtype=np.float32)
        return found
