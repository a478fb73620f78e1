"""Each peer keeps the contract, does what it is for, and stays off what it is not for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.peers import GMTP, Bigrams, MaskedLanguageModel, NearDuplicateFilter, PerplexityFilter, RAGDefender, TrustRAG
from benchmarks.peers.base import HeldOut
from benchmarks.peers.gmtp import Reading, read
from benchmarks.peers.trustrag import rouge_l
from ragguard.demo import scenario
from ragguard.encoders import SentenceTransformerEncoder, offline_model_path
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.testing import DOCUMENTS, QUERY, DefenseContract, WordHashEncoder
from ragguard.text import words
from ragguard.types import Document, Hit, Span

if TYPE_CHECKING:
    from transformers import BertConfig

DEMO = datasets.load(scenario.DATA)
CORPUS = [document.text for document in DEMO.documents]
PAIRS = [
    (query, document.text)
    for document in DEMO.documents
    for query_id, query in DEMO.queries.items()
    if document.id in DEMO.relevant[query_id]
]
FLIPPED = "who zyx painted ##qq the vuln ceiling ogg of nlk the wnba old xcvi town jre hall bfg kde"


def hits(*texts: str) -> list[Hit]:
    return [Hit(Document(f"d{i}", text), 1 - i / 100) for i, text in enumerate(texts)]


def dropped(defense: Defense, query: str, candidates: Sequence[Hit], k: int = 5) -> set[str]:
    return {hit.document.id for hit in defense(query, candidates, k).removed}


@pytest.fixture(scope="module")
def index(encoder: SentenceTransformerEncoder) -> DenseIndex:
    made = DenseIndex(encoder)
    made.add(DEMO.documents)
    return made


class TestRAGDefenderContract(DefenseContract):
    def make_defense(self) -> Defense:
        return RAGDefender(WordHashEncoder())


class TestTrustRAGContract(DefenseContract):
    def make_defense(self) -> Defense:
        return TrustRAG(WordHashEncoder())


class TestNearDuplicateContract(DefenseContract):
    def make_defense(self) -> Defense:
        return NearDuplicateFilter(WordHashEncoder())


class TestPerplexityContract(DefenseContract):
    def make_defense(self) -> Defense:
        return PerplexityFilter.of_corpus(CORPUS[:20])


class TestGMTPContract(DefenseContract):
    @pytest.fixture(autouse=True)
    def _given(self, tiny: SentenceTransformerEncoder) -> None:
        self.encoder = tiny

    def make_defense(self) -> Defense:
        return GMTP(self.encoder, Bigrams(self.encoder, CORPUS[:20]), PAIRS[:3])


def test_ragdefender_drops_copies_among_different_passages() -> None:
    texts = [document.text for document in DOCUMENTS[3:7]]
    lie = "The ceiling was painted by bees."
    defense = RAGDefender(WordHashEncoder())
    assert dropped(defense, QUERY, hits(*texts, lie, f"{lie} Yes."), k=6) == {"d4", "d5"}
    assert dropped(defense, QUERY, hits(lie)) == set()
    result = defense(QUERY, hits(*texts, lie), 3)
    assert "d4" in {hit.document.id for hit in result.removed}, "what is not judged cannot fill a gap"


def test_trustrag_drops_a_flood(encoder: SentenceTransformerEncoder, index: DenseIndex) -> None:
    query_id, query = next(iter(DEMO.queries.items()))
    lie = next(text.text for text in DEMO.attack_texts if text.query_id == query_id)
    flood = [f"{opening} {lie}" for opening in ("It is known:", "As we read,", "In short,", "Note that", "Indeed:")]
    honest = index.retrieve(query, 2)
    defense = TrustRAG(encoder)
    assert dropped(defense, query, hits(*flood)) == {f"d{i}" for i in range(5)}
    mixed = hits(*flood[:3], *(hit.document.text for hit in honest))
    assert dropped(defense, query, mixed) == {"d0", "d1", "d2"}
    assert dropped(defense, query, hits(lie, *(hit.document.text for hit in honest))) == set()


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    assert rouge_l("a b c d", "a x c") == pytest.approx(2 * 2 / 7)
    assert rouge_l("The cat.", "the CAT") == 1
    assert rouge_l("a b", "!") == 0


def test_near_duplicates_go_but_the_best_of_them(encoder: SentenceTransformerEncoder) -> None:
    text, other = CORPUS[:2]
    candidates = hits(text, other, f"{text} Indeed.", text)
    assert dropped(NearDuplicateFilter(encoder), QUERY, candidates) == {"d2", "d3"}
    assert dropped(NearDuplicateFilter(encoder, threshold=1), QUERY, candidates) == {"d3"}


def test_perplexity_drops_gibberish_and_spares_what_it_says() -> None:
    defense = PerplexityFilter.of_corpus(CORPUS)
    assert dropped(defense, QUERY, hits(CORPUS[0], "zq xv moon jjk of of pqr the hall uvw kkl")) == {"d1"}
    spared = len(CORPUS) - len(dropped(defense, QUERY, hits(*CORPUS)))
    assert spared / len(CORPUS) == pytest.approx(0.99, abs=1 / len(CORPUS))


def test_no_held_out_model_has_learned_what_it_judges() -> None:
    models = HeldOut([*CORPUS, "zyxomma quagga"])
    model = models.model("zyxomma quagga")
    assert "zyxomma" not in model.vocabulary
    assert sum("zyxomma" in models.model(text).vocabulary for text in CORPUS) > 100


def test_gmtp_reads_as_the_encoder_does(encoder: SentenceTransformerEncoder) -> None:
    text = f"Painters of the hall, unrelated. {'Trains leave. ' * 200}"
    (reading, short) = read(encoder, QUERY, [text, "hall ceiling"])
    assert [text[s.start : s.end].lower() for s in reading.spans[:4]] == ["painters", "of", "the", "hall"]
    assert len(reading.pieces) == 254, "what the model reads at once, without its special tokens"
    assert short.pieces == ("hall", "ceiling")
    assert max(reading.keys(3), key=lambda key: reading.pull[key]) in (0, 3)
    assert len(reading.keys(3)) == 3


def test_gmtp_gradient_is_the_slope_of_the_similarity(encoder: SentenceTransformerEncoder) -> None:
    import torch

    (reading,) = read(encoder, QUERY, ["the hall ceiling"])
    (alone,) = read(encoder, QUERY, ["the hall ceiling", "trains to the coast " * 9])[:1]
    assert reading.pull == pytest.approx(alone.pull, rel=1e-3), "the other documents of the batch do not matter"
    model: Any = encoder.model
    tokens = model.tokenizer(["the hall ceiling"], return_tensors="pt")
    weight = model.transformers_model.get_input_embeddings().weight
    query = torch.from_numpy(encoder.encode_query([QUERY])[0].copy())
    model(dict(tokens))["sentence_embedding"][0].dot(query).backward()
    expected = weight.grad[tokens["input_ids"][0, 1:-1]].norm(dim=-1).numpy()
    model.zero_grad()
    assert reading.pull == pytest.approx(expected, rel=1e-2)


def test_bigram_gmtp_drops_flipped_tokens_where_it_knows_the_words(encoder: SentenceTransformerEncoder) -> None:
    corpus = [
        f"{who} {did} the {what} of the old town hall {when}."
        for who in ("A guild of artists", "The painter Anna Berg", "A local carpenter")
        for did in ("painted", "repaired", "cleaned")
        for what in ("ceiling", "doors", "windows")
        for when in ("in spring", "for eleven years")
    ]
    defense = GMTP(encoder, Bigrams(encoder, corpus), [(QUERY, text) for text in corpus[:16]])
    assert "bigram" in defense.name
    assert dropped(defense, QUERY, hits(*corpus[:4], FLIPPED)) == {"d4"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformerEncoder:
    """An encoder with gradients, of random weights, so small that the contract takes no time."""
    import torch
    from transformers import AutoTokenizer, BertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(offline_model_path())
    BertModel(_tiny_config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SentenceTransformerEncoder(folder, device="cpu", progress=False)


@pytest.fixture(scope="module")
def masked() -> MaskedLanguageModel:
    import torch
    from transformers import AutoTokenizer, BertForMaskedLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(offline_model_path())
    return MaskedLanguageModel(BertForMaskedLM(_tiny_config(len(tokenizer))), tokenizer)


def test_masked_tokens_have_the_probability_of_the_model(masked: MaskedLanguageModel) -> None:
    import torch

    (reading,) = [Reading("the old hall", ("the", "old", "hall"), _spans("the old hall"), np.ones(3))]
    found = masked.values(reading, [2, 0])
    tokens = masked._tokenizer("the old [MASK]", return_tensors="pt")
    with torch.inference_mode():
        logits = masked._model(**tokens).logits[0, 3]
    assert found[1] == pytest.approx(float(logits.softmax(-1)[masked._tokenizer.convert_tokens_to_ids("hall")]), rel=1e-4)
    assert masked.values(reading, [2]) == found[1:], "remembered"


def test_gmtp_with_a_masked_language_model(encoder: SentenceTransformerEncoder, masked: MaskedLanguageModel) -> None:
    defense = GMTP(encoder, masked, PAIRS[:2])
    result = defense(QUERY, hits(DOCUMENTS[0].text, FLIPPED), 2)
    assert defense.name == "GMTP"
    assert all(0 < verdict.signals["score"] < 1 for verdict in result.verdicts)
    assert all(math.isclose(verdict.signals["score"], -(verdict.suspicion or 0)) for verdict in result.verdicts)


def test_bad_settings_are_errors(encoder: SentenceTransformerEncoder, masked: MaskedLanguageModel) -> None:
    with pytest.raises(InvalidInputError, match="threshold must be"):
        NearDuplicateFilter(encoder, threshold=1.5)
    with pytest.raises(InvalidInputError, match="quantile between"):
        PerplexityFilter(len, ["a"], quantile=1)
    with pytest.raises(InvalidInputError, match="too few"):
        PerplexityFilter.of_corpus(CORPUS[:1])
    with pytest.raises(InvalidInputError, match="benign pairs"):
        GMTP(encoder, masked, [])
    with pytest.raises(InvalidInputError, match="its tokenizer"):
        MaskedLanguageModel(masked._model)


def _tiny_config(vocabulary: int) -> BertConfig:
    from transformers import BertConfig

    return BertConfig(vocab_size=vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)


def _spans(text: str) -> tuple[Span, ...]:
    return tuple(words(text))
