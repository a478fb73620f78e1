"""The peers as systems of a benchmark run: `ragguard bench --defense benchmarks.peers.systems:ragdefender`."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.peers import GMTP, Bigrams, NearDuplicateFilter, PerplexityFilter, RAGDefender, TrustRAG
from ragguard.defenses import BaseDefense
from ragguard.evaluation.experiment import System
from ragguard.evaluation.registry import Bench
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.text import canonical

AS_READ = GuardPolicy(overfetch=1, max_overfetch=1)
"""For peers that judge what a model would read, the top k, and do not fill up again."""

FILLED_UP = GuardPolicy(overfetch=2, max_overfetch=2)
"""For filters that judge each document alone, or against those before it."""


def ragdefender(bench: Bench, **options: Any) -> System:
    """RAGDefender from PyPI."""
    return _system(RAGDefender(bench.encoder, **options), bench, AS_READ)


def trustrag(bench: Bench, **options: Any) -> System:
    """TrustRAG's clustering stage."""
    return _system(TrustRAG(bench.encoder, **options), bench, AS_READ)


def gmtp(bench: Bench, **options: Any) -> System:
    """GMTP with a bigram model of the corpus, for want of a masked language model."""
    texts = {document.id: canonical(document.text).text for document in bench.dataset.documents}
    pairs = [(query, texts[name]) for key, query in bench.dataset.queries.items() for name in bench.dataset.relevant[key]]
    benign = sorted(pair for pair in pairs if pair[0] in bench.others) or sorted(pairs)
    return _system(GMTP(bench.model, Bigrams(bench.model, list(texts.values())), benign, **options), bench, AS_READ)


def perplexity(bench: Bench, **options: Any) -> System:
    """Perplexity under a bigram model of the corpus."""
    texts = [canonical(document.text).text for document in bench.dataset.documents]
    return _system(PerplexityFilter.of_corpus(texts, **options), bench, FILLED_UP)


def near_duplicates(bench: Bench, **options: Any) -> System:
    """Near-duplicates among the candidates."""
    return _system(NearDuplicateFilter(bench.encoder, **options), bench, FILLED_UP)


def _system(defense: BaseDefense, bench: Bench, policy: GuardPolicy) -> System:
    over = partial(GuardedRetriever, defenses=[defense], policy=policy)
    return System(defense.name, over, defense.prepare, policy.overfetch * bench.k)
