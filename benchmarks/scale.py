"""What the default guard costs as its corpus grows to a million documents: ingestion, disk, memory, and time of a query.

Vectors and texts are synthetic (`benchmarks.synthetic`), all else is what a service runs: the default guard, calibrated, with its
evidence in an SQLite file of fp16. Each size is measured in processes of its own, so that their memory is: the plain index; the
same with a guard that ingests; the same with that guard, loaded by a process that starts again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import scale_plot
from benchmarks.synthetic import HashEncoder, Language
from benchmarks.timing import milliseconds
from ragguard.defenses import CalibratedGuard, default_guard, prepare
from ragguard.demo.scenario import DATA
from ragguard.evaluation import datasets, report
from ragguard.evidence import SQLStore
from ragguard.index import DenseIndex
from ragguard.language.corpus import SAMPLE
from ragguard.retriever import GuardedRetriever
from ragguard.types import Document, Hit, Vectors

SIZES = (1_000, 10_000, 100_000)
"""A million takes some 15 GB of disk and most of an hour on two slow cores: `--sizes 1000 10000 100000 1000000`."""

K, CALIBRATING, ASKED, WORDS, SEED = 10, 200, 200, 10, 0
BLOCK = 10_000
PROBES = 16
"""Lists that the IVF index searches, of as many as the square root of the number of documents."""


class Remembered:
    """A retriever that was asked before, so that what is left of a query's time is the guard's."""

    def __init__(self, retriever: DenseIndex, queries: Sequence[str]) -> None:
        self._retriever = retriever
        self._found = {query: retriever.retrieve(query, 2 * K) for query in queries}

    def retrieve(self, query: str, k: int) -> list[Hit]:
        """As the retriever; asked for more than the guard begins with, it has to search."""
        return self._found[query] if k == 2 * K else self._retriever.retrieve(query, k)


class TimedEncoder(HashEncoder):
    """Counts its own seconds, which are no part of what is measured."""

    seconds = 0.0

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """As the encoder."""
        start = time.perf_counter()
        found = super().encode_document(texts)
        self.seconds += time.perf_counter() - start
        return found

    encode_query = encode_document


def plain(size: int, _: Path) -> dict[str, Any]:
    """The index without a guard, and the time of an approximate one."""
    import faiss

    encoder, index, language = _corpus(size)
    queries = list(language.texts(ASKED, SEED + 2, WORDS))
    found = {**_memory("plain"), **_quantiles("flat", [milliseconds(partial(index.retrieve, one, 2 * K)) for one in queries])}
    lists = int(size**0.5)
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(encoder.dimension), encoder.dimension, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.nprobe = PROBES
    texts = [document.text for document in index.documents]
    ivf.train(encoder.encode_document(texts[: 64 * lists]))
    for start in range(0, size, BLOCK):
        ivf.add(encoder.encode_document(texts[start : start + BLOCK]))
    vectors = encoder.encode_query(queries)
    return {**found, **_quantiles("ivf", [milliseconds(partial(ivf.search, row[None], 2 * K)) for row in vectors])}


def ingest(size: int, folder: Path) -> dict[str, Any]:
    """Calibrate, embed everything into the file, and save the guard."""
    encoder, index, language = _corpus(size)
    path = folder / "evidence.db"
    with SQLStore(path) as store:
        start, encoding = time.perf_counter(), encoder.seconds
        queries = list(language.texts(CALIBRATING, SEED + 1, WORDS))
        (guard,) = default_guard(encoder, index, index.documents, queries, k=K, store=store)
        calibrated, encoded = time.perf_counter(), encoder.seconds
        prepare([guard], index.documents)
        seconds, embedding = time.perf_counter() - calibrated, encoder.seconds - encoded
    if not isinstance(guard, CalibratedGuard):
        raise TypeError(f"the default guard of documents without sources is one CalibratedGuard, not {guard!r}")
    guard.save(folder / "guard.json")
    return {
        **_memory("ingesting"),
        "calibrating_s": round(calibrated - start - (encoded - encoding), 1),
        "ingesting_s": round(seconds - embedding, 1),
        "ingested_per_s": round(size / (seconds - embedding)),
        "synthetic_embedding_s": round(embedding, 1),
        "disk_bytes_per_document": round(path.stat().st_size / size),
    }


def serve(size: int, folder: Path) -> dict[str, Any]:
    """Load the guard; ask queries as the first after a start, all evidence on disk; then all of them twice."""
    encoder, index, language = _corpus(size)
    path = folder / "evidence.db"
    queries = list(language.texts(ASKED, SEED + 2, WORDS))
    remembered = Remembered(index, queries)
    start = time.perf_counter()
    with SQLStore(path) as store, path.open("rb") as file:
        guard = CalibratedGuard.load(folder / "guard.json", encoder, index.documents, store=store)
        loading = time.perf_counter() - start
        guarded = GuardedRetriever(remembered, [guard])
        cold = []
        for query in queries:
            guard._profiles._built.clear()
            store._recent.clear()
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # the system's own cache
            cold.append(_added(guarded, query))
        _, warm = ([_added(guarded, query) for query in queries] for _ in range(2))
        found = {**_quantiles("disk", [ms for ms, _ in cold]), **_quantiles("warm", [ms for ms, _ in warm])}
        cpu = {"disk_cpu_ms": median(cpu for _, cpu in cold), "warm_cpu_ms": median(cpu for _, cpu in warm)}
        rounded = {name: round(ms, 2) for name, ms in cpu.items()}
        return {**found, **rounded, "loading_s": round(loading, 1), **_memory("serving")}


STAGES: dict[str, Callable[[int, Path], dict[str, Any]]] = {"plain": plain, "ingest": ingest, "serve": serve}


def _added(guarded: GuardedRetriever, query: str) -> tuple[float, float]:
    """Milliseconds that passed, and those of the thread on the processor, which other programs on the machine change less."""
    cpu = time.thread_time()
    ms = milliseconds(lambda: guarded.retrieve(query, K))
    return ms, 1000 * (time.thread_time() - cpu)


def _corpus(size: int) -> tuple[TimedEncoder, DenseIndex, Language]:
    """The plain index of the first so many synthetic documents, which hold the texts, too."""
    encoder, language = TimedEncoder(), _language()
    index = DenseIndex(encoder, backend="faiss")
    texts = language.texts(size, SEED)
    for start in range(0, size, BLOCK):
        index.add([Document(str(start + i), text) for i, text in enumerate(islice(texts, BLOCK))])
    return encoder, index, language


def _language() -> Language:
    folder = os.environ.get("RAGGUARD_DATA", "")
    return Language([document.text for document in datasets.load(Path(folder) / "nq_dev" if folder else DATA).documents])


def _memory(name: str) -> dict[str, float]:
    """Megabytes that the process has, and had at most."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {f"{name}_mb": round(pages * resource.getpagesize() / 1e6), f"{name}_peak_mb": round(peak * 1024 / 1e6)}


def _quantiles(name: str, ms: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(ms, [50, 99]).tolist()
    return {f"{name}_ms_p50": round(p50, 2), f"{name}_ms_p99": round(p99, 2)}


def _row(size: int, folder: Path) -> dict[str, Any]:
    """All stages of one size, each in a process of its own."""
    found: dict[str, Any] = {"documents": size}
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for stage in STAGES:
            command = [sys.executable, "-m", "benchmarks.scale", "--stage", stage, "--sizes", str(size), "--out", made]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            found |= json.loads(done.stdout.splitlines()[-1])
    found["guard_mb"] = found["serving_mb"] - found["plain_mb"]
    found["guard_peak_mb"] = max(found["ingesting_peak_mb"], found["serving_peak_mb"]) - found["plain_peak_mb"]
    return found


def growth(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Exponent with which a number grows between the smallest corpus and the largest: 1 is linear, 0 is not at all."""
    first, last = rows[0], rows[-1]
    return round(float(np.log(last[key] / first[key]) / np.log(last["documents"] / first["documents"])), 3)


def measure(sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    """All sizes, ascending."""
    rows = []
    for size in sorted(sizes):
        rows.append(_row(size, folder))
        print(rows[-1], flush=True)
    language = _language()
    timed = ("flat_ms_p50", "ivf_ms_p50", "disk_ms_p50", "warm_ms_p50", "disk_cpu_ms", "warm_cpu_ms")
    return report.about(
        dataset="synthetic texts and vectors; words as in "
        + ("nq_dev" if os.environ.get("RAGGUARD_DATA") else "the demo corpus"),
        encoder=f"{HashEncoder.name}, {HashEncoder().dimension} dimensions",
        new_words=round(language.new_word, 4),
        seed=SEED,
        queries=ASKED,
        candidates=2 * K,
        learned_at_most=SAMPLE,
        rows=rows,
        growth={key: growth(rows, key) for key in timed} if len(rows) > 1 else {},
    )


def main() -> None:
    """Measure and write `OUT/scale.json` with its picture; `OUT` has room for the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.stage:
        print(json.dumps(STAGES[given.stage](given.sizes[0], given.out)))
        return
    result = measure(given.sizes, given.out)
    (given.out / "scale.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    scale_plot.draw(result, given.out / "scale.svg")


if __name__ == "__main__":
    main()
