from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragguard.defenses import RAGPart
from ragguard.defenses.quota import SourceQuota, SourceQuotaSettings
from ragguard.errors import InvalidInputError
from ragguard.protocols import Defense
from ragguard.retriever import GuardedRetriever
from ragguard.testing import DOCUMENTS, QUERY, DefenseContract, WordHashEncoder
from ragguard.types import Document, GuardedResult, Hit

ADVERSARIES = ("random", "first", "one source first", "one after the other", "copies", "unnamed")


class TestSourceQuotaContract(DefenseContract):
    def make_defense(self) -> Defense:
        return SourceQuota()


class TestSourceQuotaWithoutProvenanceContract(DefenseContract):
    def make_defense(self) -> Defense:
        return SourceQuota(2, key="author")


class TestSourceQuotaOfNearDuplicatesContract(DefenseContract):
    def make_defense(self) -> Defense:
        return SourceQuota(2, near_duplicates=0.5)


class Fixed:
    """A retriever that finds what it is told."""

    def __init__(self, found: Sequence[Hit]) -> None:
        self.found = found

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        return self.found[:k]


def from_sources(*sources: object) -> list[Hit]:
    """Documents d0, d1, ... with nothing in common but their sources; None has no source."""
    return [
        Hit(Document(f"d{i}", f"text {i} of {i}", {} if source is None else {"source": source}), 1 - i / 100)
        for i, source in enumerate(sources)
    ]


def of_texts(*pairs: tuple[str, str]) -> list[Hit]:
    return [Hit(Document(f"d{i}", text, {"source": source}), 1 - i / 100) for i, (source, text) in enumerate(pairs)]


def passed(result: GuardedResult) -> list[str]:
    return [hit.document.id for hit in (*result.kept, *result.reserve)]


def test_a_case_by_hand() -> None:
    hits = from_sources("a", "b", "a", "a", "c", "b")
    result = SourceQuota(2)(QUERY, hits, 3)
    assert result.kept == (hits[0], hits[1], hits[2])
    assert result.reserve == (hits[4], hits[5])
    assert result.removed == (hits[3],)
    (verdict,) = result.verdicts_on("d3")
    assert (verdict.action, verdict.signals) == ("drop", {"from_source": 3})
    assert verdict.reason == "Beyond the limit of 2 from source 'a'."
    assert passed(SourceQuota()(QUERY, hits, 3)) == ["d0", "d1", "d4"]


def test_the_certificate_by_hand() -> None:
    (certificate,) = SourceQuota(2)(QUERY, from_sources("a", "b"), 5).certificates
    assert certificate.bound == 2
    assert "at most min(5, b * 2) of the top 5 results, whatever they wrote; with one source, 2." in certificate.statement
    assert "recorded at ingestion" in certificate.assumption
    assert "no more than b" in certificate.assumption
    (vacuous,) = SourceQuota(9)(QUERY, from_sources("a", "b"), 5).certificates
    assert "with one source, 5." in vacuous.statement


def test_scores_are_as_they_were_and_an_order_without_falling_scores_stays() -> None:
    rising = [Hit(hit.document, score) for hit, score in zip(from_sources("a", "b", "a", "c"), [0.2, 0.9, 0.1, 0.1], strict=True)]
    result = SourceQuota()(QUERY, rising, 3)
    assert [(hit.document.id, hit.score) for hit in result] == [("d0", 0.2), ("d1", 0.2), ("d3", 0.1)]


def test_without_any_provenance_everything_passes_and_nothing_is_certified() -> None:
    hits = from_sources(None, "", None)
    result = SourceQuota()(QUERY, hits, 2)
    assert (*result.kept, *result.reserve) == tuple(hits)
    (certificate,) = result.certificates
    assert certificate.bound == 0
    assert "provenance is missing" in certificate.statement
    assert all("no quota" in verdict.reason and not verdict.signals for verdict in result.verdicts)


def test_the_source_of_a_document_that_cannot_be_judged_certifies_nothing() -> None:
    """It is dropped before the quota sees it, so that no candidate has a source and all pass."""
    hits = [Hit(Document("empty", " ", {"source": "a"}), 2), *from_sources(None, None)]
    result = SourceQuota()(QUERY, hits, 5)
    assert passed(result) == ["d0", "d1"]
    assert result.certificates[0].bound == 0


def test_documents_without_a_source_share_an_unknown_one_as_soon_as_any_has_one() -> None:
    result = SourceQuota()(QUERY, from_sources(None, "", "a", None), 4)
    assert passed(result) == ["d0", "d2"]
    assert "unknown source" in result.verdicts[0].reason
    assert "unknown source" in result.verdicts[3].reason
    assert result.verdicts[3].signals == {"from_source": 3}
    assert result.certificates[0].bound == 1


def test_sources_compare_as_strings_and_the_unknown_one_has_no_name_to_collide_with() -> None:
    assert passed(SourceQuota()(QUERY, from_sources(1, "1", "None", None, "a", "A"), 9)) == ["d0", "d2", "d3", "d4", "d5"]


def test_the_source_is_read_from_the_key_and_never_from_the_text() -> None:
    hits = [Hit(Document(f"d{i}", f"source: s{i}", {"author": "x", "source": f"s{i}"}), 1) for i in range(3)]
    assert passed(SourceQuota(key="author")(QUERY, hits, 3)) == ["d0"]
    assert passed(SourceQuota()(QUERY, hits, 3)) == ["d0", "d1", "d2"]


def test_near_duplicates_by_hand() -> None:
    """'a b c d' and 'A b c e' share one of three shingles."""
    hits = of_texts(("s", "a b c d"), ("t", "A b c  e"), ("u", "f g h"), ("v", "f\ng H"), ("w", "hi"), ("x", "hi"))
    assert passed(SourceQuota()(QUERY, hits, 9)) == ["d0", "d1", "d2", "d3", "d4", "d5"]
    assert passed(SourceQuota(near_duplicates=0.34)(QUERY, hits, 9)) == ["d0", "d1", "d2", "d4"]
    result = SourceQuota(near_duplicates=1 / 3)(QUERY, hits, 9)
    assert passed(result) == ["d0", "d2", "d4"]
    assert result.verdicts[1].reason == "Resembles 'd0', which ranks better; of such documents 1 may pass."
    copies = of_texts(*((f"s{i}", text) for i, text in enumerate(["a b c", "a b c", "d e f", "a b c"])))
    assert passed(SourceQuota(2, near_duplicates=1)(QUERY, copies, 9)) == ["d0", "d1", "d2"]


def test_near_duplicates_are_counted_without_any_provenance_too() -> None:
    hits = [Hit(Document(f"d{i}", text), 1) for i, text in enumerate(["a b c", "a b c", "d e f"])]
    result = SourceQuota(near_duplicates=1)(QUERY, hits, 9)
    assert passed(result) == ["d0", "d2"]
    assert result.certificates[0].bound == 0


def test_what_the_quota_drops_pushes_out_no_honest_document() -> None:
    """An attacker of one source may push out what the one document he has left resembles, not all that he copies."""
    hits = of_texts(("evil", "a lie"), ("evil", "a b c d"), ("evil", "e f g h"), ("good", "a b c d"), ("fine", "e f g h"))
    assert passed(SourceQuota(near_duplicates=0.5)(QUERY, hits, 9)) == ["d0", "d3", "d4"]
    over_and_alike = SourceQuota(near_duplicates=0.5)(QUERY, of_texts(("evil", "a b c"), ("evil", "a b c")), 9)
    assert over_and_alike.verdicts[1].reason == "Beyond the limit of 1 from source 'evil'."


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.text("abc", min_size=3, max_size=7), max_size=10),
    st.integers(1, 3),
    st.sampled_from([0.2, 0.5, 1.0]),
)
def test_no_document_that_passes_resembles_limit_others_and_none_is_dropped_for_less(
    letters: list[str], limit: int, least: float
) -> None:
    hits = of_texts(*((f"s{i}", " ".join(word)) for i, word in enumerate(letters)))
    names = passed(SourceQuota(limit, near_duplicates=least)(QUERY, hits, 20))
    runs = {f"d{i}": {word[j : j + 3] for j in range(len(word) - 2)} for i, word in enumerate(letters)}

    def most_alike(group: Sequence[str]) -> int:
        pairs = [(a, b) for a, b in combinations(group, 2) if len(runs[a] & runs[b]) / len(runs[a] | runs[b]) >= least]
        return max(Counter(name for pair in pairs for name in pair).values(), default=0)

    assert most_alike(names) < limit
    for i in range(len(hits)):
        if f"d{i}" not in names:
            assert most_alike([*(name for name in names if int(name[1:]) < i), f"d{i}"]) >= limit


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "1", 1, "", None]), max_size=12),
    st.integers(1, 3),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_the_first_of_each_source_pass_in_their_order_and_any_choice_among_them_keeps_the_bound(
    sources: list[object], limit: int, k: int, random: Any
) -> None:
    result = SourceQuota(limit)(QUERY, from_sources(*sources), k)
    named = ["" if source is None else str(source) for source in sources]
    first = [i for i, name in enumerate(named) if named[:i].count(name) < limit] if any(named) else range(len(named))
    assert passed(result) == [f"d{i}" for i in first]
    assert result.certificates[0].bound == (limit if any(named) else 0)
    if any(named):
        chosen = random.sample(passed(result), min(k, len(first)))
        assert max(Counter(named[int(name[1:])] for name in chosen).values()) <= limit


def attacked(generator: np.random.Generator, b: int, adversary: str) -> list[Hit]:
    """Candidates of honest sources and of an attacker who has b, best first; his documents' ids begin with an x."""
    honest, hostile = int(generator.integers(1, 12)), int(generator.integers(1, 16))
    texts = [f"honest text {generator.integers(100)} about hall {i}" for i in range(honest)]
    hits = [
        Hit(Document(f"h{i}", text, {"source": f"h{generator.integers(honest)}"}), float(generator.random()))
        for i, text in enumerate(texts)
    ]
    for i in range(hostile):
        source = int(generator.integers(b))
        text, score = f"lie {generator.integers(1000)}", float(generator.random())
        if adversary != "random":
            score += 1
        if adversary == "one source first":
            source = 0
        elif adversary == "one after the other":
            source = i % b
        elif adversary == "copies":
            text = texts[int(generator.integers(honest))]
        unnamed = adversary == "unnamed" and source == 0
        hits.append(Hit(Document(f"x{i}", text, {} if unnamed else {"source": f"x{source}"}), score))
    return sorted(hits, key=lambda hit: -hit.score)


def hostile_among(hits: Sequence[Hit]) -> int:
    return sum(hit.document.id.startswith("x") for hit in hits)


def test_no_attacker_of_b_sources_holds_more_than_the_certificate_says() -> None:
    """10,000 tries; the bound is met in many and would be broken in many without the quota, so it is not idle."""
    generator = np.random.default_rng(20)
    met = broken_without = 0
    for i in range(10_000):
        b, limit, k = (int(generator.integers(1, high)) for high in (4, 4, 11))
        hits = attacked(generator, b, ADVERSARIES[i % len(ADVERSARIES)])
        result = SourceQuota(limit, near_duplicates=0.5 if i % 5 == 0 else None)(QUERY, hits, k)
        (certificate,) = result.certificates
        assert certificate.bound == limit
        bound = min(k, b * certificate.bound)
        assert hostile_among(result.kept) <= bound, (i, b, limit, k)
        met += hostile_among(result.kept) == bound < k
        broken_without += hostile_among(hits[:k]) > bound
    assert met > 1000
    assert broken_without > 1000


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("quota_first", [True, False])
def test_the_bound_outlives_a_defense_that_ranks_anew(fake: WordHashEncoder, adversary: str, quota_first: bool) -> None:
    generator = np.random.default_rng(5)
    for _ in range(5):
        b, limit, k = (int(generator.integers(1, high)) for high in (4, 3, 8))
        hits = attacked(generator, b, adversary)
        defenses: list[Defense] = [SourceQuota(limit), RAGPart.paper(fake)]
        guarded = GuardedRetriever(Fixed(hits), defenses if quota_first else defenses[::-1])
        result = guarded.retrieve("a lie about the hall", k)
        assert hostile_among(result.kept) <= min(k, b * limit)
        assert {c.bound for c in result.certificates if "SourceQuota" in c.defense} == {limit}


def test_what_the_quota_adds_to_the_certificate_of_ragpart(fake: WordHashEncoder) -> None:
    """A kept hostile document outranked at least m - p - (b * limit - 1) honest ones without its payload."""
    generator = np.random.default_rng(2)
    names, p, b = QUERY.split(), 2, 2
    defense = RAGPart(fake, n=5, k=2, p=p, min_share=0.5)
    assert defense.certificates(10, 5)[0].bound == 1
    free = ~defense.combinations.members[:, :1].any(axis=1)

    def text(words: int) -> str:
        return " ".join(generator.choice([*names, "trains", "coast", "bees", "sun"]) for _ in range(words))

    kept = 0
    for _ in range(40):
        hostile = [Document(f"x{i}", f"{QUERY} {text(36)}", {"source": f"x{i % b}"}) for i in range(6)]  # payload: fragment 0
        honest = [Document(f"h{i}", text(45), {"source": f"h{i}"}) for i in range(7)]
        hits = [Hit(document, 1 - i / 20) for i, document in enumerate([*hostile, *honest])]
        among = SourceQuota(1)(QUERY, hits, 5)
        m = len(passed(among))
        result = defense(QUERY, (*among.kept, *among.reserve), 5)
        evidence = defense.fragments([hit.document.text for hit in (*among.kept, *among.reserve)])
        vectors, grams = np.stack([item.vectors for item in evidence]), np.stack([item.gram for item in evidence])
        rows = defense.combinations.scores(vectors @ fake.encode_query([QUERY])[0], grams)
        scores = dict(zip(passed(among), rows, strict=True))
        rivals = np.stack([scores[name] for name in scores if name.startswith("h")])
        for name in (hit.document.id for hit in result if hit.document.id.startswith("x")):
            kept += 1
            outranked = (rivals[:, free] <= scores[name][free] + 1e-6).sum(axis=0).max()
            assert outranked >= m - p - (b - 1)
    assert kept > 10


def majority(hits: Sequence[Hit]) -> str:
    """RobustRAG's isolate-then-aggregate (arXiv 2405.15556), voting: a reader sees one document and says its last word."""
    return Counter(hit.document.text.split()[-1] for hit in hits).most_common(1)[0][0]


def test_an_attacker_of_one_source_cannot_change_a_vote_over_isolated_documents() -> None:
    """Whatever his five documents say and wherever they rank, five honest sources that agree keep the vote of five results."""
    honest = [Document(f"h{i}", f"As source {i} knows, it is Bern", {"source": f"h{i}"}) for i in range(5)]
    without = Counter[str]()
    for said in product(["Bern", "Rome", "nothing"], repeat=5):
        hostile = [Document(f"x{i}", f"It is {word}", {"source": "x"}) for i, word in enumerate(said)]
        for behind in range(6):  # how many honest documents rank above the hostile ones
            ranked = [*honest[:behind], *hostile, *honest[behind:]]
            result = SourceQuota(1)(QUERY, [Hit(document, 1 - i / 10) for i, document in enumerate(ranked)], 5)
            assert len(result) > 2 * result.certificates[0].bound
            assert majority(result) == "Bern"
            without[majority(result.candidates[:5])] += 1
    assert without["Rome"] > 100
    assert without["nothing"] > 100


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"limit": 0}, "input_value=0"),
        ({"limit": -3}, "input_value=-3"),
        ({"limit": 1.5}, "input_value=1.5"),
        ({"limit": True}, "input_value=True"),
        ({"key": ""}, "input_value=''"),
        ({"key": 7}, "input_value=7"),
        ({"near_duplicates": 0}, "input_value=0"),
        ({"near_duplicates": 1.01}, "input_value=1.01"),
        ({"near_duplicates": float("nan")}, "input_value=nan"),
        ({"near_duplicates": "0.5"}, "input_value='0.5'"),
    ],
)
def test_bad_settings_are_errors_that_name_the_value(bad: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match="SourceQuota") as raised:
        SourceQuota(**bad)
    assert named in str(raised.value)
    assert next(iter(bad)) in str(raised.value)


def test_the_example_in_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "certificates.md").read_text(encoding="utf-8")
    code, printed = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("python", "text"))
    hits = [Hit(document, 1 - i / 10) for i, document in enumerate(DOCUMENTS)]
    exec(code, {"index": Fixed(hits)})  # noqa: S102
    assert capsys.readouterr().out == printed


class ByQuery:
    def __init__(self, found: dict[str, list[Hit]]) -> None:
        self.found = found

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        return self.found[query][:k]


def test_a_calibrated_quota_is_the_tightest_that_costs_nothing() -> None:
    found = {"one": from_sources("a", "b", "a", "c"), "two": from_sources("b", "a", "b", "b", "b")}
    quota = SourceQuota.calibrated(ByQuery(found), list(found), k=4)
    assert quota.settings.limit == 3  # the fifth of b is beyond k
    assert not any(quota(query, hits[:4], 4).removed for query, hits in found.items())
    assert any(SourceQuota(2)(query, hits[:4], 4).removed for query, hits in found.items())
    assert SourceQuota.calibrated(ByQuery({"none": from_sources(None, None)}), ["none"], k=2).settings.limit == 1
    with pytest.raises(InvalidInputError, match="at least one"):
        SourceQuota.calibrated(ByQuery(found), [])


def test_a_quota_is_calibrated_on_what_it_will_count() -> None:
    once = {"one": from_sources("a", "b", "a", "c")}
    assert SourceQuota.calibrated(ByQuery(once), ["one"], k=4).settings.limit == 2
    assert SourceQuota.calibrated(ByQuery({"long": from_sources(*"a" * 12)}), ["long"]).settings.limit == 10  # as k is
    copies = {"copies": of_texts(*((f"s{i}", "a b c") for i in range(3)))}
    assert SourceQuota.calibrated(ByQuery(copies), ["copies"]).settings.limit == 1
    assert SourceQuota.calibrated(ByQuery(copies), ["copies"], near_duplicates=1).settings == SourceQuotaSettings(
        limit=3, near_duplicates=1
    )
    by = {"by": [Hit(Document(f"d{i}", f"text {i}", {"author": "x"}), 1) for i in range(3)]}
    assert SourceQuota.calibrated(ByQuery(by), ["by"], key="author").settings == SourceQuotaSettings(limit=3, key="author")
    assert SourceQuota.calibrated(ByQuery(by), ["by"]).settings.limit == 1


def test_every_document_is_told_what_it_counts_for() -> None:
    result = SourceQuota(2)(QUERY, from_sources("a", None, "a", "a"), 3)
    unknown = "the unknown source that all documents without one share"
    assert [verdict.reason for verdict in result.verdicts] == [
        "Within the limit of 2 from source 'a'.",
        f"Within the limit of 2 from {unknown}.",
        "Within the limit of 2 from source 'a'.",
        "Beyond the limit of 2 from source 'a'.",
    ]
    assert [verdict.signals["from_source"] for verdict in result.verdicts] == [1, 1, 2, 3]
    assert (result.query, result.verdicts[0].defense) == (QUERY, "SourceQuota(limit=2)")
    assert SourceQuota(near_duplicates=0.5).name == "SourceQuota(limit=1, near duplicates>=0.5)"
