"""The quarantine's parts: who may be named, what a line of history has, keys, and the defenses that read and fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ragguard.defenses import BaseDefense, Holding, Judgement, Quarantined, hold_removed
from ragguard.errors import InvalidInputError, StoreError
from ragguard.quarantine import LONGEST, Block, Quarantine, content_key
from ragguard.quarantine.records import likeness
from ragguard.quarantine.tables import ENTRIES, entry_digest
from ragguard.text import KEPT_LENGTH, canonical, content_hash
from ragguard.types import Document, Hit, Span, Verdict

BAD = Document("bad", "an order to the model", {"source": "forum"})
KEY = content_key(BAD.text)
VERDICT = Verdict("bad", "Guard", "drop", "It gives orders.", 3, None, {"p": 0.5}, (Span(0, 2), Span(3, 8)), 4.5)


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    with Quarantine(tmp_path / "q.db") as made:
        yield made


def text(number: int) -> Document:
    return Document(f"d{number}", f"text number {number}")


def verdict(document: Document, defense: str = "Guard") -> Verdict:
    return replace(VERDICT, document_id=document.id, defense=defense)


def test_a_line_of_history_has_all_that_was_said(quarantine: Quarantine) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    assert quarantine.hold(BAD, VERDICT, by=" scan ", query="what?") == "held"
    assert quarantine.confirm(KEY, " Ada ", " It is. ").state == "confirmed"
    entry = quarantine.release(KEY[:8], "Bob", "It is none.", seen=2)
    assert (entry.key, entry.state, entry.number) == (KEY, "released", 1)
    assert [(one.what, one.actor, one.reason) for one in entry.history] == [
        ("hold", "scan", "It gives orders."),
        ("confirm", "Ada", "It is."),
        ("release", "Bob", "It is none."),
    ]
    for one in entry.history:
        assert before <= one.at <= before + timedelta(seconds=60)
        assert (one.at.utcoffset(), one.at.microsecond) == (timedelta(0), 0)
    (grounds,) = entry.grounds
    assert (grounds.document, grounds.verdict, grounds.query) == (BAD, VERDICT, "what?")
    assert [one.grounds for one in entry.history[1:]] == [None, None]
    assert quarantine.show(KEY) == entry == quarantine.entries()[0]


def test_who_holds_by_default_is_the_guard_and_a_query_need_not_be(quarantine: Quarantine) -> None:
    quarantine.hold(BAD, replace(VERDICT, signals={"p": np.float64(0.5), "n": 3}))
    (event,) = quarantine.show(KEY).history
    assert event.actor == "guard"
    assert event.grounds is not None
    assert event.grounds.query is None
    assert event.grounds.verdict.signals == {"p": 0.5, "n": 3.0}


@pytest.mark.parametrize("wrong", ["", " \n", "w" * (LONGEST + 1), None, 3])
def test_who_and_why_are_texts(quarantine: Quarantine, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="by must be a text of 1 to"):
        quarantine.hold(BAD, VERDICT, by=wrong)
    quarantine.hold(BAD, VERDICT)
    for decide in (quarantine.release, quarantine.confirm):
        with pytest.raises(InvalidInputError, match="actor must be a text"):
            decide(KEY, wrong, "why")
        with pytest.raises(InvalidInputError, match="reason must be a text"):
            decide(KEY, "Ada", wrong)
    assert len(quarantine.show(KEY).history) == 1
    assert quarantine.confirm(KEY, "A" * LONGEST, "w" * LONGEST).history[1].actor == "A" * LONGEST


def test_texts_are_named_by_their_canonical_form() -> None:
    assert content_key("an or\u200bder") == content_hash(canonical("an or\u200bder").text) == content_hash("an order")


def test_keys_may_be_cut_but_not_below_eight_and_must_name_one(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.hold(BAD, VERDICT)
    assert quarantine.show(KEY[:8]).key == quarantine.show(KEY).key == KEY
    for wrong in (KEY[:7], KEY + "0", KEY.upper(), "g" * 8, f"{KEY[:8]}X", "", None, 12345678):
        with pytest.raises(InvalidInputError, match="a key is 8 to 64 characters of 0-9 and a-f"):
            quarantine.show(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"q\.db has no text under 00000000"):
        quarantine.show("0" * 8)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'q.db'}")
    with engine.begin() as connection:
        key = KEY[:8] + "0" * 56
        row = {"content": key, "likeness": "0" * 64, "state": "held", "digest": entry_digest(key, "0" * 64, "held")}
        connection.execute(sa.insert(ENTRIES), row)
    engine.dispose()
    with pytest.raises(InvalidInputError, match=f"more than one text whose key begins with {KEY[:8]}; list them"):
        quarantine.show(KEY[:8])
    assert quarantine.show(KEY[:9]).key == KEY
    with pytest.raises(StoreError, match=rf"q\.db: what is kept of {KEY[:8]}0+ is damaged"):  # nothing says why it is there
        quarantine.show(KEY[:8] + "0" * 56)


def test_a_text_that_is_gone_is_missed_by_its_number(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.hold(BAD, VERDICT)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'q.db'}")
    with engine.begin() as connection:
        connection.execute(sa.delete(ENTRIES))
    engine.dispose()
    with pytest.raises(StoreError, match=r"q\.db: what is kept of text 1, which is gone, is damaged"):
        quarantine.check()


def test_a_second_defense_adds_its_say_and_the_same_one_does_not(quarantine: Quarantine) -> None:
    quarantine.hold(BAD, VERDICT)
    assert quarantine.hold(BAD, replace(VERDICT, reason="Another."), query="other") == "held"
    assert len(quarantine.show(KEY).history) == 1
    quarantine.hold(BAD, verdict(BAD, "Scan"), by="scan")
    assert [one.verdict.defense for one in quarantine.show(KEY).grounds] == ["Guard", "Scan"]
    quarantine.release(KEY, "Ada", "why")
    assert quarantine.hold(BAD, VERDICT) == "released"
    assert quarantine.hold(BAD, verdict(BAD, "Third")) == "held"
    quarantine.confirm(KEY, "Ada", "why")
    assert quarantine.hold(BAD, verdict(BAD, "Fourth")) == "confirmed"
    assert quarantine.blocked([BAD.text]) == {BAD.text: Block(KEY, "confirmed", same=True)}
    with pytest.raises(InvalidInputError, match=f"{KEY} is confirmed already"):
        quarantine.confirm(KEY, "Ada", "why")
    with pytest.raises(InvalidInputError, match="has changed since you looked at it"):
        quarantine.release(KEY, "Ada", "why", seen=5)


def test_what_is_held_again_is_that_text_alone(quarantine: Quarantine) -> None:
    for document in (BAD, text(0)):
        quarantine.hold(document, verdict(document))
        quarantine.release(content_key(document.text), "Ada", "why")
    assert quarantine.hold(BAD, verdict(BAD, "Another")) == "held"
    assert [entry.key for entry in quarantine.entries(state="held")] == [KEY]
    assert [entry.key for entry in quarantine.entries(state="released")] == [content_key(text(0).text)]
    with pytest.raises(InvalidInputError, match="has changed since you looked at it"):
        quarantine.confirm(KEY, "Ada", "why", seen=2)


def test_what_is_no_document_with_a_verdict_on_it_is_refused(quarantine: Quarantine) -> None:
    class Alike:
        id, document_id, text = "bad", "bad", "bad"

    for document, said in ((Alike(), VERDICT), (BAD, Alike()), (text(0), VERDICT)):
        with pytest.raises(InvalidInputError, match="a document is held by a verdict on it"):
            quarantine.hold(document, said)  # type: ignore[arg-type]
    assert quarantine.counts() == {"held": 0, "confirmed": 0, "released": 0}


def test_an_error_says_what_could_not_be_done(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.hold(BAD, VERDICT)
    sealed = Quarantine(f"sqlite:///file:{tmp_path / 'q.db'}?mode=ro&uri=true", make=False)
    for write in (lambda: sealed.hold(text(0), verdict(text(0))), lambda: sealed.confirm(KEY, "Ada", "why")):
        with pytest.raises(StoreError, match="^cannot write .*deleting it would let through all that it holds"):
            write()
    sealed.close()
    quarantine.close()
    (tmp_path / "q.db").unlink()
    (tmp_path / "q.db").mkdir()
    asked: list[Callable[[], object]] = [quarantine.entries, quarantine.counts, quarantine.holders]
    asked += [lambda: quarantine.show(KEY), lambda: quarantine.blocked([KEY]), lambda: quarantine.hold(BAD, VERDICT)]
    for read in asked:
        with pytest.raises(StoreError, match="^cannot read "):
            read()


def test_what_is_asked_for_is_what_is_told(quarantine: Quarantine) -> None:
    documents = [text(i) for i in range(6)]
    for i, document in enumerate(documents):
        quarantine.hold(document, verdict(document), by="scan" if i % 2 else "guard")
    keys = [content_key(document.text) for document in documents]
    quarantine.release(keys[0], "Ada", "why")
    quarantine.confirm(keys[1], "Ada", "why")
    assert quarantine.blocked([document.text for document in documents[:3]]) == {
        documents[1].text: Block(keys[1], "confirmed", same=True),
        documents[2].text: Block(keys[2], "held", same=True),
    }
    loud = documents[2].text.upper()
    assert quarantine.blocked([loud, documents[0].text.upper(), "another"]) == {loud: Block(keys[2], "held", same=False)}
    assert quarantine.blocked([]) == {}
    assert quarantine.counts() == {"held": 4, "confirmed": 1, "released": 1}
    assert quarantine.holders() == ["guard", "scan"]

    def told(**options: Any) -> list[int]:
        return [keys.index(entry.key) for entry in quarantine.entries(**options)]

    assert told() == [5, 4, 3, 2, 1, 0]
    assert told(state="held", by="guard") == [4, 2]
    assert [told(by="scan"), told(by="Ada"), told(state="released")] == [[5, 3, 1], [], [0]]
    assert [told(before=3), told(before=3, limit=1), told(limit=2), told(before=1)] == [[1, 0], [1], [5, 4], []]


class Suspicious(BaseDefense):
    """Drops what has an odd number, and is sure of it but for number 5."""

    name = "Suspicious"
    prepared: Sequence[Document] = ()

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        numbers = [int(hit.document.id[1:]) for hit in hits]
        return [
            Judgement(i, hit.score, f"{query}, {k}", number % 2 == 1, suspicion=None if number == 5 else 1)
            for i, (hit, number) in enumerate(zip(hits, numbers, strict=True))
        ]

    def prepare(self, documents: Sequence[Document]) -> None:
        self.prepared = documents


HITS = [Hit(text(i), score) for i, score in enumerate([0.2, 0.9, 0.8, 0.1, 0.3, 0.1])]


def test_what_is_in_quarantine_is_dropped_and_the_rest_keeps_its_order(quarantine: Quarantine) -> None:
    quarantine.hold(text(0), verdict(text(0)))
    quarantine.hold(text(2), verdict(text(2)))
    quarantine.confirm(content_key(text(2).text), "Ada", "why")
    result = Quarantined(quarantine)("query", HITS, 3)
    assert [(hit.document.id, hit.score) for hit in (*result.kept, *result.reserve)] == [
        ("d1", 0.9),
        ("d3", 0.1),
        ("d4", 0.1),
        ("d5", 0.1),
    ]
    assert result.removed == (HITS[0], HITS[2])
    keys = [content_key(text(i).text)[:12] for i in (0, 2)]
    assert [verdict.reason for verdict in result.verdicts] == [
        f"Its text is held in quarantine, as {keys[0]}.",
        "Its text is not in quarantine.",
        f"Its text is confirmed in quarantine, as {keys[1]}.",
        *["Its text is not in quarantine."] * 3,
    ]
    assert {verdict.defense for verdict in result.verdicts} == {"Quarantined"}


def test_what_a_defense_is_sure_of_is_held_with_the_query(quarantine: Quarantine) -> None:
    inner = Suspicious()
    holding = Holding(inner, quarantine)
    assert holding.name == "Suspicious"
    hits = [Hit(hit.document, 1.0) for hit in HITS]
    result = holding("query", hits, 2)
    assert result == inner("query", hits, 2)
    assert holding.judge("other", hits, 4)[1].reason == "other, 4"
    holding.prepare([BAD])
    assert inner.prepared == [BAD]
    held = {entry.grounds[0].document.id: entry for entry in quarantine.entries()}
    assert held.keys() == {"d1", "d3"}  # of number 5 it was not sure
    (event,) = held["d1"].history
    assert (event.actor, event.reason) == ("guard", "query, 2")
    assert event.grounds is not None
    assert event.grounds.query == "query"
    quarantine.release(held["d1"].key, "Ada", "why")
    quarantine.confirm(held["d3"].key, "Ada", "why")
    assert hold_removed(result, quarantine) == ("d3",)
    with pytest.raises(InvalidInputError, match="is not a BaseDefense; call hold_removed"):
        Holding(object(), quarantine)  # type: ignore[arg-type]


def test_a_long_text_is_known_again_too() -> None:
    long = "The tunnel opened in 1886. " * KEPT_LENGTH  # no cache holds it
    assert likeness(long) == likeness(f"  {long.upper()} ") == content_hash(" ".join(["the tunnel opened in 1886"] * KEPT_LENGTH))
    assert likeness(long) != likeness(f"{long} again")
    assert likeness("+" * (KEPT_LENGTH + 1)) == content_hash("+" * (KEPT_LENGTH + 1))
