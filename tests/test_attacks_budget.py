"""More budget takes each attack of family A to nearly all of its targets, undefended, on a small corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from ragguard.attacks.adversarial_decoding import AdversarialDecoding
from ragguard.attacks.base import EVERY_TARGET, TARGET, Attack, Budget
from ragguard.attacks.corpus_poisoning import CorpusPoisoning
from ragguard.attacks.gaslite import GASLITE
from ragguard.attacks.hotflip import HotFlip
from ragguard.attacks.phantom import Phantom
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.evaluation.datasets import load, target
from ragguard.types import Vectors

K = 10
DEMO = load(DATA)
PASSAGES = [document for document in DEMO.documents if not document.id.startswith("lie")]
TARGETS = [target(DEMO, name) for name in list(DEMO.queries)[:20:5]]

Made = Callable[[SentenceTransformerEncoder, int], Attack]
OTHERS = [query for name, query in DEMO.queries.items() if name not in {one.id for one in TARGETS}]
EACH = len(TARGETS)
CASES: dict[str, tuple[Made, tuple[int, int], tuple[int, int]]] = {  # the attack by effort; little effort and documents, much
    "hotflip": (lambda e, calls: HotFlip(e, PASSAGES, words=16, calls=calls), (2, 3), (250, 3)),
    "hotflip:spread": (lambda e, calls: HotFlip(e, PASSAGES, words=24, calls=calls, places=("spread",)), (2, 3), (250, 3)),
    "gaslite": (lambda e, calls: GASLITE(e, PASSAGES, words=16, calls=calls), (2, 3), (250, 3)),
    "corpus-poisoning": (lambda e, calls: CorpusPoisoning(e, words=16, calls=calls), (2, EACH), (250, EACH)),
    "adversarial-decoding": (lambda e, words: AdversarialDecoding(e, PASSAGES, words=words), (1, 3), (12, 3)),
    "phantom": (lambda e, calls: Phantom(e, PASSAGES, OTHERS, words=16, calls=calls), (2, 1), (60, 6)),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Short batches gain nothing from a second thread, and lose much where it waits for a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(encoder: SentenceTransformerEncoder) -> Vectors:
    return encoder.encode_document([document.text for document in DEMO.documents])


def asr(encoder: SentenceTransformerEncoder, corpus: Vectors, attack: Attack, documents: int) -> float:
    """Share of targets for which less than K documents of the corpus are nearer than the best poisoned one."""
    made = attack(TARGETS, Budget(documents))
    poison = encoder.encode_document([document.text for document in made])
    hits = 0
    for one in TARGETS:
        query = encoder.encode_query([attack.asked(one)])[0]
        own = [row for row, document in enumerate(made) if document.metadata[TARGET] in (one.id, EVERY_TARGET)]
        hits += int((corpus @ query > (poison[own] @ query).max()).sum() < K)
    return hits / len(TARGETS)


@pytest.mark.parametrize("name", list(CASES))
def test_more_budget_reaches_nearly_all_targets(encoder: SentenceTransformerEncoder, corpus: Vectors, name: str) -> None:
    make, (little, few), (much, many) = CASES[name]
    assert asr(encoder, corpus, make(encoder, little), few) < 0.95
    assert asr(encoder, corpus, make(encoder, much), many) >= 0.95
