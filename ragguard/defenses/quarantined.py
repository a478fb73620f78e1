"""The quarantine as defenses: what is in it is never returned, and what a defense removes is put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragguard.defenses.base import BaseDefense, Judgement
from ragguard.errors import InvalidInputError
from ragguard.types import Document, GuardedResult, Hit

if TYPE_CHECKING:
    from ragguard.quarantine import Quarantine


class Quarantined(BaseDefense):
    """Drops each candidate whose text, or one that reads alike, is held or confirmed in a quarantine, whatever its id.

    Nothing else is moved. Reads alike what has the same words: case, spaces, punctuation and look-alike letters may differ.

    Goes first in the list: what it drops costs no other defense anything. One look-up in an index a query.
    """

    name = "Quarantined"
    judges_content = False

    def __init__(self, quarantine: Quarantine) -> None:
        """Bind a quarantine; what is decided there holds from the next query on."""
        self._quarantine = quarantine

    def describe(self) -> Mapping[str, Any]:
        """Which database; what is in it changes."""
        return {"quarantine": self._quarantine.name}

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Drop what is in quarantine; the order stays as it is.

        Raises:
            StoreError: If the database does not answer.
        """
        blocked = self._quarantine.blocked({hit.document.text for hit in hits})
        judged, score = [], float("inf")
        for i, hit in enumerate(hits):
            if block := blocked.get(hit.document.text):
                what = "Its text" if block.same else "A text with the same words"
                judged.append(Judgement(i, hit.score, f"{what} is {block.state} in quarantine, as {block.key[:12]}.", drop=True))
                continue
            score = min(score, hit.score)  # a retriever's order is kept even where its scores do not fall
            judged.append(Judgement(i, score, "Its text is not in quarantine."))
        return judged


class Holding(BaseDefense):
    """A defense that puts what it drops into a quarantine, as `hold_removed` does; its results are the same.

    What is released there, on the review page or anywhere else, the defense judges no more, from the next query on.
    """

    def __init__(self, defense: BaseDefense, quarantine: Quarantine) -> None:
        """Wrap a defense.

        Raises:
            InvalidInputError: If it is none of this package's kind.
        """
        if not isinstance(defense, BaseDefense):
            raise InvalidInputError(f"{defense!r} is not a BaseDefense; call hold_removed on its results instead")
        self._defense, self._quarantine = defense, quarantine
        self.judges_content = defense.judges_content
        self.releases = defense.releases = defense.releases or quarantine
        self.name = defense.name

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
        """As the defense.

        Raises:
            StoreError: If the database does not answer.
        """
        result = self._defense(query, hits, k)
        hold_removed(result, self._quarantine)
        return result

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """As the defense."""
        return self._defense.judge(query, hits, k)

    def describe(self) -> Mapping[str, Any]:
        """As the defense."""
        return self._defense.describe()

    def prepare(self, documents: Sequence[Document]) -> None:
        """As the defense."""
        self._defense.prepare(documents)


def hold_removed(result: GuardedResult, quarantine: Quarantine) -> tuple[str, ...]:
    """Put away what was dropped as suspicious, and return the ids of those documents that are now held or confirmed.

    A quota's surplus and texts that could not be judged are left out: their verdicts have no suspicion, and another query may
    well return them.

    Raises:
        InvalidInputError: If a document's metadata cannot be kept.
        StoreError: If the database cannot be written to.
    """
    documents = {hit.document.id: hit.document for hit in result.candidates}
    guilty = [verdict for verdict in result.verdicts if verdict.action == "drop" and verdict.suspicion is not None]
    states = [quarantine.hold(documents[verdict.document_id], verdict, by="guard", query=result.query) for verdict in guilty]
    return tuple(verdict.document_id for verdict, state in zip(guilty, states, strict=True) if state != "released")
