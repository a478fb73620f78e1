"""Can RAGPart's fragments be made of the guard's windows, which are embedded anyway? Vectors, rankings and ASR, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.compare_defenses import CACHE
from ragguard.defenses import RAGPart
from ragguard.demo.scenario import DATA
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evidence import EvidenceBuilder, MemoryStore, WindowPlan
from ragguard.index import DenseIndex
from ragguard.text import canonical, fragments
from ragguard.types import Document, Evidence, Hit, Span

K, CANDIDATES, POISONED, SEED = 10, 20, 3, 0
WINDOWS = MemoryStore()


class FromWindows(RAGPart):
    """RAGPart, each of whose fragments is the mean of the windows it shares characters with, weighted by how many."""

    def fragments(self, texts: Sequence[str]) -> list[Evidence]:
        """As of RAGPart."""
        windows = EvidenceBuilder(self.encoder, WindowPlan(), WINDOWS).get(texts)
        return [_made(text, found, self.settings.n) for text, found in zip(texts, windows, strict=True)]


def _made(text: str, windows: Evidence, n: int) -> Evidence:
    cuts = fragments(text, n)
    shared = np.array([[_shared(cut, window) for (window,) in windows.spans] for cut in cuts], dtype=np.float32)
    rows = shared @ windows.vectors
    return Evidence(tuple((cut,) for cut in cuts), rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _shared(one: Span, other: Span) -> int:
    return max(min(one.end, other.end) - max(one.start, other.start), 0)


def measure() -> dict[str, Any]:
    """On the demo corpus; the query is put before each of three random passages."""
    dataset = datasets.load(DATA)
    encoder = CachedEncoder(SentenceTransformerEncoder.offline(progress=False), CACHE)
    index = DenseIndex(encoder)
    index.add(dataset.documents)
    generator = np.random.default_rng(SEED)
    defenses = {"fragments": RAGPart.paper(encoder), "windows": FromWindows(encoder)}
    queries = list(dataset.queries.values())
    cosines: list[float] = []
    tops: dict[str, list[set[str]]] = {name: [] for name in defenses}
    hit = dict.fromkeys(defenses, 0)
    for query in queries:
        clean = index.retrieve(query, CANDIDATES)
        texts = [canonical(one.document.text).text for one in clean]
        pairs = zip(*(defense.fragments(texts) for defense in defenses.values()), strict=True)
        cosines += [float(cosine) for one, other in pairs for cosine in (one.vectors * other.vectors).sum(axis=1)]
        poison = [
            Document(f"poison-{i}", f"{query} {dataset.documents[row].text}")
            for i, row in enumerate(generator.integers(len(dataset.documents), size=POISONED).tolist())
        ]
        scores = encoder.encode_document([one.text for one in poison]) @ encoder.encode_query([query])[0]
        attacked = [*clean, *(Hit(one, float(score)) for one, score in zip(poison, scores, strict=True))]
        attacked = sorted(attacked, key=lambda one: -one.score)[:CANDIDATES]
        for name, defense in defenses.items():
            tops[name].append({one.document.id for one in defense(query, clean, K).kept})
            hit[name] += any(one.document.id.startswith("poison-") for one in defense(query, attacked, K).kept)
    same = [one == other for one, other in zip(*tops.values(), strict=True)]
    shared = [len(one & other) / K for one, other in zip(*tops.values(), strict=True)]
    found = {
        "fragment_cosine_mean": round(float(np.mean(cosines)), 3),
        "fragment_cosine_p05": round(float(np.quantile(cosines, 0.05)), 3),
        "clean_top_10_the_same": round(float(np.mean(same)), 3),
        "clean_top_10_shared": round(float(np.mean(shared)), 3),
        **{f"asr_at_10_{name}": count / len(queries) for name, count in hit.items()},
    }
    print(found)
    return report.about(
        dataset="the demo corpus", encoder=OFFLINE_MODEL, seed=SEED, queries=len(queries), candidates=CANDIDATES, **found
    )


if __name__ == "__main__":
    measure()
