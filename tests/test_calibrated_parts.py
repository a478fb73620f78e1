"""What the calibrated guard makes of its signals' numbers, with signals that read them off the text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from ragguard.calibration import Calibration, Scale
from ragguard.calibration.derived import DerivedQuery, derived_queries, enough
from ragguard.defenses import CalibratedGuard, CalibratedGuardSettings
from ragguard.defenses import calibrated as module
from ragguard.defenses.calibrating import build
from ragguard.defenses.learning import reference_queries
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.evidence import MemoryStore
from ragguard.signals import Candidates, CorpusModel, Echo, Outlier, Profiles, Signal, Stuffing
from ragguard.signals.query import RareWords
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, Hit, Span

QUERY = "town hall"
CORPUS = ["the town hall was painted by a guild of artists", "bees tell each other where the flowers are"]
SCALE = Scale(typical=1.0, unit=2.0, maxima=(0.0, 1.0, 2.0))


class Read(Signal):
    """Reads its number after its letter: "a3" is 3."""

    computed: ClassVar[Literal["ingestion", "query"]] = "query"
    cost = "none"

    def __call__(self, candidates: Candidates) -> Any:
        return np.array([self.number(profile.text) for profile in candidates.profiles])

    def number(self, text: str) -> float:
        return next((float(word[1:]) for word in text.split() if word[0] == self.name and word[1:].isdigit()), 0.0)


class Alpha(Read):
    name, meaning = "a", "is too alpha"

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        at = candidates.profiles[i].text.find("bad")
        return () if at < 0 else (Span(at, at + 3),)


class Beta(Read):
    name, meaning = "b", "is too beta"

    def spans(self, candidates: Candidates, i: int) -> tuple[Span, ...]:
        return (Span(0, 2),)


SIGNALS = (Alpha(), Beta())


def calibration(**more: Any) -> Calibration:
    """A number of 3 is a suspicion of 1, and the threshold at a loss of 10 % is 1."""
    scales = {"a": SCALE, "b": SCALE}
    return Calibration(**{"encoder": "word-hash", "k": 3, "scales": scales, "maxima": (0.0,) * 8 + (1.0,), **more})


def guard(signals: Sequence[Signal] = SIGNALS, made: Calibration | None = None, **options: Any) -> CalibratedGuard:
    options = {"max_clean_query_loss": 0.1, **options}
    return CalibratedGuard(WordHashEncoder(), CorpusModel(CORPUS), signals, made or calibration(), **options)


def hits(*texts: str) -> list[Hit]:
    return [Hit(Document(f"d{i}", text), 1 - i / 10) for i, text in enumerate(texts)]


USUAL, EDGE, MUCH, ODD, BOTH = "a1 usual text", "a3 at the edge", "a5 bad text", "b9 odd text here", "a9 b9 both bad"
HITS = hits(USUAL, MUCH, EDGE, ODD)


def test_what_lies_above_the_threshold_is_dropped_and_what_lies_on_it_is_not() -> None:
    result = guard()(QUERY, HITS, 3)
    assert [hit.document.id for hit in result.kept] == ["d0", "d2"]
    assert [hit.document.id for hit in result.removed] == ["d1", "d3"]
    assert [verdict.suspicion for verdict in result.verdicts] == [0, 2, 1, 4]
    usual, much, edge, odd = result.verdicts
    assert usual.signals == {"a": 1, "b": 0, "p_value": 1}
    assert (edge.signals["p_value"], much.signals["p_value"]) == (0.2, 0.1)
    assert usual.reason == "Nothing unusual: 100% of clean queries have a document as suspicious in their results."
    assert edge.reason == "Nothing unusual: 20% of clean queries have a document as suspicious in their results."
    assert much.reason == "The document is too alpha (more than for any of 3 ordinary queries)."
    assert odd.reason == "The document is too beta (more than for any of 3 ordinary queries)."
    assert (usual.spans, much.spans, odd.spans) == ((), (Span(3, 6),), (Span(0, 2),))


def test_all_that_carries_most_of_the_suspicion_is_told_the_worst_first() -> None:
    texts = {
        "a9 b9": ["alpha", "beta"],
        "a5 b9": ["beta"],
        "a8 b9": ["beta", "alpha"],
        "a9 b8": ["alpha", "beta"],
        "a3 b9": ["beta"],
    }
    for text, told in texts.items():
        (verdict,) = guard()(QUERY, hits(text), 1).verdicts
        assert (
            verdict.reason
            == f"The document {' and '.join(f'is too {name} (more than for any of 3 ordinary queries)' for name in told)}."
        )
    (verdict,) = guard()(QUERY, hits("a9 b9 no b-word"), 1).verdicts
    assert verdict.spans == (Span(0, 2),)  # of the first that has any


def test_the_largest_is_told_even_where_it_has_little_of_the_sum() -> None:
    """Of many equal signals none has .7 of the 4-norm."""
    names = [chr(ord("a") + i) for i in range(8)]
    many = [type(f"S{name}", (Read,), {"name": name, "meaning": f"is {name}"})() for name in names]
    made = calibration(scales=dict.fromkeys(names, SCALE))
    (verdict,) = guard(many, made)(QUERY, hits(" ".join(f"{name}4" for name in names)), 1).verdicts
    assert verdict.suspicion == pytest.approx(1.5 * 8**0.25)
    assert all(f"is {name} " in verdict.reason for name in names)


@pytest.mark.parametrize(
    ("policy", "order", "scores", "actions"),
    [
        ("drop", [0, 2], [1, 0.8], ["keep", "drop", "keep", "drop"]),
        ("flag", [0, 1, 2, 3], [1, 0.9, 0.8, 0.7], ["keep"] * 4),
        ("demote", [0, 2, 1, 3], [1, 0.8, -0.3, -0.3], ["keep", "keep", "keep", "keep"]),
    ],
)
def test_a_policy_says_what_becomes_of_them(policy: Any, order: list[int], scores: list[float], actions: list[str]) -> None:
    made = guard(policy=policy)
    result = made(QUERY, HITS, 3)
    passed = (*result.kept, *result.reserve)
    assert [int(hit.document.id[1:]) for hit in passed] == order
    assert [hit.score for hit in passed] == pytest.approx(scores)
    assert [verdict.action for verdict in result.verdicts] == actions
    assert made.name == ("CalibratedGuard(0.1)" if policy == "drop" else f"CalibratedGuard(0.1, {policy})")
    assert "is too alpha" in result.verdicts[1].reason


def test_demoted_ones_lose_their_place() -> None:
    assert [verdict.action for verdict in guard(policy="demote")(QUERY, HITS, 2).verdicts] == ["keep", "demote", "keep", "keep"]


def test_a_query_is_refused_with_all_that_is_suspicious_in_it() -> None:
    made = guard(policy="raise")
    with pytest.raises(DefenseError, match="document 'd1': The document is too alpha.*; document 'd3': The document is too beta"):
        made(QUERY, HITS, 3)
    assert [hit.document.id for hit in made(QUERY, hits(USUAL, EDGE), 3).kept] == ["d0", "d1"]


def test_sanitised_ones_rank_by_what_is_left_of_them() -> None:
    """d0 is left with what resembles the query, d1 with nothing, d2 with what does not; d3 never ranks better than before."""
    texts = [f"a5 {QUERY} bad", "b9", "b9 bees and flowers", f"b9 {QUERY}", USUAL]
    made = [Hit(Document(f"d{i}", text), score) for i, (text, score) in enumerate(zip(texts, [9, 8, 7, 0.2, 0.1], strict=True))]
    result = guard(made=calibration(k=5), policy="sanitise")(QUERY, made, 5)
    encoder = WordHashEncoder()
    (query,) = encoder.encode_query([QUERY])
    similarity = [float(vector @ query) for vector in encoder.encode_document([f"a5 {QUERY}", "bees and flowers"])]
    assert {hit.document.id: pytest.approx(hit.score, abs=1e-5) for hit in result.kept} == {
        "d0": similarity[0],
        "d1": -0.9,  # one below the worst
        "d2": similarity[1],
        "d3": 0.2,
        "d4": 0.1,
    }
    assert result.kept[0].document.id == "d0"
    assert [hit.score for hit in result.kept] == sorted((hit.score for hit in result.kept), reverse=True)


def test_only_the_first_k_count_for_drift() -> None:
    made = guard()
    made(QUERY, HITS, 1)
    assert (made.drift.queries, made.drift.suspicious, made.drift.loss) == (1, 0, 0.1)
    made(QUERY, HITS, 2)
    made(QUERY, hits(EDGE), 2)
    assert (made.drift.queries, made.drift.suspicious) == (3, 1)


def test_drift_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    made = guard()
    with caplog.at_level(logging.WARNING, "ragguard"):
        for _ in range(30):
            made(QUERY, HITS, 2)
    (warned,) = caplog.records
    assert "review what was removed" in warned.message


def test_more_results_than_calibrated_for_are_refused_before_anything_is_counted() -> None:
    made = guard()
    with pytest.raises(InvalidInputError, match="at most 3 results, not 4"):
        made(QUERY, HITS, 4)
    assert made.drift.queries == 0


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="the encoder 'other', not 'word-hash'"):
        guard(made=calibration(encoder="other"))
    with pytest.raises(InvalidInputError, match=r"the signals \['a', 'b'\], not \['b'\]"):
        guard(SIGNALS[1:])
    for wrong in ({"max_clean_query_loss": 0}, {"policy": "burn"}, {"poisoned": 1}, {"confident": "perhaps"}):
        with pytest.raises(InvalidInputError, match=f"(?s)CalibratedGuard: .*{next(iter(wrong))}"):
            guard(**wrong)
    with pytest.raises(InvalidInputError):
        CalibratedGuard(object(), CorpusModel(CORPUS), SIGNALS, calibration())  # type: ignore[arg-type]


def test_settings_are_kept_and_set_the_threshold() -> None:
    wide = calibration(maxima=tuple(float(i) for i in range(200)))
    assert guard(made=wide).threshold == 180
    options: dict[str, Any] = {"confident": True, "poisoned": 0.1, "policy": "flag"}
    strict = guard(made=wide, **options)
    assert strict.settings == CalibratedGuardSettings(max_clean_query_loss=0.1, **options)
    assert strict.threshold == wide.threshold(0.1, poisoned=0.1, confident=True)
    assert len({wide.threshold(0.1, poisoned=p, confident=c) for p in (0, 0.1) for c in (False, True)}) == 4
    default = CalibratedGuard(WordHashEncoder(), CorpusModel(CORPUS), SIGNALS, wide)
    assert default.settings == CalibratedGuardSettings()
    assert default.threshold == wide.threshold(0.02)


def test_a_guard_on_derived_queries_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ragguard"):
        made = guard(made=calibration(derived=True), policy="flag")
    assert made.name == "CalibratedGuard(0.1, flag, derived)"
    assert len(caplog.records) == 1
    result = made(QUERY, HITS, 3)
    assert result.verdicts[0].reason.startswith("Nothing unusual: 100% of queries derived from documents")
    assert result.verdicts[1].reason.endswith(" Calibrated on queries derived from documents: no guarantee.")


def test_the_same_guard_with_another_encoder_object() -> None:
    made = guard(policy="flag", confident=False, poisoned=0.0)
    other = made.using(WordHashEncoder())
    assert (other.settings, other.calibration, other.name, other.threshold) == (
        made.settings,
        made.calibration,
        made.name,
        made.threshold,
    )
    assert other(QUERY, HITS, 3) == made(QUERY, HITS, 3)


class Counting(WordHashEncoder):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_document(self, texts: Sequence[str]) -> Any:
        self.texts += texts
        return super().encode_document(texts)


def test_prepared_documents_are_not_embedded_again_and_stay_in_the_store() -> None:
    encoder, store = Counting(), MemoryStore()
    made = CalibratedGuard(encoder, CorpusModel(CORPUS), SIGNALS, calibration(), max_clean_query_loss=0.1, store=store)
    made.prepare([*(hit.document for hit in HITS), Document("blank", " ")])
    before = list(encoder.texts)
    assert before
    made.judge("bees", HITS, 3)
    assert encoder.texts == [*before, "bees"]  # the query
    again = CalibratedGuard(
        second := Counting(), CorpusModel(CORPUS), SIGNALS, calibration(), max_clean_query_loss=0.1, store=store
    )
    again.prepare([hit.document for hit in HITS])
    assert second.texts == []


def test_a_word_that_only_a_suspicious_document_knows_is_told() -> None:
    texts = [f"text {i} about halls and towns" for i in range(50)]
    query = "who painted the xylograph of halls and towns"
    made = CalibratedGuard(
        WordHashEncoder(), CorpusModel(texts), SIGNALS, calibration(), max_clean_query_loss=0.1, rare=RareWords(texts)
    )
    waiting, fine = hits("a9 xylograph says no bees", "a1 xylograph says no bees")
    (found,) = made(query, [waiting], 3).query_findings
    assert (found.kind, found.text) == ("rare word", "xylograph")
    assert made(query, [fine], 3).query_findings == ()
    assert made(query, hits("a3 xylograph says no bees"), 3).query_findings == ()
    assert guard()(query, [waiting], 3).query_findings == ()
    made.learn([Document(f"n{i}", f"xylograph number {i}") for i in range(60)])
    assert made(query, [waiting], 3).query_findings == ()


def test_a_guard_learns_the_language_of_new_documents_up_to_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", len(CORPUS) + 1)
    corpus = CorpusModel(CORPUS)
    made = CalibratedGuard(WordHashEncoder(), corpus, SIGNALS, calibration(), max_clean_query_loss=0.1)
    made.learn([Document("blank", " "), Document("n1", "one new text of words"), Document("n2", "another new text of words")])
    assert len(corpus) == len(CORPUS) + 1
    made.learn([Document("n3", "a third new text of words")])
    assert len(corpus) == len(CORPUS) + 1


class Asked:
    """Finds the same documents for every query, and remembers what was asked."""

    def __init__(self, found: Sequence[Hit]) -> None:
        self.found = found
        self.asked: list[tuple[str, int]] = []

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        self.asked.append((query, k))
        return self.found[:k]


DOCUMENTS = [Document(f"c{i}", f"document {i} about the {word} in a town") for i, word in enumerate(["hall", "tower", "gate"])]
QUERIES = [f"query number {i}" for i in range(40)]


def calibrated(retriever: Asked, queries: Any = QUERIES, **options: Any) -> CalibratedGuard:
    options = {"signals": [Alpha, Beta], "max_clean_query_loss": 0.1, **options}
    return CalibratedGuard.calibrated(WordHashEncoder(), retriever, DOCUMENTS, queries, **options)


def test_a_guard_is_calibrated_on_the_queries_and_remembers_on_what() -> None:
    retriever = Asked(hits("a1 b2", "a4 b1", "a9 b9"))
    store = MemoryStore()
    made = calibrated(retriever, k=2, depth=1, policy="flag", poisoned=0.05, store=store)
    assert {query for query, _ in retriever.asked} == set(QUERIES)
    assert {k for _, k in retriever.asked} == {2}
    found = made.calibration
    assert (found.k, found.encoder, found.documents, found.derived) == (2, "word-hash", 3, False)
    assert found.corpus == calibrated(Asked(retriever.found)).calibration.corpus != ""
    assert (found.scales["a"].maxima, found.scales["b"].maxima) == ((4.0,) * 20, (2.0,) * 20)
    assert len(found.maxima) == 20
    assert made.settings == CalibratedGuardSettings(max_clean_query_loss=0.1, policy="flag", poisoned=0.05)
    assert len(store) > 0
    assert made._rare is not None
    deep = Asked(retriever.found)
    assert calibrated(deep, confident=True, max_clean_query_loss=0.2).settings.confident
    assert {k for _, k in deep.asked} == {20}  # k=10, depth=2


def test_a_guard_that_learns_nothing_leaves_the_sources_of_derived_queries_out() -> None:
    source, other = Document("s", "A long sentence of seven words is here."), Document("o", "bees are elsewhere")
    queries = [DerivedQuery(f"a long sentence {i}", source.text) for i in range(40)]
    retriever = Asked([Hit(source, 2), Hit(other, 1)])
    made = calibrated(retriever, queries, k=1)
    assert made.calibration.derived
    assert {k for _, k in retriever.asked} == {4}
    assert not calibrated(Asked([Hit(source, 2)]), [one.text for one in queries], k=1).calibration.derived
    with pytest.raises(InvalidInputError, match="finds no document"):
        calibrated(Asked([Hit(source, 2)]), queries, k=1)


def test_a_saved_guard_is_loaded_with_what_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, retriever = tmp_path / "guard.json", Asked(hits("a1 b2", "a4 b1"))
    made = calibrated(retriever, policy="flag")
    made.save(str(path))
    store, known = MemoryStore(), {"signals": [Alpha, Beta]}
    with caplog.at_level(logging.WARNING, "ragguard"):
        again = CalibratedGuard.load(str(path), WordHashEncoder(), DOCUMENTS, **known, store=store)  # type: ignore[arg-type]
    assert not caplog.records
    assert (again.settings, again.calibration, again.threshold) == (made.settings, made.calibration, made.threshold)
    again.prepare(DOCUMENTS)
    assert len(store) > 0
    assert again._rare is not None
    other = CalibratedGuardSettings(max_clean_query_loss=0.2)
    assert CalibratedGuard.load(path, WordHashEncoder(), DOCUMENTS, **known, settings=other).settings == other  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "ragguard"):
        CalibratedGuard.load(path, WordHashEncoder(), DOCUMENTS[:2], **known)  # type: ignore[arg-type]
    (warned,) = caplog.records
    assert "of 3 texts; this one has 2" in warned.message
    with pytest.raises(InvalidInputError, match=r"the signals \['a', 'b'\], which are not known here"):
        CalibratedGuard.load(path, WordHashEncoder(), DOCUMENTS)


def test_without_queries_they_are_derived_from_the_documents() -> None:
    documents = [Document(f"c{i}", f"Number {i} of the towns has a hall of its own.") for i in range(60)]
    retriever = Asked(hits("a1 b2", "a4 b1"))
    options: dict[str, Any] = {"signals": [Alpha, Beta], "max_clean_query_loss": 0.1}
    made = CalibratedGuard.calibrated(WordHashEncoder(), retriever, documents, **options)
    assert made.calibration.derived
    asked = {query for query, _ in retriever.asked}
    assert asked >= {query.text for query in derived_queries(documents, enough(0.1))}
    assert asked >= {query.text for query in reference_queries(documents)}
    assert made.calibration.joint
    assert len(made.calibration.maxima) == len(derived_queries(documents, enough(0.1)))


def test_signals_are_built_of_the_corpus_and_the_fit_queries_and_those_of_a_file_are_found_by_name(tmp_path: Path) -> None:
    retriever = Asked(hits(*(one.text for one in DOCUMENTS)))
    made = calibrated(retriever, signals=[Stuffing, Outlier])
    stuffing, outlier = made._signals
    (other, _) = build([Stuffing, Outlier], ["other words"], WordHashEncoder(), QUERIES)
    profiles = Profiles(WordHashEncoder(), CorpusModel(CORPUS)).get(["hall tower gate hall hall", "town in a town"])
    candidates = Candidates(("hall",), WordHashEncoder().encode_query(["hall"])[0], profiles)
    assert not np.allclose(stuffing(candidates), other(candidates))
    assert np.isfinite(outlier(candidates)).all()
    usual = calibrated(retriever, signals=[Stuffing, Echo])
    usual.save(tmp_path / "guard.json")
    again = CalibratedGuard.load(tmp_path / "guard.json", WordHashEncoder(), DOCUMENTS)
    assert {type(one) for one in again._signals} == {Stuffing, Echo}
    assert again(QUERY, HITS, 3) == usual(QUERY, HITS, 3)
