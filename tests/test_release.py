"""A false positive is repaired: what somebody released is judged no more by content, at once, and only that text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ragguard.defenses import (
    BaseDefense,
    CalibratedGuard,
    Holding,
    Quarantined,
    RAGMask,
    RAGPart,
    RobustScore,
    SourceQuota,
)
from ragguard.defenses.releases import MemoryReleases
from ragguard.demo.scenario import DATA
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.evaluation.datasets import load
from ragguard.index import DenseIndex
from ragguard.quarantine import Quarantine
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, Hit

DEMO = load(DATA)
ENCODER = WordHashEncoder()
QUERY = "which hall was opened by the mayor with a feast"
COPY = Document(
    "copy", f"{QUERY} Whales sing in the deep and nobody listens to them at night, as the old sailors say.", {"source": "a"}
)
USUAL = tuple(Document(f"u{i}", text, {"source": "a"}) for i, text in enumerate((
    "The town has a hall, which stands near the river.",
    "In May the mayor walked to the market.",
    "Two towers are older than the bridge.",
)))  # fmt: skip
HITS = [Hit(COPY, 0.9), *(Hit(document, 0.8 - i / 10) for i, document in enumerate(USUAL))]


def index() -> DenseIndex:
    made = DenseIndex(ENCODER)
    made.add(DEMO.documents)
    return made


def guard(policy: str = "drop") -> CalibratedGuard:
    queries = list(dict.fromkeys(DEMO.queries.values()))[:40]
    options = {"k": 5, "max_clean_query_loss": 0.1, "policy": policy}
    return CalibratedGuard.calibrated(ENCODER, index(), DEMO.documents, queries, **options)  # type: ignore[arg-type]


CONTENT: dict[str, Callable[[], BaseDefense]] = {
    "guard": guard,
    "demoting guard": lambda: guard("demote"),
    "raising guard": lambda: guard("raise"),
    "RAGMask": lambda: RAGMask(ENCODER),
    "RAGPart": lambda: RAGPart(ENCODER, k=2, p=2, min_share=0.5),
    "RobustScore": lambda: RobustScore.fitted(ENCODER, index(), DEMO.documents, list(DEMO.queries.values())[:60], quantile=0.8),
}


@pytest.mark.parametrize("make", CONTENT.values(), ids=CONTENT)
def test_a_released_text_passes_every_defense_that_judges_content(make: Callable[[], BaseDefense]) -> None:
    defense = make()
    defense.release(COPY, "Ada", "It quotes the question on purpose.")
    result = defense(QUERY, HITS, 2)
    assert result.kept[0].document.id == "copy"
    verdict = next(verdict for verdict in result.verdicts if verdict.document_id == "copy")
    assert (verdict.action, verdict.rank_after, verdict.suspicion) == ("keep", 1, None)
    assert verdict.reason.startswith("Released by Ada on 20")
    assert verdict.reason.endswith(": It quotes the question on purpose.")


def test_before_that_it_does_not_pass() -> None:
    assert "copy" in [hit.document.id for hit in guard()(QUERY, HITS, 2).removed]
    with pytest.raises(DefenseError, match="'copy'"):
        guard("raise")(QUERY, HITS, 2)


def test_a_release_is_of_one_text_whatever_its_id_and_of_no_other() -> None:
    defense = guard()
    defense.release(COPY, "Ada", "Fine.")
    renamed, changed = Document("again", COPY.text), Document("copy", COPY.text + " And more.")
    kept = defense(QUERY, [Hit(renamed, 0.9), *HITS[1:]], 4).kept
    assert "again" in [hit.document.id for hit in kept]
    assert "copy" in [hit.document.id for hit in defense(QUERY, [Hit(changed, 0.9), *HITS[1:]], 4).removed]


def test_others_are_judged_as_before_and_keep_their_order() -> None:
    plain, defense = guard(), guard()
    defense.release(USUAL[1], "Ada", "Fine.")
    before, after = plain(QUERY, HITS, 2), defense(QUERY, HITS, 2)
    assert [hit.document.id for hit in (*before.kept, *before.reserve)] == [
        hit.document.id for hit in (*after.kept, *after.reserve)
    ]
    assert [hit.document.id for hit in after.removed] == ["copy"]


def test_a_quota_goes_on_counting(tmp_path: Path) -> None:
    quota = SourceQuota(limit=1)
    with pytest.raises(InvalidInputError, match="does not judge what a document says"):
        quota.release(COPY, "Ada", "Fine.")
    quota.releases = MemoryReleases()
    quota.releases.let(USUAL[0], "Ada", "Fine.")
    assert len(quota(QUERY, HITS, 4).kept) == 1
    with Quarantine(tmp_path / "q.db") as quarantine, pytest.raises(InvalidInputError, match="does not judge"):
        Quarantined(quarantine).release(COPY, "Ada", "Fine.")


def test_a_release_outlives_the_process_and_is_known_to_others(tmp_path: Path) -> None:
    first, second = guard(), guard()
    with Quarantine(tmp_path / "q.db") as quarantine, Quarantine(tmp_path / "q.db") as elsewhere:
        first.releases, second.releases = quarantine, elsewhere
        first.release(COPY, "Ada", "Fine.")
        assert "copy" in [hit.document.id for hit in second(QUERY, HITS, 2).kept]
        (entry,) = quarantine.entries()
        assert entry.state == "released"
        assert [(event.what, event.actor) for event in entry.history] == [("hold", "Ada"), ("release", "Ada")]
        with pytest.raises(InvalidInputError, match="released already"):
            second.release(COPY, "Bo", "Fine.")
        quarantine.confirm(entry.key, "Bo", "It is an advertisement.")
        assert "copy" in [hit.document.id for hit in second(QUERY, HITS, 2).removed]


def test_what_the_review_page_releases_a_holding_guard_judges_no_more(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "q.db") as quarantine:
        holding = Holding(guard(), quarantine)
        assert "copy" in [hit.document.id for hit in holding(QUERY, HITS, 2).removed]
        (entry,) = quarantine.entries(state="held")
        quarantine.release(entry.key, "Ada", "Fine.")  # as the page and the command do
        assert "copy" in [hit.document.id for hit in holding(QUERY, HITS, 2).kept]


@pytest.mark.parametrize(
    ("document", "actor", "reason", "message"),
    [
        (COPY, "", "Fine.", "actor must be a text"),
        (COPY, "Ada", " ", "reason must be a text"),
        (COPY, "Ada", "x" * 3000, "reason must be a text"),
        ("copy", "Ada", "Fine.", "a document is released"),
        (Document("long", "word " * 5000), "Ada", "Fine.", "cannot be released: The text has 5000 words"),
        (Document("empty", " "), "Ada", "Fine.", "cannot be released: The text has no words"),
    ],
)
def test_a_release_without_who_why_or_what_is_an_error(
    document: Document, actor: str, reason: str, message: str, tmp_path: Path
) -> None:
    defense = guard()
    with Quarantine(tmp_path / "q.db") as quarantine:
        for releases in (None, quarantine):
            defense.releases = releases
            with pytest.raises(InvalidInputError, match=message):
                defense.release(document, actor, reason)
        assert not quarantine.entries()
