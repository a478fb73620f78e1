"""The paper's protocol: each target query is attacked on its own, and each system answers it before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ragguard.attacks import TARGET, Attack, Budget, Family, Target
from ragguard.evaluation.datasets import Dataset
from ragguard.index import DenseIndex
from ragguard.protocols import Encoder, Retriever
from ragguard.text import canonical
from ragguard.types import Document, Hit
from ragguard.vectors import encode_documents, encode_one_query


@dataclass(frozen=True)
class System:
    """What is measured: a retriever over an index, with or without a guard.

    Attributes:
        name: For tables.
        over: Builds the retriever over an index.
        prepare: Computes evidence of documents ahead of queries.
        depth: How many undefended candidates of a query it examines; evidence is prepared for these. None prepares the corpus.
    """

    name: str
    over: Callable[[DenseIndex], Retriever]
    prepare: Callable[[Sequence[Document]], None] = lambda _: None
    depth: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of a benchmark table.

    Attributes:
        attack: Name of the attack.
        family: Its family.
        defense: Name of the system.
        k: Results per query.
        asr: ASR@k, share of target queries with at least one document poisoned for them in the top k.
        sr: SR@k under attack, share of queries with at least one relevant document in the top k.
        clean_sr: SR@k without the attack.
        ms_per_query: Median time of an answer under attack, evidence warm, query encoding included.
    """

    attack: str
    family: Family
    defense: str
    k: int
    asr: float
    sr: float
    clean_sr: float
    ms_per_query: float


def run(
    dataset: Dataset,
    index: DenseIndex,
    attacks: Sequence[Attack],
    systems: Sequence[System],
    *,
    k: int,
    budget: Budget,
    queries: Sequence[str] | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Attack every query with every attack and answer it with every system.

    Args:
        dataset: Queries and judgments.
        index: Holds the dataset's documents; poisoned ones come and go, and it is left as it was.
        attacks: What the attacker does.
        systems: What defends; interleaved query by query, so that times compare.
        k: Results per query.
        budget: The attacker's, for each target.
        queries: Ids of the target queries; None takes all that are judged.
        step: Called with a sentence before each part of the work, for progress.

    Returns:
        Rows, attacks in their order, systems in theirs.
    """
    targets = [Target(query_id, dataset.queries[query_id]) for query_id in (queries or dataset.queries)]
    encoding_ms = _encoding_ms(index.encoder, targets)
    retrievers = [system.over(index) for system in systems]
    for system in systems:
        step(f"evidence for {system.name}")
        if system.depth is None:
            system.prepare(index.documents)
        else:
            near = {hit.document.id: hit.document for t in targets for hit in index.retrieve(t.query, system.depth)}
            system.prepare(list(near.values()))
    step("asking without attack")
    clean = [_success(((t.id, retriever.retrieve(t.query, k)) for t in targets), dataset.relevant, k) for retriever in retrievers]
    rows: list[Row] = []
    for attack in attacks:
        step(f"embedding the documents of {attack.name}")
        poisoned = [Document(d.id, canonical(d.text).text, d.metadata) for d in attack(targets, budget)]
        vectors = encode_documents(index.encoder, [document.text for document in poisoned])
        for system in systems:
            step(f"evidence on {attack.name} for {system.name}")
            system.prepare(poisoned)
        step(f"asking under {attack.name}")
        answers: list[list[tuple[str, Sequence[Hit]]]] = [[] for _ in systems]
        times: list[list[float]] = [[] for _ in systems]
        for target in targets:
            mine = [row for row, document in enumerate(poisoned) if document.metadata[TARGET] == target.id]
            index.add_vectors([poisoned[row] for row in mine], vectors[mine])
            for number, retriever in enumerate(retrievers):
                start = time.perf_counter()
                found = retriever.retrieve(target.query, k)
                times[number].append((time.perf_counter() - start) * 1000)
                answers[number].append((target.id, found))
            index.delete([poisoned[row].id for row in mine])
        planted: dict[str, set[str]] = {}
        for document in poisoned:
            planted.setdefault(str(document.metadata[TARGET]), set()).add(document.id)
        rows.extend(
            Row(
                attack=attack.name,
                family=attack.family,
                defense=system.name,
                k=k,
                asr=_success(answers[number], planted, k),
                sr=_success(answers[number], dataset.relevant, k),
                clean_sr=clean[number],
                ms_per_query=round(encoding_ms + median(times[number]), 2),
            )
            for number, system in enumerate(systems)
        )
    return rows


def steps(attacks: int, systems: int) -> int:
    """How often `run` calls `step`."""
    return systems + 1 + attacks * (systems + 2)


def _encoding_ms(encoder: Encoder, targets: Sequence[Target]) -> float:
    """Median time to encode a query; the systems then find it encoded."""
    times = []
    for target in targets:
        start = time.perf_counter()
        encode_one_query(encoder, canonical(target.query).text)
        times.append((time.perf_counter() - start) * 1000)
    return median(times)


def _success(answers: Iterable[tuple[str, Sequence[Hit]]], wanted: Mapping[str, Iterable[str]], k: int) -> float:
    """Share of queries with at least one wanted document in the top k."""
    import ir_measures

    answers = list(answers)
    asked = {query_id for query_id, _ in answers}
    qrels = [ir_measures.Qrel(q, d, 1) for q, found in wanted.items() if q in asked for d in found]
    run_ = [ir_measures.ScoredDoc(q, hit.document.id, -rank) for q, found in answers for rank, hit in enumerate(found)]
    if not run_:
        return 0.0
    return float(ir_measures.calc_aggregate([ir_measures.Success @ k], qrels, run_)[ir_measures.Success @ k])
