"""What LlamaIndex saves of a component, what comes back, and what cannot."""

from __future__ import annotations

import json
import pickle

import pytest
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardPostprocessor, RAGGuardPreparation

from ragguard.defenses import RAGMask, SourceQuota
from ragguard.errors import InvalidInputError
from ragguard.retriever import GuardPolicy
from ragguard.testing import WordHashEncoder

ENCODER = WordHashEncoder()
DEFENSES = [RAGMask(ENCODER, m=6), SourceQuota(2)]
NAMES = ["RAGMask(m=6, delta=0.05, groups)", "SourceQuota(limit=2)"]


def test_the_postprocessor_comes_back_around_the_same_defenses() -> None:
    first = RAGGuardPostprocessor(DEFENSES, top_k=3, policy=GuardPolicy(deadline_s=2, fail_open=True), texts_in_events=True)
    saved = json.loads(first.to_json())
    assert saved["class_name"] == "RAGGuardPostprocessor"
    assert saved["defenses"] == NAMES
    again = RAGGuardPostprocessor.from_dict(saved, defenses=DEFENSES)
    assert (again.top_k, again.policy, again.texts_in_events) == (3, first.policy, True)
    assert RAGGuardPostprocessor.from_dict(saved, defenses=DEFENSES, top_k=7).top_k == 7
    assert RAGGuardPostprocessor.from_json(first.to_json(), defenses=DEFENSES).to_dict() == saved


def test_the_preparation_comes_back_around_the_same_defenses() -> None:
    saved = json.loads(RAGGuardPreparation(DEFENSES).to_json())
    assert saved["class_name"] == "RAGGuardPreparation"
    assert saved["defenses"] == NAMES
    assert RAGGuardPreparation.from_dict(saved, defenses=DEFENSES).defenses == DEFENSES


def test_the_embedding_comes_back_around_the_same_encoder() -> None:
    saved = json.loads(EncoderEmbedding(ENCODER, embed_batch_size=7).to_json())
    assert (saved["class_name"], saved["model_name"]) == ("EncoderEmbedding", "word-hash")
    again = EncoderEmbedding.from_dict(saved, encoder=ENCODER)
    assert again.embed_batch_size == 7
    assert len(again.get_text_embedding("some text")) == ENCODER.dimension


@pytest.mark.parametrize("kind", [RAGGuardPostprocessor, RAGGuardPreparation])
def test_live_defenses_have_to_be_given_again(kind: type[RAGGuardPostprocessor] | type[RAGGuardPreparation]) -> None:
    saved = kind(DEFENSES).to_dict()
    with pytest.raises(InvalidInputError, match=r"names of its defenses only, .*RAGMask.*pass defenses"):
        kind.from_dict(saved)
    with pytest.raises(InvalidInputError, match=r"saved with .*SourceQuota\(limit=2\).*, not \['SourceQuota"):
        kind.from_dict(saved, defenses=DEFENSES[1:])


def test_a_live_encoder_has_to_be_given_again() -> None:
    class Another(WordHashEncoder):
        name = "another"

    saved = EncoderEmbedding(ENCODER).to_dict()
    with pytest.raises(InvalidInputError, match="'word-hash', which cannot be saved"):
        EncoderEmbedding.from_dict(saved)
    with pytest.raises(InvalidInputError, match="'word-hash', not 'another'"):
        EncoderEmbedding.from_dict(saved, encoder=Another())


@pytest.mark.parametrize("component", [RAGGuardPostprocessor(DEFENSES), RAGGuardPreparation(DEFENSES), EncoderEmbedding(ENCODER)])
def test_nothing_travels_to_another_process_by_half(component: object) -> None:
    with pytest.raises(InvalidInputError, match=f"{type(component).__name__} holds live objects"):
        pickle.dumps(component)


def test_settings_that_are_changed_take_effect() -> None:
    nodes = [NodeWithScore(node=TextNode(text=f"Text {i}."), score=1.0) for i in range(4)]
    guard = RAGGuardPostprocessor([SourceQuota(9)], top_k=3)
    assert len(guard.postprocess_nodes(nodes, query_str="text")) == 3
    guard.top_k = 1
    assert len(guard.postprocess_nodes(nodes, query_str="text")) == 1
    guard.defenses = []
    with pytest.raises(InvalidInputError, match="at least one defense"):
        guard.postprocess_nodes(nodes, query_str="text")
