"""How many queries a second one process guards: one by one, from threads, and from one event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from ragguard.defenses import default_guard, prepare
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.index import DenseIndex
from ragguard.retriever import GuardedRetriever

K, CALIBRATING, SEED = 10, 60, 0
ASKED, ROUNDS = 256, 5
"""Queries of a round, none asked before."""

THREADS, IN_FLIGHT = 4, 64
LOSS = 0.05
"""There are too few queries for 2 %; the share does not change the work."""


def measure(model: str | Path | None = None) -> dict[str, Any]:
    """Rates, each query encoded on one core of the processor; medians of rounds in which the ways take turns.

    Args:
        model: Name or path; None takes the offline model.
    """
    import torch

    torch.set_num_threads(1)
    dataset = datasets.load(DATA)
    given = {"device": "cpu", "progress": False}
    encoder = SentenceTransformerEncoder(model, **given) if model else SentenceTransformerEncoder.offline(**given)  # type: ignore[arg-type]
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    queries = list(dataset.queries.values())
    defenses = default_guard(encoder, index, dataset.documents, queries[:CALIBRATING], k=K, max_clean_query_loss=LOSS)
    prepare(defenses, dataset.documents)
    guarded, number = GuardedRetriever(index, defenses), count()

    def one_by_one(asked: list[str]) -> None:
        for query in asked:
            guarded.retrieve(query, K)

    def threads(asked: list[str]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda query: guarded.retrieve(query, K), asked))

    async def in_flight(asked: list[str]) -> None:
        room = asyncio.Semaphore(IN_FLIGHT)

        async def ask(query: str) -> None:
            async with room:
                await guarded.aretrieve(query, K)

        await asyncio.gather(*map(ask, asked))

    def encoding(asked: list[str]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda query: encoder.encode_query([query]), asked))

    ways: dict[str, Callable[[list[str]], object]] = {
        "one_by_one": one_by_one,
        "four_threads": threads,
        "64_in_flight": lambda asked: asyncio.run(in_flight(asked)),
        "encoding_alone_one_by_one": lambda asked: [encoder.encode_query([query]) for query in asked],
        "encoding_alone_four_threads": encoding,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            asked = [f"{queries[i % len(queries)]} ({next(number)})" for i in range(ASKED)]
            start = time.perf_counter()
            way(asked)
            rates[name].append(ASKED / (time.perf_counter() - start))
    found = {name: median(one) for name, one in rates.items()}
    print(found, flush=True)
    return report.about(
        dataset="the demo corpus",
        seed=SEED,
        encoder=OFFLINE_MODEL if model is None else str(model),
        cores=os.cpu_count(),
        queries_a_second={name: round(rate, 1) for name, rate in found.items()},
        four_threads_over_one=round(found["four_threads"] / found["one_by_one"], 2),
        **{"64_in_flight_over_one": round(found["64_in_flight"] / found["one_by_one"], 2)},
        encoding_four_threads_over_one=round(found["encoding_alone_four_threads"] / found["encoding_alone_one_by_one"], 2),
    )
