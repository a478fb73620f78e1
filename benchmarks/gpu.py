"""What a device makes of the three kinds of work there are: embedding, evidence, exact search; each against its floor.

The floor is the larger of two times: that of the operations at the rate of large matrix products, and that of the bytes that must
move at the rate of a copy, both measured in the same run. Embedding and evidence are timed as users call them, with
tokenising, which is the processor's work and in no floor.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from benchmarks import encoders
from benchmarks.synthetic import Language
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.tokenizing import core
from ragguard.evaluation import datasets, report
from ragguard.evidence import EvidenceBuilder, MemoryStore, WindowPlan
from ragguard.text import windows

DTYPES: dict[str, tuple[Literal["float32", "float16"], ...]] = {"cpu": ("float32",), "cuda": ("float32", "float16")}
"""On a processor half precision is tens of times slower."""
BATCHES = {"cpu": (16,), "cuda": (64, 256, 1024)}
TEXTS = {"cpu": 16, "cuda": 4096}
CORPORA = {"cpu": (10_000, 100_000), "cuda": (100_000, 1_000_000, 10_000_000)}
SIDE, COPIED = {"cpu": 2048, "cuda": 8192}, {"cpu": 2**25, "cuda": 2**28}
"""Of the matrices whose product is timed; numbers that are copied, more than caches hold."""
ASKED, TOP, DIMENSION, REPEATS, SEED = (1, 64), 20, 384, 5, 0


def measure(device: str, model: str | None = None) -> dict[str, Any]:
    """All rates on one device, and what half precision changes there; a model has a name or path, or is the offline one."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    rates = {dtype: _rates(device, dtype, SIDE[kind], COPIED[kind]) for dtype in DTYPES[kind]}
    print(rates, flush=True)
    texts = list(Language([one.text for one in datasets.load(DATA).documents]).texts(TEXTS[kind], SEED))
    embedding = [
        _embedding(_encoder(model, device, dtype, batch), texts, rates[dtype])
        for dtype in DTYPES[kind]
        for batch in BATCHES[kind]
    ]
    search = [
        _search(device, dtype, corpus, asked, rates[dtype])
        for dtype in DTYPES[kind]
        for corpus in CORPORA[kind]
        for asked in ASKED
    ]
    return report.about(
        device=torch.cuda.get_device_name(device) if kind == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        encoder=OFFLINE_MODEL if model is None else model,
        dataset=f"{len(texts)} synthetic texts, words as in the demo corpus; random vectors of {DIMENSION} dimensions",
        seed=SEED,
        rates=rates,
        embedding=embedding,
        search=search,
        half_precision=_half_precision(model, device) if kind == "cuda" and "RAGGUARD_DATA" in os.environ else None,
    )


def _encoder(
    model: str | None, device: str, dtype: Literal["float32", "float16"], batch: int | None = None
) -> SentenceTransformerEncoder:
    if model is None:
        return SentenceTransformerEncoder.offline(device=device, dtype=dtype, batch_size=batch, progress=False)
    return SentenceTransformerEncoder(model, device=device, dtype=dtype, batch_size=batch, progress=False)


def _half_precision(model: str | None, device: str) -> list[dict[str, Any]]:
    """Drift of vectors, rankings and verdicts on nq_dev; see `benchmarks.encoders`."""
    models = {f"{dtype} on the device": _encoder(model, device, dtype) for dtype in DTYPES["cuda"]}
    found: list[dict[str, Any]] = encoders.compare(models, Path(os.environ["RAGGUARD_DATA"]) / "nq_dev")["encoders"]
    return found


def _rates(device: str, dtype: str, side: int, copied: int) -> dict[str, float]:
    """Operations of a matrix product and bytes of a copy (read and written), a second; the best of several."""
    form = getattr(torch, dtype)
    matrix = torch.randn(side, side, device=device).to(form)
    one, other = torch.ones(copied, device=device, dtype=form), torch.zeros(copied, device=device, dtype=form)
    product, copy = (min(_times(device, work)) for work in (lambda: matrix @ matrix, lambda: other.copy_(one)))
    return {"operations": round(2 * side**3 / product), "bytes": round(2 * one.numel() * one.element_size() / copy)}


def _embedding(encoder: SentenceTransformerEncoder, texts: Sequence[str], rates: dict[str, float]) -> dict[str, Any]:
    """Documents a second, plain and with the evidence of the default guard."""
    batch = encoder._batch_size
    encoder.encode_document(texts[:batch])  # the first batch pays for what is allocated
    pieces = [text[span.start : span.end] for text in texts for span in windows(text, WindowPlan.length, WindowPlan.stride)]
    plain = _seconds(lambda: encoder.encode_document(texts))
    evidence = _seconds(lambda: EvidenceBuilder(encoder, WindowPlan(), MemoryStore(len(texts))).prepare(texts))
    row: dict[str, Any] = {"dtype": encoder.name.rpartition("@")[2], "batch": batch}
    for name, seconds, embedded in (("plain", plain, texts), ("evidence", evidence, pieces)):
        row[f"{name}_per_s"] = round(len(texts) / seconds, 1)
        row[f"{name}_over_floor"] = round(seconds / _floor(encoder, embedded, batch, rates), 2)
    print(row, flush=True)
    return row


def _floor(encoder: SentenceTransformerEncoder, texts: Sequence[str], batch: int, rates: dict[str, float]) -> float:
    """Seconds for the operations of all layers, no padding, or for reading the layers' weights once a batch."""
    network: Any = encoder.model[0].auto_model
    weights = list(network.encoder.parameters())
    number = sum(weight.numel() for weight in weights)
    lengths = [len(ids) for ids in core(encoder.model.tokenizer)(texts, add_special_tokens=True)]
    layers, width = network.config.num_hidden_layers, network.config.hidden_size
    operations = sum(2 * number * length + 4 * layers * width * length**2 for length in lengths)
    read = -(-len(texts) // batch) * number * weights[0].element_size()
    return float(max(operations / rates["operations"], read / rates["bytes"]))


def _search(device: str, dtype: str, corpus: int, asked: int, rates: dict[str, float]) -> dict[str, Any]:
    """Milliseconds for the top of so many queries over vectors that the device holds."""
    generator = torch.Generator(device=device).manual_seed(SEED)
    form = getattr(torch, dtype)
    blocks = [
        torch.randn(min(10**6, corpus - start), DIMENSION, device=device, generator=generator).to(form)
        for start in range(0, corpus, 10**6)
    ]
    vectors = torch.cat(blocks)
    del blocks
    queries = torch.randn(asked, DIMENSION, device=device, generator=generator).to(form)
    seconds = median(_times(device, lambda: (queries @ vectors.T).topk(TOP).indices.cpu()))
    floor = max(2 * vectors.numel() * asked / rates["operations"], vectors.numel() * vectors.element_size() / rates["bytes"])
    row = {"dtype": dtype, "documents": corpus, "queries": asked, "ms": round(1000 * seconds, 3)}
    row |= {"floor_ms": round(1000 * floor, 3), "over_floor": round(seconds / floor, 2)}
    print(row, flush=True)
    return row


def _times(device: str, work: Callable[[], object]) -> list[float]:
    work()
    found = []
    for _ in range(REPEATS):
        _synchronise(device)
        start = time.perf_counter()
        work()
        _synchronise(device)
        found.append(time.perf_counter() - start)
    return found


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def main() -> None:
    """Measure and write `OUT/gpu_DEVICE.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", help="name or path of a sentence-transformers model; the offline one without")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    result = measure(given.device, given.model)
    name = re.sub(r"\W+", "_", result["device"].partition(",")[0].lower())
    (given.out / f"gpu_{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
