"""How long encoding and ingestion take, with nothing from the cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from ragguard.encoders.vectors import encode_one_query
from ragguard.evaluation.cache import CachedEncoder
from ragguard.types import Document


def encoding_ms(encoder: CachedEncoder, queries: Sequence[str]) -> float:
    """Median milliseconds to encode a query that nobody asked before.

    Args:
        encoder: Encodes them afresh.
        queries: At least one.
    """
    times = []
    with encoder.live():
        for query in queries:
            start = time.perf_counter()
            encode_one_query(encoder, f"{query} ")  # a space: not among the remembered ones
            times.append((time.perf_counter() - start) * 1000)
    return round(median(times), 3)


def ingest_ratio(
    encoder: CachedEncoder,
    documents: Sequence[Document],
    prepares: Mapping[str, Callable[[Sequence[Document]], None]],
    count: int,
) -> dict[str, float]:
    """Time to embed documents and prepare evidence, over the time to embed them, by system.

    Documents are drawn from the corpus, embedded and prepared afresh; others for each system, which may share a store. A word is
    added to each, since a guard that was calibrated on the corpus has evidence of its documents.

    Args:
        encoder: Encodes them afresh.
        documents: The corpus.
        prepares: What computes evidence, by the name of its system.
        count: How many documents are drawn for each system, at most.
    """
    rows = np.random.default_rng(0).permutation(len(documents)).tolist()
    count = min(count, len(rows))
    ratios = {}
    with encoder.live():
        for number, (name, prepare) in enumerate(prepares.items()):
            sample = [documents[rows[(number * count + i) % len(rows)]] for i in range(count)]
            sample = [replace(document, text=f"again {document.text}") for document in sample]
            start = time.perf_counter()
            encoder.encode_document([document.text for document in sample])
            middle = time.perf_counter()
            prepare(sample)
            ratios[name] = round((time.perf_counter() - start) / (middle - start), 2)
    return ratios
