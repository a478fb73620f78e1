"""What an audit log says, all in all, and what came of deciding it again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ragguard.audit.log import Flaw, read
from ragguard.audit.record import Record
from ragguard.audit.replay import Depth, replay
from ragguard.protocols import Defense
from ragguard.types import Action, Document

KEPT = 1000
"""Flaws and differences that are told; all are counted."""


@dataclass(frozen=True)
class Dropped:
    """A document that defenses dropped.

    Attributes:
        document: Its id.
        times: How often.
        defense: Who did last.
        reason: Why.
    """

    document: str
    times: int
    defense: str
    reason: str


@dataclass(frozen=True)
class Difference:
    """A record that was decided otherwise.

    Attributes:
        writer: Who wrote it.
        number: Its number.
        what: What came out otherwise.
    """

    writer: str
    number: int
    what: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """Of one or more logs.

    Attributes:
        decisions: How many records there are.
        first: Time of the earliest query; None if there is none.
        last: Time of the latest.
        writers: How many log objects wrote.
        outcomes: Decisions by outcome.
        verdicts: By defense, by action.
        dropped: Documents, those dropped most first.
        flaws: What is wrong with the log, the first thousand.
        flawed: How many.
        replayed: Records by how far they were decided again.
        why_not: Records by why they were not decided from texts.
        changes: Records by what is not as it was of the guard that was given.
        differences: Records that came out otherwise, the first thousand.
        different: How many.
    """

    decisions: int
    first: datetime | None
    last: datetime | None
    writers: int
    outcomes: Mapping[str, int]
    verdicts: Mapping[str, Mapping[Action, int]]
    dropped: tuple[Dropped, ...]
    flaws: tuple[Flaw, ...]
    flawed: int
    replayed: Mapping[Depth, int]
    why_not: Mapping[str, int]
    changes: Mapping[str, int]
    differences: tuple[Difference, ...]
    different: int

    @property
    def ok(self) -> bool:
        """Whether the log is whole, and everything came out as it did."""
        return not self.flawed and not self.different


def summarise(
    paths: Sequence[Path | str],
    defenses: Sequence[Defense] = (),
    documents: Mapping[str, Document] | None = None,
    queries: Mapping[str, str] | None = None,
    *,
    step: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Read logs and decide each record again.

    Args:
        paths: As for `read`.
        defenses: As for `replay`, and so the others.
        documents: The corpus, by id.
        queries: By the hash of their canonical text.
        step: Called with the number of records that are done.

    Raises:
        InvalidInputError: If a file cannot be read.
    """
    times: list[datetime] = []
    writers: set[str] = set()
    outcomes: Counter[str] = Counter()
    verdicts: defaultdict[str, Counter[Action]] = defaultdict(Counter)
    dropped: Counter[str] = Counter()
    last: dict[str, tuple[str, str]] = {}
    flaws: list[Flaw] = []
    replayed: Counter[Depth] = Counter()
    why_not: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    differences: list[Difference] = []
    flawed = different = 0
    for entry in read(paths):
        if not isinstance(entry, Record):
            flawed += 1
            flaws += [entry][: KEPT - len(flaws)]
            continue
        times = [min([entry.time, *times]), max([entry.time, *times])]
        writers.add(entry.writer)
        outcomes[entry.outcome] += 1
        for verdict in entry.verdicts:
            verdicts[verdict.defense][verdict.action] += 1
            if verdict.action == "drop":
                dropped[verdict.document] += 1
                last[verdict.document] = verdict.defense, verdict.reason
        again = replay(entry, defenses, documents, queries)
        replayed[again.depth] += 1
        if again.why_not:
            why_not[again.why_not] += 1
        changes.update(again.changes)
        if again.differences:
            different += 1
            differences += [Difference(entry.writer, entry.number, again.differences)][: KEPT - len(differences)]
        step(outcomes.total())
    return Summary(
        decisions=outcomes.total(),
        first=times[0] if times else None,
        last=times[1] if times else None,
        writers=len(writers),
        outcomes=dict(outcomes.most_common()),
        verdicts={name: dict(counts) for name, counts in verdicts.items()},
        dropped=tuple(Dropped(name, n, *last[name]) for name, n in dropped.most_common(KEPT)),
        flaws=tuple(flaws),
        flawed=flawed,
        replayed=dict(replayed),
        why_not=dict(why_not.most_common(KEPT)),
        changes=dict(changes.most_common(KEPT)),
        differences=tuple(differences),
        different=different,
    )
