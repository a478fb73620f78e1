"""Is it the number of poisoned documents that counts, or their share? ASR@10 while the honest corpus grows to a million.

Each query is attacked on its own by n documents, and ASR@10 is the mean over queries. An attack succeeds when its best document
beats the tenth best honest one, so the corpus enters through that one similarity: measured as far as there are documents, drawn
from a fitted tail beyond.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragguard.attacks import Attack, Budget, Family, Prepared, QueryCopy, Target, ThreatModel
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder
from ragguard.protocols import Encoder
from ragguard.text import canonical

Floats: TypeAlias = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "embeddings"
FOLDERS = ("nq_dev", "scifact", "msmarco_dev", "hotpot_dev")
K, QUERIES, SEED = 10, 50, 0
COUNTS = (1, 5, 50, 250)
SHARES = (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
MEASURED_SIZES, SIMULATED_SIZES = (1_000, 10_000), (100_000, 1_000_000)
"""Honest documents; the whole pool lies between the two."""
DRAWS = 50
"""Random subsets of the pool, or simulated corpora, over which each query's success is averaged."""
TAIL, OTHER_TAILS = 150, (60, 300)
"""The tail is fitted to one in so many documents; of these three, 150 predicted held-out documents best. See `sensitivity`."""
TOPIC = 20
"""Documents nearest to a query that are taken to be on its topic where the topic does not grow."""
SKIPPED = {"grows": 0, "stays": TOPIC}
"""What documents on a query's topic do as the corpus grows (see `LEFT_OUT`), and the ranks that the fit then leaves out."""
PUBLISHED: dict[str, Family] = {"poisonedrag-blackbox(Q.+I)": "A", "poisonedrag-llm": "B"}
"""Attack texts of the dataset, and their family."""
REPORTED = (
    {
        "source": "Souly et al. 2025, arXiv 2510.07192",
        "figure": "250 documents in the training data backdoor models of 600M to 13B parameters alike (training, not retrieval)",
    },
    {
        "source": "Zou et al. 2024, arXiv 2402.07867 (PoisonedRAG)",
        "figure": "five texts for each question, in a database of millions of texts: 90 % of the answers are the attacker's",
    },
)
LEFT_OUT = (
    "Simulated corpora repeat the pool's distribution of similarities. Two premises stand in for what a larger corpus is about: "
    "topic 'grows' draws documents on the query's own topic in the pool's proportion, which is high, as much of nq_dev was "
    f"collected around these very queries; topic 'stays' adds only what resembles the pool beyond each query's nearest {TOPIC}. "
    "We expect a real corpus of such documents between the two; near-duplicates and other domains are not modelled.",
    "Where the topic grows, the length of the fitted tail matters as much as the premise (`sensitivity`). It was chosen by the "
    "errors in `validation`, which therefore flatter a little. Intervals are over queries and know nothing of either.",
    "No defended system: beyond the pool there are no texts to defend, and within it one would cost more than all else here.",
)


@dataclass(frozen=True)
class Tail:
    """Upper tail of the similarities to each query: beyond a level, -log(1 - similarity) is exponential.

    The share of documents nearer than a distance then falls as a power of it, the exponent 1/scale being the local intrinsic
    dimension at the query (Amsaleg et al., KDD 2015); similarities stay below 1, which a Pareto tail of them does not ensure.

    Attributes:
        level: Of -log(1 - similarity), shape (queries,).
        scale: Mean excess over the level, shape (queries,).
        share: Share of documents beyond the level.
    """

    level: Floats
    scale: Floats
    share: float


def fit(similarities: Floats, take: int, skip: int = 0) -> Tail:
    """Fit a tail to the ranks after `skip`, `take` of them: Hill's estimator, which tolerates the loss of the first ranks.

    Args:
        similarities: Of all documents, shape (queries, documents).
        take: Ranks used.
        skip: First ranks that are left out, though counted.
    """
    last = skip + take
    y = -np.log1p(-np.minimum(best(similarities, last + 1), 1 - 1e-6))
    spacings = -np.diff(y, axis=1) * np.arange(1, last + 1)  # each is one independent draw of the excess
    return Tail(y[:, -1], spacings[:, skip:].mean(axis=1), last / similarities.shape[1])


def best(similarities: Floats, count: int) -> Floats:
    """The `count` largest of each row, falling."""
    top = np.partition(similarities, similarities.shape[1] - count, axis=1)[:, -count:]
    return np.asarray(-np.sort(-top, axis=1))


def grow(known: Floats, tail: Tail, more: int, draws: int, generator: np.random.Generator) -> Floats:
    """The k-th best of known similarities and those of `more` documents drawn from the tail.

    Args:
        known: The k best known ones of each query, shape (queries, k).
        tail: Where the rest comes from.
        more: How many documents are drawn, at least k.
        draws: Simulated corpora.
        generator: Of the draws.

    Returns:
        Shape (queries, draws).
    """
    queries, k = known.shape
    # Only the k largest of `more` uniform draws matter; as ratios of sums of exponentials, nothing else is drawn.
    sums = np.cumsum(generator.exponential(size=(queries, draws, k)), axis=2)
    exceeded = sums / (sums[:, :, -1:] + generator.gamma(more + 1 - k, size=(queries, draws, 1)))
    drawn = 1 - np.exp(-tail.level[:, None, None]) * (exceeded / tail.share) ** tail.scale[:, None, None]
    both = np.concatenate([drawn, np.broadcast_to(known[:, None, :], drawn.shape)], axis=2)
    return np.asarray(-np.partition(-both, k - 1, axis=2)[:, :, k - 1])


def chance(hits: NDArray[np.int64], written: int, count: int) -> Floats:
    """Probability that `count` documents, drawn from `written` of which `hits` succeed, hold one that does; shape as hits."""
    subsets = math.comb(written, count)
    by_hits = {hit: 1 - math.comb(written - hit, count) / subsets for hit in set(hits.tolist())}
    return np.asarray([by_hits[hit] for hit in hits.tolist()])


def success(poison: Sequence[Floats], levels: Floats, count: int) -> Floats:
    """Probability, for each query, that one of `count` of its poisoned documents is in the top k; shape (queries,).

    Args:
        poison: Similarities of the documents written against each query; where there are fewer than `count`, all are used.
        levels: k-th best honest similarity, shape (queries, draws).
        count: Poisoned documents.
    """
    rates = []
    for mine, level in zip(poison, levels, strict=True):
        hits = np.asarray((mine[None, :] > level[:, None]).sum(axis=1))
        rates.append(float(chance(hits, len(mine), min(count, len(mine))).mean()))
    return np.asarray(rates)


def wilson(share: float, n: int, z: float = 1.96) -> list[float]:
    """Wilson's 95 % interval of a share of n queries."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return [round(max(middle - half, 0.0), 3), round(min(middle + half, 1.0), 3)]


def levels_by_size(honest: Floats, generator: np.random.Generator) -> Iterator[tuple[int, str, Floats]]:
    """Corpus size, what its topic does ("measured" for real corpora), and the k-th best honest similarity (queries, draws)."""
    documents = honest.shape[1]
    for size in MEASURED_SIZES:
        subsets = (honest[:, generator.permutation(documents)[:size]] for _ in range(DRAWS))
        yield size, "measured", np.stack([best(subset, K)[:, -1] for subset in subsets], axis=1)
    known = best(honest, K)
    yield documents, "measured", known[:, -1:]
    for size in SIMULATED_SIZES:
        for topic, skip in SKIPPED.items():
            yield size, topic, grow(known, fit(honest, documents // TAIL, skip), size - documents, DRAWS, generator)


def validate(honest: Floats, poison: Sequence[Floats], held_in: int, generator: np.random.Generator) -> dict[str, Any]:
    """Fit on some documents, predict all: the k-th best honest similarity and the ASR of one document for each query.

    For a topic that stays it is the k-th best beyond the topic that is predicted.
    """
    documents = honest.shape[1]
    samples = [honest[:, generator.permutation(documents)[:held_in]] for _ in range(10)]
    found: dict[str, Any] = {"fitted_on": held_in, "predicted_for": documents}
    for topic, skip in SKIPPED.items():
        rank = skip + K
        real = best(honest, rank)[:, -1]
        predicted = [
            grow(
                best(sample, rank),
                fit(sample, max(held_in // TAIL, K), skip * held_in // documents),
                documents - held_in,
                DRAWS,
                generator,
            )
            for sample in samples
        ]
        off = np.stack([levels.mean(axis=1) - real for levels in predicted])
        found[topic] = {
            "rank": rank,
            "similarity_real": round(float(real.mean()), 4),
            "similarity_predicted": round(float(real.mean() + off.mean()), 4),
            "mean_absolute_error": round(float(np.abs(off).mean()), 4),
        }
        if not skip:
            rates = [float(success(poison, levels, 1).mean()) for levels in predicted]
            found[topic]["asr_real"] = round(float(success(poison, real[:, None], 1).mean()), 3)
            found[topic]["asr_predicted"] = round(float(np.mean(rates)), 3)
    return found


def sensitivity(honest: Floats, poison: Sequence[Floats], generator: np.random.Generator) -> list[dict[str, Any]]:
    """ASR by number in the largest simulated corpus, for every length of the fitted tail."""
    documents, size = honest.shape[1], SIMULATED_SIZES[-1]
    found = []
    for tail in (TAIL, *OTHER_TAILS):
        for topic, skip in SKIPPED.items():
            levels = grow(best(honest, K), fit(honest, documents // tail, skip), size - documents, DRAWS, generator)
            rates = {str(count): round(float(success(poison, levels, count).mean()), 3) for count in COUNTS}
            found.append({"documents": size, "tail": f"1/{tail}", "topic": topic, "asr_by_poisoned": rates})
    return found


def rows(
    honest: Floats, poison: Mapping[tuple[str, str], Sequence[Floats]], generator: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """ASR by corpus size with the number and with the share fixed, and the number that reaches an ASR of one half and of 0.9.

    Args:
        honest: Similarities of the pool, shape (queries, documents).
        poison: (attack, family) to similarities of the documents written against each query.
        generator: Of subsets and simulated corpora.
    """
    asr_rows, needed = [], []
    for size, topic, levels in levels_by_size(honest, generator):
        counts = [("count", count, count / size) for count in COUNTS]
        counts += [("share", round(share * size), share) for share in SHARES if share * size >= 1]
        for (attack, family), written in poison.items():
            where = {"documents": size, "attack": attack, "family": family, "simulated": topic != "measured", "topic": topic}
            fewest = min(map(len, written))
            for fixed, count, share in counts:
                asr = float(success(written, levels, count).mean())
                asr_rows.append(
                    {
                        **where,
                        "fixed": fixed,
                        "poisoned": count,
                        "share": float(f"{share:.3g}"),
                        "asr": round(asr, 3),
                        "interval": wilson(asr, len(written)),
                        "at_least": count > fewest,
                    }
                )
            reach = {f"for_asr_{goal}": _fewest(written, levels, goal, fewest) for goal in (0.5, 0.9)}
            needed.append({**where, **reach})
    return asr_rows, needed


def _fewest(written: Sequence[Floats], levels: Floats, goal: float, most: int) -> int | None:
    """Fewest documents that reach the goal; None where `most` do not."""
    count = 1 + bisect_left(range(1, most + 1), goal, key=lambda n: float(success(written, levels, n).mean()))
    return count if count <= most else None


def similarities(folder: Path, encoder: Encoder) -> tuple[Floats, dict[tuple[str, str], list[Floats]]]:
    """Of the pooled honest documents, and of each attack's documents, to the first queries with answers of nq_dev."""
    pool = {name: datasets.load(folder / name) for name in FOLDERS}
    dataset = pool["nq_dev"]
    asked = [query_id for query_id in dataset.queries if query_id in dataset.answers][:QUERIES]
    targets = [Target(query_id, dataset.queries[query_id]) for query_id in asked]
    vectors = np.stack([encode_one_query(encoder, canonical(target.query).text) for target in targets])
    texts = list(dict.fromkeys(canonical(document.text).text for each in pool.values() for document in each.documents))
    honest = np.asarray(vectors @ encode_documents(encoder, texts).T, dtype=np.float64)

    texts_for: dict[str, dict[str, list[str]]] = {kind: {query_id: [] for query_id in asked} for kind in PUBLISHED}
    for one in dataset.attack_texts:
        kind = one.attack.partition(":")[0]
        if kind in PUBLISHED and one.query_id in texts_for[kind]:
            texts_for[kind][one.query_id].append(one.text)
    attacks: list[tuple[Attack, list[int]]] = [(QueryCopy(dataset.documents, seed=SEED), [max(COUNTS)] * len(targets))]
    for kind, family in PUBLISHED.items():
        prepared = Prepared(kind, family, ThreatModel(knows=("query", "answer")), texts_for[kind])
        attacks.append((prepared, [len(texts_for[kind][query_id]) for query_id in asked]))

    poison: dict[tuple[str, str], list[Floats]] = {}
    for attack, counts in attacks:
        for target, vector, count in zip(targets, vectors, counts, strict=True):
            made = [canonical(document.text).text for document in attack([target], Budget(count))]
            found = np.asarray(encode_documents(encoder, made) @ vector, dtype=np.float64)
            poison.setdefault((attack.name, attack.family), []).append(found)
    return honest, poison


def measure() -> dict[str, Any]:
    """All rows, how well the simulation predicts held-out documents, and what others reported; found through RAGGUARD_DATA."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    encoder = CachedEncoder(SentenceTransformerEncoder.offline(), CACHE)
    honest, poison = similarities(Path(folder), encoder)
    generator = np.random.default_rng(SEED)
    asr_rows, needed = rows(honest, poison, generator)
    validation = [validate(honest, poison["query-copy", "A"], held_in, generator) for held_in in (1_000, 3_000)]
    lengths = sensitivity(honest, poison["query-copy", "A"], generator)
    for row in asr_rows:
        if row["fixed"] == "count":
            bound = ">=" if row["at_least"] else "  "
            print(
                f"{row['documents']:9,} {row['topic']:8} {row['attack']:26} {row['poisoned']:3} ASR@{K} {bound}{row['asr']:.2f}"
            )
    for check in (*validation, *lengths):
        print(check)
    return report.about(
        dataset="+".join(FOLDERS),
        documents=honest.shape[1],
        queries=f"the first {QUERIES} of nq_dev with answers, each attacked on its own by `poisoned` documents",
        k=K,
        seed=SEED,
        encoder=OFFLINE_MODEL,
        rows=asr_rows,
        needed=needed,
        validation=validation,
        sensitivity=lengths,
        at_least="more documents than were written: all that were written are used, and more can only raise the ASR",
        interval="Wilson, 95 %, over queries",
        left_out=LEFT_OUT,
        reported=REPORTED,
    )
