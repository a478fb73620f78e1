"""Contract tests to inherit: a class with one method of yours runs them against your defense, retriever, signal or attack.

Needs pytest.

class TestMyDefense(DefenseContract):
    def make_defense(self) -> Defense:
        return MyDefense(...)
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ragguard.attacks import EVERY_TARGET, TARGET, Attack, Budget, Target
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Encoder, Retriever
from ragguard.signals import Candidates, CorpusModel, Profiles, Signal
from ragguard.text import folded_words, words
from ragguard.types import Document, Hit, Vectors

QUERY = "who painted the ceiling of the old town hall"
DOCUMENTS = tuple(
    Document(f"doc-{number}", text, {"source": f"source-{number % 3}"})
    for number, text in enumerate(
        [
            "The ceiling of the old town hall was painted by a local guild of artists who worked there for eleven years.",
            "Town halls in the region were built of limestone, brick and oak, and most of them still stand on the market square.",
            "A ceiling of painted panels is lighter than a vault and can be taken down for repair one board at a time.",
            "Trains to the coast leave every hour from the northern station, except on Sundays and public holidays.",
            "Copper pipes carry warm water through the floor, which keeps the reading room dry in autumn and in winter.",
            "The guild of artists kept accounts of every pigment it bought, and three of its ledgers have come down to us.",
            "Bees find their way by the position of the sun and tell their sisters the direction in a dance.",
            "Bread",
        ]
    )
)

TEXTS = tuple(document.text for document in DOCUMENTS)


class WordHashEncoder:
    """A bag of hashed words, for tests of pure logic: deterministic, instant, and blind to meaning."""

    name = "word-hash"
    dimension = 128

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, shape (len(texts), 128)."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, shape (len(texts), 128)."""
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for span in words(text.lower()):
                digest = hashlib.sha256(text[span.start : span.end].lower().encode("utf-8", "replace")).digest()
                vectors[row, digest[0] % self.dimension] += 1 if digest[1] % 2 else -1
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class DefenseContract(ABC):
    """What any defense must do, whatever it is good at."""

    @abstractmethod
    def make_defense(self) -> Defense:
        """The defense under test."""

    def hits(self, documents: Sequence[Document] = DOCUMENTS) -> list[Hit]:
        """Candidates, best first."""
        return [Hit(document, 1 - place / 100) for place, document in enumerate(documents)]

    def test_has_a_name_for_verdicts(self) -> None:
        """It is a Defense."""
        defense = self.make_defense()
        assert isinstance(defense, Defense)
        assert defense.name

    @pytest.mark.parametrize("k", [1, 3, 8, 100])
    def test_accounts_for_every_candidate_once(self, k: int) -> None:
        """Kept, reserve and removed are a partition of the candidates, texts and metadata as they were."""
        hits = self.hits()
        result = self.make_defense()(QUERY, hits, k)
        after = [hit.document for part in (result.kept, result.reserve, result.removed) for hit in part]
        assert sorted(after, key=lambda d: d.id) == sorted((hit.document for hit in hits), key=lambda d: d.id)
        assert len(result.kept) <= k
        assert len(result.kept) == k or not result.reserve

    def test_gives_a_verdict_on_every_candidate(self) -> None:
        """Each verdict names the defense, has a reason, and agrees with what happened."""
        defense = self.make_defense()
        result = defense(QUERY, self.hits(), 3)
        assert {verdict.document_id for verdict in result.verdicts} == {document.id for document in DOCUMENTS}
        removed = {hit.document.id for hit in result.removed}
        for verdict in result.verdicts:
            assert verdict.defense == defense.name
            assert verdict.reason
            assert (verdict.action == "drop") == (verdict.document_id in removed)
            assert (verdict.rank_after is None) == (verdict.action == "drop")
            assert all(np.isfinite(value) for value in verdict.signals.values())

    def test_spans_lie_in_the_text(self) -> None:
        """Ranges can be marked in the document as it was given."""
        texts = {document.id: document.text for document in DOCUMENTS}
        for verdict in self.make_defense()(QUERY, self.hits(), 3).verdicts:
            for span in verdict.spans:
                assert 0 <= span.start < span.end <= len(texts[verdict.document_id])

    def test_same_input_same_result(self) -> None:
        """No randomness without a seed, and no memory of earlier queries."""
        defense = self.make_defense()
        first = defense(QUERY, self.hits(), 3)
        defense("another query altogether", self.hits(), 2)
        assert defense(QUERY, self.hits(), 3) == first

    def test_many_threads_same_result(self) -> None:
        """One defense serves many queries at once."""
        defense = self.make_defense()
        first = defense(QUERY, self.hits(), 3)
        with ThreadPoolExecutor(8) as pool:
            for result in pool.map(lambda _: defense(QUERY, self.hits(), 3), range(32)):
                assert result == first

    def test_no_candidates_no_result(self) -> None:
        """Nothing in, nothing out, no error."""
        result = self.make_defense()(QUERY, [], 3)
        assert not result.kept
        assert not result.removed

    def test_text_without_words_is_never_kept(self) -> None:
        """What cannot be judged is not returned."""
        result = self.make_defense()(QUERY, self.hits([Document("empty", " \n\t"), *DOCUMENTS]), 100)
        assert "empty" not in {hit.document.id for hit in (*result.kept, *result.reserve)}

    @pytest.mark.parametrize("k", [0, -1])
    def test_k_below_one_is_an_error(self, k: int) -> None:
        """A nonsensical k is refused."""
        with pytest.raises(ValueError, match="k must be"):
            self.make_defense()(QUERY, self.hits(), k)


class RetrieverContract(ABC):
    """What any retriever must do."""

    @abstractmethod
    def make_retriever(self, documents: Sequence[Document]) -> Retriever:
        """The retriever under test, over the given documents."""

    def test_returns_unique_hits_best_first(self) -> None:
        """Scores descend, ids are unique, documents are those of the corpus."""
        hits = self.make_retriever(DOCUMENTS).retrieve(QUERY, 5)
        assert isinstance(self.make_retriever(DOCUMENTS), Retriever)
        assert len(hits) == 5
        assert len({hit.document.id for hit in hits}) == 5
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(hit.document in DOCUMENTS for hit in hits)

    def test_k_beyond_the_corpus_returns_what_there_is(self) -> None:
        """No padding, no error."""
        assert len(self.make_retriever(DOCUMENTS).retrieve(QUERY, 1000)) == len(DOCUMENTS)

    def test_empty_corpus_returns_nothing(self) -> None:
        """No error either."""
        assert len(self.make_retriever(()).retrieve(QUERY, 3)) == 0

    @pytest.mark.parametrize("k", [0, -1])
    def test_k_below_one_is_an_error(self, k: int) -> None:
        """A nonsensical k is refused."""
        with pytest.raises(ValueError, match="k must be"):
            self.make_retriever(DOCUMENTS).retrieve(QUERY, k)

    def test_many_threads_same_result(self) -> None:
        """One retriever serves many queries at once."""
        retriever = self.make_retriever(DOCUMENTS)
        first = [(hit.document.id, hit.score) for hit in retriever.retrieve(QUERY, 5)]
        with ThreadPoolExecutor(8) as pool:
            for hits in pool.map(lambda _: retriever.retrieve(QUERY, 5), range(32)):
                assert [(hit.document.id, hit.score) for hit in hits] == first


class SignalContract(ABC):
    """What any signal must do, whatever it looks for."""

    @abstractmethod
    def make_signal(self) -> Signal:
        """The signal under test."""

    def candidates(self, query: str = QUERY, texts: Sequence[str] = TEXTS) -> Candidates:
        """Texts as the signals see them, with those of `DOCUMENTS` as the corpus."""
        encoder = WordHashEncoder()
        profiles = Profiles(encoder, CorpusModel(TEXTS))
        return Candidates(folded_words(query), encoder.encode_query([query])[0], profiles.get(texts))

    def test_says_what_it_is(self) -> None:
        """Verdicts and tables can name it."""
        signal = self.make_signal()
        assert signal.name
        assert signal.meaning
        assert signal.cost
        assert signal.computed in ("ingestion", "query")
        assert signal.unit > 0

    @pytest.mark.parametrize("query", [QUERY, "?!", "the of", " ".join(f"word{i}" for i in range(300))])
    def test_one_finite_number_for_each_candidate(self, query: str) -> None:
        """Whatever is asked."""
        scores = self.make_signal()(self.candidates(query))
        assert scores.shape == (len(DOCUMENTS),)
        assert np.isfinite(scores).all()

    def test_one_candidate_will_do(self) -> None:
        """Also one without a word that anybody reads."""
        for text in (DOCUMENTS[0].text, "?!"):
            assert np.isfinite(self.make_signal()(self.candidates(texts=[text]))).all()

    def test_same_input_same_numbers(self) -> None:
        """No randomness, and no memory of earlier queries."""
        signal = self.make_signal()
        first = signal(self.candidates())
        signal(self.candidates("another query altogether"))
        assert (signal(self.candidates()) == first).all()

    def test_spans_lie_in_the_text(self) -> None:
        """Ranges can be marked."""
        signal, candidates = self.make_signal(), self.candidates()
        for i, profile in enumerate(candidates.profiles):
            for span in signal.spans(candidates, i):
                assert 0 <= span.start < span.end <= len(profile.text)


class AttackContract(ABC):
    """What any attack must do, whatever it knows.

    Attributes:
        targets: Attacked; override what your attack needs to know of them.
    """

    targets: Sequence[Target] = (
        Target(
            "hall",
            QUERY,
            "a guild of artists",
            "a monk",
            ("A monk painted the ceiling of the old town hall.",) * 2,
            DOCUMENTS[:1],
        ),
        Target(
            "trains", "when do trains to the coast leave the station", "every hour", "at noon", ("Trains leave at noon.",) * 2
        ),
    )

    @abstractmethod
    def make_attack(self) -> Attack:
        """The attack under test; made anew, it makes the same documents."""

    def encoder(self) -> Encoder:
        """Of the index that is attacked."""
        return WordHashEncoder()

    def test_says_what_it_is(self) -> None:
        """Tables name it, and say what its attacker knows."""
        attack = self.make_attack()
        assert attack.name
        assert attack.family in ("A", "B")
        assert attack.threat.knows
        assert str(attack.threat)

    def test_keeps_to_its_budget_and_tags_what_it_makes(self) -> None:
        """As many documents for each target as are allowed, with ids of their own and a source."""
        attack = self.make_attack()
        poisoned = attack(self.targets, Budget(documents=1))
        assert len({document.id for document in poisoned}) == len(poisoned)
        assert {document.metadata[TARGET] for document in poisoned} <= {EVERY_TARGET, *(target.id for target in self.targets)}
        assert len(poisoned) <= len(self.targets)
        assert all(words(document.text) for document in poisoned)
        assert all(document.metadata["family"] == attack.family for document in poisoned)

    def test_same_seed_same_documents(self) -> None:
        """All randomness comes from the seed."""
        assert self.make_attack()(self.targets, Budget(1)) == self.make_attack()(self.targets, Budget(1))

    def test_succeeds_where_nothing_defends(self) -> None:
        """Its documents are found: else there is nothing to defend against."""
        poisoned = self.make_attack()(self.targets, Budget(1))
        index = DenseIndex(self.encoder())
        index.add([document for document in DOCUMENTS if document.id not in {poison.id for poison in poisoned}])
        index.add(poisoned)
        for target in self.targets:
            retrieved = [hit.document for hit in index.retrieve(self.make_attack().asked(target), 3)]
            assert any(document in retrieved for document in poisoned)
