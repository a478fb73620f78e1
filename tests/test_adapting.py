"""What the adapters to frameworks share, on pages of no framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ragguard.defenses import BaseDefense, Judgement
from ragguard.errors import InvalidInputError, RetrieverError
from ragguard.retriever import Guard, GuardPolicy
from ragguard.retriever.adapting import AdaptedSearch, converted, depth, falling, kept_originals, ranked, report
from ragguard.testing import RetrieverContract
from ragguard.types import Document, Hit


@dataclass(frozen=True)
class Page:
    name: str
    body: str


PAGES = [Page("a", "Copper roofs turn green."), Page("b", "Bread needs salt."), Page("c", "The ferry leaves at noon.")]


class NoBread(BaseDefense):
    """Moves what is about bread down."""

    name = "no bread"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        judgements = [Judgement(i, -hit.document.text.count("Bread"), "Fine.") for i, hit in enumerate(hits)]
        return sorted(judgements, key=lambda judgement: -judgement.score)


def document(page: Page) -> Document:
    return Document(page.name, page.body)


def hits(pages: Sequence[Page]) -> list[Hit]:
    return ranked(converted(pages, Page, document, "a wiki's"))


class TestAdaptedSearchContract(RetrieverContract):
    def make_retriever(self, documents: Sequence[Document]) -> AdaptedSearch[Page]:
        pages = [Page(each.id, each.text) for each in documents]
        return AdaptedSearch(lambda _, k: pages[:k], lambda given: ranked([documents[pages.index(page)] for page in given]))


@pytest.mark.parametrize("wrong", [None, 3, "text", {"a": 1}, [PAGES[0], None]], ids=["none", "3", "text", "dict", "a hole"])
def test_what_is_no_list_of_the_framework_s_documents_is_an_error(wrong: Any) -> None:
    with pytest.raises(RetrieverError, match="expected a list of a wiki's documents, not"):
        AdaptedSearch(lambda *_: wrong, hits).retrieve("green roofs", 2)


def test_a_search_that_raises_is_named() -> None:
    def search(query: str, k: int) -> list[Page]:
        raise ZeroDivisionError("boom")

    with pytest.raises(RetrieverError, match=r"the wiki failed: ZeroDivisionError\('boom'\)"):
        AdaptedSearch(search, hits, "the wiki").retrieve("green roofs", 2)


def test_scores_count_where_they_are_there_and_fall() -> None:
    assert falling([0.9, 0.9, 0.1]) == [0.9, 0.9, 0.1]
    assert falling([]) == []
    assert falling([0.1, 0.9]) is None  # distances
    assert falling([0.9, None]) is None
    documents = [document(page) for page in PAGES]
    assert [hit.score for hit in ranked(documents)] == [1, 1 / 2, 1 / 3]
    assert [hit.score for hit in ranked(documents, [3.0, 2.0, 1.0])] == [3.0, 2.0, 1.0]


def test_kept_hits_come_with_the_framework_s_own_documents_and_what_was_decided() -> None:
    pages = [PAGES[0], PAGES[1], PAGES[2], Page("a", "Copper roofs turn green.")]  # the last is the first again
    result = Guard([NoBread()])("green roofs", hits(pages), 2)
    kept = kept_originals(result, [page.name for page in pages], pages)
    assert [page for _, page in kept] == [PAGES[0], PAGES[2]]
    assert kept[0][1] is pages[0]  # which was judged
    (verdict,) = report(result, "b")["verdicts"]
    assert (verdict["document_id"], verdict["defense"], report(result, "b")["degraded"]) == ("b", "no bread", [])


def test_how_many_candidates_are_found() -> None:
    assert depth(5, None, None) == 10
    assert depth(5, None, GuardPolicy(overfetch=3)) == 15
    assert depth(5, 7, None) == 7
    with pytest.raises(InvalidInputError, match="top_k"):
        depth(0, None, None)
