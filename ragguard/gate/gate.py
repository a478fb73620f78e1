"""The gate: judges documents before any query, by how they compare with those of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ragguard.defenses.base import unfit
from ragguard.encoders.vectors import encode_documents
from ragguard.errors import InvalidInputError
from ragguard.evidence import BLOCK
from ragguard.gate.copies import Copies
from ragguard.gate.query_log import QueryLog
from ragguard.gate.signals import SIGNALS, GateSignal, View
from ragguard.gate.verdicts import GateVerdict
from ragguard.gate.yardstick import Yardstick, yardstick
from ragguard.language.corpus import SAMPLE, CorpusModel
from ragguard.text import Canonical, canonical, merge
from ragguard.types import Document

CALIBRATING = 10_000
"""Documents of a larger corpus that scales and threshold come from, drawn at random: 1 % of them are known to .1 %."""

FAR = 1.0
"""Units beyond every honest document from which a document is quarantined (benchmarks/results/scan.json, docs/scan.md)."""

Step = Callable[[str, int, int | None], None]
"""Told what is done, how much of it, and of how much (None where that is not known)."""


class GateSettings(BaseModel):
    """How strict a gate is.

    Attributes:
        max_flagged: Share of honest documents that may be flagged: the one knob. Those that are quarantined are among them.
        poisoned: Share of the yardstick's own documents that may be poison. None: 1 % where a corpus is judged by itself, as
            many as may be flagged by default; 0 where documents are trusted.
        seed: Of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_flagged: float = Field(default=0.01, gt=0, lt=1)
    poisoned: float | None = Field(default=None, ge=0, lt=0.5)
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """A document and what was decided on it.

    Attributes:
        document: As it came.
        verdict: Of the gate.
    """

    document: Document
    verdict: GateVerdict


class Gate:
    """Judges documents by the numbers that those of a corpus have. Memory grows by about 120 bytes a document beyond 100,000.

    Attributes:
        settings: How strict it is.
        yardstick: What it learned.
        learned: How many documents it read for that.
        trusted: Whether these are held to be honest; if not, the gate judges them themselves.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        *,
        trusted: bool,
        settings: GateSettings | None = None,
        log: QueryLog | None = None,
        step: Step = lambda *_: None,
    ) -> None:
        """Read a corpus twice: for its language and copies, and for its numbers.

        Args:
            documents: Can be read more than once. Those that no defense judges (too long, or without words) say nothing.
            trusted: Whether they are honest. Half of them, drawn at random, then give the scales, the others the threshold.
            settings: None takes the defaults.
            log: Queries that users ask; without it two signals are left out.
            step: For progress.

        Raises:
            InvalidInputError: If they cannot be read twice, or are too few for the share to be flagged.
            EncoderError: If the query log's encoder fails.
        """
        self.settings = settings or GateSettings()
        self.trusted = trusted
        self._documents, self._log, self._step = repeatable(documents), log, step
        self._signals: tuple[GateSignal, ...] = tuple(signal for signal in SIGNALS if log or not signal.asks)
        self._copies = Copies(apart=trusted)
        generator = np.random.default_rng(self.settings.seed)
        kept, self.learned = self._learn(generator)
        if not kept:
            raise InvalidInputError("the gate needs documents with words to learn from; there are none")
        self._copies.settle()
        self._corpus = CorpusModel(text for _, text in kept)
        drawn = [kept[i][0] for i in generator.permutation(len(kept))[:CALIBRATING].tolist()]
        self.yardstick = self._calibrated(drawn)

    def judge(self, documents: Iterable[Document] | None = None) -> Iterator[Judged]:
        """Judge documents, in their order and in blocks.

        Args:
            documents: What comes in; can be read more than once, since copies are looked for first, in it and in what the gate
                learned from (what was there already is no copy of itself). None judges the corpus that the gate learned from.

        Raises:
            InvalidInputError: If they cannot be read twice.
            EncoderError: If the query log's encoder fails.
        """
        source, copies = self._documents, self._copies
        if documents is not None:
            source, copies = repeatable(documents), Copies(self._copies)
            for block in blocks(source):
                texts = [text for document in block if not unfit(text := canonical(document.text).text)]
                copies.add([text for text in texts if text not in self._copies])
            copies.settle()
        done = 0
        for block in blocks(source):
            yield from self._judged(block, copies)
            done += len(block)
            self._step("judging", done, None if documents is not None else self.learned)

    def _learn(self, generator: np.random.Generator) -> tuple[list[tuple[str, str]], int]:
        """A sample of the texts (reservoir: Vitter 1985), as they came and in canonical form, and how many there are."""
        kept: list[tuple[str, str]] = []
        read = fit = 0
        for block in blocks(self._documents):
            texts = [(document.text, text) for document in block if not unfit(text := canonical(document.text).text)]
            self._copies.add([text for _, text in texts])
            for came, text in texts:
                fit += 1
                pair = (text if came == text else came, text)  # one string in memory where they are the same
                if len(kept) < SAMPLE:
                    kept.append(pair)
                elif (place := int(generator.integers(fit))) < SAMPLE:
                    kept[place] = pair
            read += len(block)
            self._step("reading", read, None)
        return kept, read

    def _calibrated(self, texts: Sequence[str]) -> Yardstick:
        rows: list[dict[str, float]] = []
        for start in range(0, len(texts), BLOCK):
            part = texts[start : start + BLOCK]
            rows += [self._numbers(view) for view in self._views([(text, canonical(text)) for text in part], self._copies)]
            self._step("calibrating", len(rows), len(texts))
        every = {signal.name: np.array([row[signal.name] for row in rows]) for signal in self._signals}
        half = len(rows) // 2 if self.trusted else 0
        fit = {name: values[:half] if half else values for name, values in every.items()}
        rest = {name: values[half:] for name, values in every.items()}
        units = {signal.name: signal.unit for signal in self._signals}
        return yardstick(fit, rest, units, self.settings.max_flagged, self.poisoned)

    @property
    def poisoned(self) -> float:
        """The share of its own documents that the gate holds for poison."""
        share = self.settings.poisoned
        return share if share is not None else 0.0 if self.trusted else 0.01

    def above(self, verdict: GateVerdict) -> tuple[str, ...]:
        """Names of the signals by which a document stands out, the worst first."""
        standard = self.yardstick.standard(verdict.signals)
        names = [name for name in standard if standard[name] > self.yardstick.threshold]
        return tuple(sorted(names, key=lambda name: -standard[name]))

    def _judged(self, block: Sequence[Document], copies: Copies) -> Iterator[Judged]:
        forms = [(document.text, canonical(document.text)) for document in block]
        reasons = [unfit(form.text) for _, form in forms]
        views = iter(self._views([pair for pair, reason in zip(forms, reasons, strict=True) if not reason], copies))
        for document, reason in zip(block, reasons, strict=True):
            if reason:
                yield Judged(document, GateVerdict(document.id, "quarantine", reason))
            else:
                yield Judged(document, self._verdict(document, next(views)))

    def _views(self, texts: Sequence[tuple[str, Canonical]], copies: Copies) -> Iterator[View]:
        vectors = encode_documents(self._log.encoder, [form.text for _, form in texts]) if self._log and texts else None
        for i, (text, form) in enumerate(texts):
            yield View(
                text=text,
                form=form,
                reading=self._corpus.read(form.text),
                copies=copies.of(form.text),
                log=self._log,
                vector=None if vectors is None else vectors[i],
            )

    def _numbers(self, view: View) -> dict[str, float]:
        return {signal.name: signal.number(view) for signal in self._signals}

    def _verdict(self, document: Document, view: View) -> GateVerdict:
        numbers = self._numbers(view)
        p_values = {name: self.yardstick.rulers[name].p_value(number) for name, number in numbers.items()}
        suspicion = max(self.yardstick.standard(numbers).values())
        verdict = GateVerdict(document.id, "admit", signals=numbers, p_values=p_values, suspicion=suspicion)
        if suspicion <= self.yardstick.threshold:
            return verdict
        known = {signal.name: signal for signal in self._signals}
        signals = [known[name] for name in self.above(verdict)]
        far = any(
            self.yardstick.rulers[name].beyond(number) >= FAR and number >= known[name].strong for name, number in numbers.items()
        )
        what = "; ".join(f"{signal.meaning} ({signal.name} {numbers[signal.name]:.2f})" for signal in signals)
        ruler = self.yardstick.rulers[signals[0].name]
        above = ruler.above(numbers[signals[0].name])
        much = f"{above or 'none'} of {len(ruler.numbers)} documents of the yardstick {'do' if above > 1 else 'does'} so as much"
        return replace(
            verdict,
            action="quarantine" if far else "flag",
            reason=f"The document {what}: {much}{', nor nearly' if far else ''}.",
            spans=merge([span for signal in signals for span in signal.spans(view)]),
        )


def repeatable(documents: Iterable[Document]) -> Iterable[Document]:
    """Documents that can be read more than once.

    Raises:
        InvalidInputError: If they are an iterator, or no iterable at all.
    """
    if not isinstance(documents, Iterable) or isinstance(documents, (str, bytes, Iterator)):
        raise InvalidInputError(f"expected documents that can be read more than once, such as a list, not {documents!r:.100}")
    return documents


def blocks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Blocks of documents, checked.

    Raises:
        InvalidInputError: If something is no document.
    """
    rest = iter(documents)
    while block := list(islice(rest, BLOCK)):
        for document in block:
            if not isinstance(document, Document):
                raise InvalidInputError(f"expected documents, not {document!r:.100}")
        yield block
