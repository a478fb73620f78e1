"""A scan: the gate over files, and what is told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ragguard.evaluation import models
from ragguard.evaluation.datasets import load_queries
from ragguard.gate import Gate, GateSettings, GateVerdict
from ragguard.gate.gate import Step
from ragguard.gate.query_log import QueryLog
from ragguard.scan.sources import Sources
from ragguard.types import Document

TOLD = 1000
"""Documents that a report shows, the most suspicious first; `--verdicts` has all."""


@dataclass(frozen=True)
class Setting:
    """What is to be scanned, and how.

    Attributes:
        sources: Files and folders, see `Sources`.
        trusted: Likewise, of documents held to be honest; empty judges the sources by themselves.
        queries: File of a query log, see `ragguard.evaluation.datasets.load_queries`; None leaves out what needs one.
        model: Of the encoder that the log needs, see `ragguard.evaluation.models.load`.
        gate: How strict.
        verdicts: Where the verdict of every document is written, as JSON lines; None writes none.
    """

    sources: tuple[str, ...]
    trusted: tuple[str, ...] = ()
    queries: Path | None = None
    model: str | None = None
    gate: GateSettings = field(default_factory=GateSettings)
    verdicts: Path | None = None


@dataclass(frozen=True)
class Found:
    """A document that was flagged or quarantined.

    Attributes:
        document: As it came.
        verdict: Of the gate.
    """

    document: Document
    verdict: GateVerdict

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """The text in pieces; a piece is marked where the reason is about it."""
        text, position, pieces = self.document.text, 0, []
        for span in self.verdict.spans:
            pieces += [(text[position : span.start], False), (text[span.start : span.end], True)]
            position = span.end
        return [piece for piece in (*pieces, (text[position:], False)) if piece[0]]


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    Attributes:
        sources: What was scanned.
        documents: How many.
        admitted: How many of them.
        flagged: Likewise.
        quarantined: Likewise.
        found: The most suspicious of those flagged or quarantined, at most a thousand, those that could not be judged first.
        by_signal: How many documents each signal flagged or quarantined; one may have several.
        yardstick: What they were judged by: `documents`, `trusted`, `max_flagged`, `poisoned`, `threshold`, `queries`, and
            `signals`: of each the largest honest number and the unit.
        seconds: Of it all.
    """

    sources: tuple[str, ...]
    documents: int
    admitted: int
    flagged: int
    quarantined: int
    found: tuple[Found, ...]
    by_signal: dict[str, int]
    yardstick: dict[str, Any]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """One JSON object, texts left out."""
        plain = {key: value for key, value in self.__dict__.items() if key != "found"}
        return {**plain, "found": [asdict(finding.verdict) for finding in self.found]}


def run(
    setting: Setting, step: Step = lambda *_: None, held: Callable[[Document, GateVerdict], object] = lambda *_: None
) -> Scan:
    """Scan documents.

    Args:
        setting: What and how.
        step: For progress.
        held: Called with each quarantined document and its verdict, such as to store it.

    Raises:
        InvalidInputError: If a file cannot be read, or there are too few documents for the share to be flagged.
        EncoderError: If the encoder fails.
    """
    start = time.perf_counter()
    sources = Sources(setting.sources)
    trusted = Sources(setting.trusted) if setting.trusted else None
    log = None
    if setting.queries is not None:
        step("loading the model", 0, None)
        log = QueryLog(load_queries(setting.queries), models.load(setting.model))
    gate = Gate(trusted or sources, trusted=trusted is not None, settings=setting.gate, log=log, step=step)
    counts = dict.fromkeys(("admit", "flag", "quarantine"), 0)
    by_signal = dict.fromkeys(gate.yardstick.rulers, 0)
    findings: list[Found] = []
    with _written(setting.verdicts) as write:
        for judged in gate.judge(sources if trusted else None):
            document, verdict = judged.document, judged.verdict
            counts[verdict.action] += 1
            write(verdict)
            if verdict.action == "admit":
                continue
            for name in gate.above(verdict):
                by_signal[name] += 1
            if verdict.action == "quarantine":
                held(document, verdict)
            findings.append(Found(document, verdict))
            if len(findings) >= 2 * TOLD:
                findings = _worst(findings)
    return Scan(
        sources=setting.sources,
        documents=sum(counts.values()),
        admitted=counts["admit"],
        flagged=counts["flag"],
        quarantined=counts["quarantine"],
        found=tuple(_worst(findings)),
        by_signal=by_signal,
        yardstick={
            "documents": gate.learned,
            "trusted": gate.trusted,
            "max_flagged": gate.settings.max_flagged,
            "poisoned": gate.poisoned,
            "threshold": gate.yardstick.threshold,
            "queries": len(log) if log else 0,
            "signals": {
                name: {"largest": float(ruler.numbers[-1]), "unit": ruler.unit} for name, ruler in gate.yardstick.rulers.items()
            },
        },
        seconds=round(time.perf_counter() - start, 1),
    )


def _worst(findings: Sequence[Found]) -> list[Found]:
    unjudged = float("inf")
    order = sorted(findings, key=lambda finding: -(unjudged if finding.verdict.suspicion is None else finding.verdict.suspicion))
    return order[:TOLD]


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[GateVerdict], None]]:
    """Writes verdicts to a file that appears whole or not at all."""
    if path is None:
        yield lambda _: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        yield lambda verdict: print(json.dumps(asdict(verdict)), file=file)
    part.replace(path)
