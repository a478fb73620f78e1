"""Encoders against torch in fp32: how fast they are, how far their vectors lie, and what changes in rankings and verdicts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.compare_defenses import CACHE
from benchmarks.timing import milliseconds
from ragguard.defenses import CalibratedGuard, RAGMask
from ragguard.encoders import OFFLINE_MODEL, OnnxEncoder, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.sources import with_sources
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.types import Document, Hit

K, CANDIDATES, SEED = 10, 20, 0
DOCUMENTS, CALIBRATING, ASKED, MASKED = 500, 200, 100, 20
"""The corpus, and the queries that calibrate, that are asked of the guard, and of RAGMask, which is dear."""

ROUNDS, AT_ONCE, ALONE = 5, 48, 16
"""Of the stopwatch: documents and windows of ten words that are encoded together, and queries that come one by one."""


def measure() -> dict[str, Any]:
    """The first of the encoders is what the others are compared with; empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    models: dict[str, SentenceTransformerEncoder] = {
        "torch fp32": SentenceTransformerEncoder.offline(device="cpu", progress=False),
        "ONNX fp32": OnnxEncoder.offline(precision="fp32", progress=False),
        "ONNX int8": OnnxEncoder.offline(precision="int8", progress=False),
    }
    return compare(models, Path(folder) / "nq_dev")


def compare(models: Mapping[str, SentenceTransformerEncoder], folder: Path) -> dict[str, Any]:
    """Encoders of one model on one dataset, against the first."""
    import torch

    found = datasets.load(folder)
    asked = dict(list(found.queries.items())[: CALIBRATING + ASKED])
    answers = frozenset().union(*(found.relevant[query_id] for query_id in asked))
    queries = list(asked.values())
    ordered = sorted(found.documents, key=lambda document: document.id not in answers)  # what answers them, then others
    documents = with_sources(ordered[:DOCUMENTS], SEED)
    speed = _speed(models, [document.text for document in documents], queries)
    judged = {name: _Judged(CachedEncoder(model, CACHE), documents, queries) for name, model in models.items()}
    reference = next(iter(judged.values()))
    rows = [{"encoder": name, "name": models[name].name, **speed[name], **one.against(reference)} for name, one in judged.items()]
    for row in rows:
        print(row)
    return report.about(
        dataset=folder.name,
        encoder=OFFLINE_MODEL,
        seed=SEED,
        threads=torch.get_num_threads(),
        documents=len(documents),
        calibrated_on=CALIBRATING,
        queries=ASKED,
        queries_masked=MASKED,
        candidates=CANDIDATES,
        encoders=rows,
    )


def _speed(
    models: Mapping[str, SentenceTransformerEncoder], texts: Sequence[str], queries: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Times in milliseconds and how many times as fast as the first, all interleaved; medians over rounds."""
    windows = [" ".join(text.split()[:10]) for text in texts[:AT_ONCE]]
    kinds = ("documents", "windows", "query")
    times: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in models for kind in kinds}
    for turn in range(ROUNDS):
        for name, model in models.items():
            times[name, "documents"].append(milliseconds(lambda: model.encode_document(texts[:AT_ONCE])))  # noqa: B023
            times[name, "windows"].append(milliseconds(lambda: model.encode_document(windows)))  # noqa: B023
            for query in queries[turn * ALONE : (turn + 1) * ALONE]:  # never one again: the encoder remembers queries
                times[name, "query"].append(milliseconds(lambda: model.encode_query([query])))  # noqa: B023
    ms = {key: median(found) for key, found in times.items()}
    first = next(iter(models))
    return {
        name: {
            **{f"{kind}_ms": round(ms[name, kind] / (1 if kind == "query" else AT_ONCE), 2) for kind in kinds},
            **{f"{kind}_times_as_fast": round(ms[first, kind] / ms[name, kind], 2) for kind in kinds},
        }
        for name in models
    }


class _Judged:
    """What one encoder makes of the corpus: vectors, rankings, and the verdicts of defenses that were calibrated with it."""

    def __init__(self, encoder: CachedEncoder, documents: Sequence[Document], queries: Sequence[str]) -> None:
        self.queries = queries[CALIBRATING:]
        self.vectors = encoder.encode_document([document.text for document in documents])
        self.query_vectors = encoder.encode_query(self.queries)
        index = DenseIndex(encoder)
        index.add(documents)
        self.hits = [index.retrieve(query, CANDIDATES) for query in self.queries]
        calibrating = queries[:CALIBRATING]
        self.guard = CalibratedGuard.calibrated(encoder, index, documents, calibrating, k=K, store=MemoryStore())
        self.ragmask = RAGMask(encoder)
        self.poison = [
            replace(documents[i], id=f"poison-{i}", text=f"{query} {documents[i].text}") for i, query in enumerate(self.queries)
        ]

    def against(self, reference: _Judged) -> dict[str, Any]:
        """Drift, and verdicts on the candidates that the reference retrieved, each followed by a copied question's document."""
        cosines = (self.vectors * reference.vectors).sum(axis=1)
        query_cosines = (self.query_vectors * reference.query_vectors).sum(axis=1)
        overlap = [
            len({hit.document.id for hit in mine[:K]} & {hit.document.id for hit in theirs[:K]}) / K
            for mine, theirs in zip(self.hits, reference.hits, strict=True)
        ]
        asked = [
            (query, [Hit(poison, hits[0].score), *hits])
            for query, hits, poison in zip(self.queries, reference.hits, reference.poison, strict=True)
        ]
        mine, theirs = _actions(self.guard, asked), _actions(reference.guard, asked)
        masked, masked_before = (_actions(one.ragmask, asked[:MASKED]) for one in (self, reference))
        return {
            "document_cosine_mean": round(float(cosines.mean()), 4),
            "document_cosine_min": round(float(cosines.min()), 4),
            "query_cosine_mean": round(float(query_cosines.mean()), 4),
            "query_cosine_min": round(float(query_cosines.min()), 4),
            "top_10_overlap": round(float(np.mean(overlap)), 4),
            "first_result_same": round(
                float(np.mean([a[0].document.id == b[0].document.id for a, b in zip(self.hits, reference.hits, strict=True)])), 4
            ),
            "guard_verdicts": len(mine),
            "guard_verdicts_changed": _changed(mine, theirs),
            "guard_copies_dropped": sum(action == "drop" for (_, found), action in mine.items() if found.startswith("poison-")),
            "guard_others_dropped": sum(
                action == "drop" for (_, found), action in mine.items() if not found.startswith("poison-")
            ),
            "ragmask_verdicts": len(masked),
            "ragmask_verdicts_changed": _changed(masked, masked_before),
        }


def _actions(defense: Defense, asked: Sequence[tuple[str, Sequence[Hit]]]) -> dict[tuple[str, str], str]:
    return {(query, verdict.document_id): verdict.action for query, hits in asked for verdict in defense(query, hits, K).verdicts}


def _changed(mine: Mapping[tuple[str, str], str], theirs: Mapping[tuple[str, str], str]) -> int:
    return sum(mine[key] != theirs[key] for key in theirs)


if __name__ == "__main__":
    measure()
