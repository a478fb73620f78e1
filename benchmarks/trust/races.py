"""Readers and one writer at once, in threads and in processes: what is read is whole, and what it must be."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trust.kills import PROCESSES
from benchmarks.trust.writes import KEYS, TEXTS, evidence, same
from ragguard.evidence import SQLStore
from ragguard.index import DenseIndex
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.types import Document

READERS = 3
BATCH = 20
ITEMS = {key: evidence(i, dimension=64) for i, key in enumerate(KEYS)}
MOVING = [Document(f"moving-{i}", f"A painted hall of number {i} that comes and goes.") for i in range(200)]
MOVED = {one.id: one.text for one in MOVING}


def races(seconds: float, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Each of three races for so long: a store between threads, a store between processes, an index between threads.

    Returns:
        `race_reads`, `race_wrong` (something else than what was written, or an error), and what happened in each race.
    """
    found: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "evidence.db"
        with ThreadPoolExecutor(READERS + 1) as threads, SQLStore(path, cached=1) as store:
            jobs = [threads.submit(_read, store, seconds, i) for i in range(READERS)]
            found["store, threads"] = _all([threads.submit(_write, store, seconds), *jobs])
        say(f"raced: store, threads: {dict(found['store, threads'])}")
        with ProcessPoolExecutor(READERS + 1, mp_context=PROCESSES) as processes:
            jobs = [processes.submit(_open_and_read, path, seconds, i) for i in range(READERS)]
            found["store, processes"] = _all([processes.submit(_open_and_write, path, seconds), *jobs])
        say(f"raced: store, processes: {dict(found['store, processes'])}")
    index = DenseIndex(WordHashEncoder(), backend="faiss")
    index.add(DOCUMENTS)
    with ThreadPoolExecutor(READERS + 1) as threads:
        asked = [threads.submit(_ask, index, seconds) for _ in range(READERS)]
        found["index, threads"] = _all([threads.submit(_change, index, seconds), *asked])
    say(f"raced: index, threads: {dict(found['index, threads'])}")
    total = sum((one for one in found.values()), Counter())
    fine = total["read"] + total["written"]
    return {"race_reads": total["read"], "race_wrong": total.total() - fine, "races": found}


def _all(jobs: list[Future[Counter[str]]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for job in jobs:
        try:
            found += job.result()
        except Exception as error:  # counted: nothing may be raised
            found[repr(error)[:300]] += 1
    return found


def _open_and_read(path: Path, seconds: float, seed: int) -> Counter[str]:
    with SQLStore(path, cached=1) as store:
        return _read(store, seconds, seed)


def _open_and_write(path: Path, seconds: float) -> Counter[str]:
    with SQLStore(path, cached=1) as store:
        return _write(store, seconds)


def _read(store: SQLStore, seconds: float, seed: int) -> Counter[str]:
    logging.getLogger("ragguard").setLevel(logging.ERROR)
    generator, end, found = np.random.default_rng(seed), time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        keys = [KEYS[row] for row in generator.permutation(len(KEYS))[:BATCH].tolist()]
        items = dict(zip(keys, store.get(keys), strict=True))
        wrong = any(item is not None and not same(item, ITEMS[key]) for key, item in items.items())
        found["wrong" if wrong else "read"] += 1
    return found


def _write(store: SQLStore, seconds: float) -> Counter[str]:
    generator, end, found = np.random.default_rng(99), time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        keys = [KEYS[row] for row in generator.permutation(len(KEYS))[:BATCH].tolist()]
        store.put({key: ITEMS[key] for key in keys})
        found["written"] += 1
        if found["written"] % 10 == 0:
            store.vacuum([TEXTS[row] for row in generator.permutation(len(TEXTS))[:BATCH].tolist()])
    return found


def _ask(index: DenseIndex, seconds: float) -> Counter[str]:
    end, found = time.monotonic() + seconds, Counter[str]()
    texts = {**MOVED, **{one.id: one.text for one in DOCUMENTS}}
    first = DOCUMENTS[0].id
    while time.monotonic() < end:
        hits = index.retrieve(QUERY, len(texts))
        ids = [hit.document.id for hit in hits]
        whole = len(set(ids)) == len(ids) and {one.id for one in DOCUMENTS} <= set(ids) and ids[0] == first
        whole = whole and all(hit.document.text == texts[hit.document.id] for hit in hits)
        whole = whole and all(better.score >= worse.score for better, worse in pairwise(hits))
        found["read" if whole else "wrong"] += 1
    return found


def _change(index: DenseIndex, seconds: float) -> Counter[str]:
    generator, end, found = np.random.default_rng(7), time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        some = [MOVING[row] for row in generator.permutation(len(MOVING))[:BATCH].tolist()]
        index.add(some)
        index.delete([one.id for one in some[: int(generator.integers(BATCH))]])
        found["written"] += 1
    return found
