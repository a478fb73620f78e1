"""One worker of an ingestion: it reads parts, and builds what the store lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from ragguard.defenses.base import unfit
from ragguard.evaluation import models
from ragguard.evaluation.datasets import document
from ragguard.evidence import BLOCK, EvidenceBuilder
from ragguard.evidence.sql_store import Precision, SQLStore
from ragguard.ingest.plans import plan
from ragguard.ingest.reading import Part
from ragguard.protocols import Encoder
from ragguard.text import canonical, content_hash


@dataclass(frozen=True)
class Job:
    """What is to be built, in words that another machine understands, too.

    Attributes:
        store: SQLAlchemy URL of the database, or absolute path of an SQLite file.
        defenses: Whose evidence, as `ragguard.ingest.plan` reads them.
        model: Of the encoder, see `ragguard.evaluation.models.load`; None takes the offline one.
        precision: Of the vectors in the store.
    """

    store: str
    defenses: tuple[str, ...] = ("default",)
    model: str | None = None
    precision: Precision = "fp16"

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the plans, each once.

        Raises:
            InvalidInputError: If there are none, or one is unknown.
        """
        return tuple(dict.fromkeys(plan(spec).key for spec in self.defenses))

    def open(self) -> SQLStore:
        """The store, with little in memory.

        Raises:
            InvalidInputError: If the precision is unknown.
            StoreError: If it cannot be opened.
        """
        return SQLStore(self.store, precision=self.precision, cached=BLOCK)

    def worker(self) -> Worker:
        """Open the store, load the model.

        Raises:
            StoreError: If the store cannot be opened.
            EncoderError: If the model cannot be loaded.
        """
        return Worker(models.load(self.model), self.defenses, self.open())


@dataclass(frozen=True)
class Refusal:
    """A document of which no evidence is kept, since no defense judges it.

    Attributes:
        document: Its id.
        place: File and line or row.
        reason: In a sentence for people.
    """

    document: str
    place: str
    reason: str


@dataclass(frozen=True)
class Done:
    """What became of a block of documents.

    Attributes:
        encoder: Name of the encoder.
        read: Documents read.
        named: Id, place and content hash of those that have an id of their own.
        refused: Those that no defense judges.
        there: By plan, how many documents the store had evidence of, or an earlier document of the block has the text of.
        built: By plan, of how many there is some now.
    """

    encoder: str
    read: int
    named: tuple[tuple[str, str, str], ...]
    refused: tuple[Refusal, ...]
    there: Mapping[str, int]
    built: Mapping[str, int]


class Worker:
    """Builds evidence, a block of documents at a time, so that memory does not grow with the corpus."""

    def __init__(self, encoder: Encoder, defenses: tuple[str, ...], store: SQLStore) -> None:
        """Bind.

        Args:
            encoder: Embeds the pieces.
            defenses: Whose evidence, as `ragguard.ingest.plan` reads them.
            store: Where it is kept.
        """
        plans = {evidence_plan.key: evidence_plan for evidence_plan in map(plan, defenses)}
        self._builders = {key: EvidenceBuilder(encoder, evidence_plan, store) for key, evidence_plan in plans.items()}
        self._encoder, self.store = encoder.name, store

    def __call__(self, part: Part) -> Iterator[Done]:
        """Build what is missing of a part; every block is in the store when it is reported.

        Raises:
            InvalidInputError: If a document cannot be read; what came before its block is stored.
            EncoderError: If the encoder fails.
            StoreError: If the store does.
        """
        lines = part.read()
        while block := list(islice(lines, BLOCK)):
            texts, named, refused = [], [], []
            for place, row in block:
                passage = document(place, row, place)
                text = canonical(passage.text).text
                if passage.id != place:
                    named.append((passage.id, place, content_hash(text)))
                if reason := unfit(text):
                    refused.append(Refusal(passage.id, place, reason))
                else:
                    texts.append(text)
            built = {key: self._build(builder, texts) for key, builder in self._builders.items()}
            there = {key: len(texts) - count for key, count in built.items()}
            yield Done(self._encoder, len(block), tuple(named), tuple(refused), there, built)

    def _build(self, builder: EvidenceBuilder, texts: list[str]) -> int:
        missing = builder.missing(texts)
        builder.get(missing)
        return len(missing)
