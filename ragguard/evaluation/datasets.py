"""Datasets in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`, and `attacks.jsonl` where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragguard.attacks import Target
from ragguard.errors import DuplicateDocumentError, InvalidInputError
from ragguard.evaluation import fields, judgements, reading
from ragguard.evaluation.fields import DOCUMENT, MEND, QUERY, shown
from ragguard.evaluation.reading import SUFFIXES, records
from ragguard.evaluation.reading import rows as rows  # was written here
from ragguard.text import canonical, words
from ragguard.types import Document

LIES = ("poisonedrag-llm", "poisonedrag-I", "fluent-lie")
"""How the names of attack texts begin that are fluent lies without a copied query."""

JUDGEMENTS = (".tsv", ".txt", ".trec", ".qrels")
"""Suffixes of files of judgements, BEIR's first; what they hold is seen from their columns."""


@dataclass(frozen=True)
class AttackText:
    """A poisoned text written by somebody for one query.

    Attributes:
        query_id: The query it attacks.
        attack: The kind of attack.
        text: The text.
    """

    query_id: str
    attack: str
    text: str


@dataclass(frozen=True)
class Dataset:
    """A corpus with judged queries.

    Attributes:
        name: Name of the folder.
        documents: The corpus; a title goes in front of its text, as BEIR does.
        queries: Query id to text, judged queries only.
        relevant: Query id to the ids of its relevant documents.
        answers: Query id to (correct answer, incorrect answer), where the dataset has them.
        attack_texts: Ready-made attack texts.
        paraphrases: Query id to paraphrases of the query, from `paraphrases.jsonl` where there is one.
        left_out: Ids of documents without words, which public corpora have and no index takes.
        warnings: What whoever reads the results should know: judgements of what is not there.
    """

    name: str
    documents: tuple[Document, ...]
    queries: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]
    answers: Mapping[str, tuple[str, str]]
    attack_texts: tuple[AttackText, ...]
    paraphrases: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load(folder: Path) -> Dataset:
    """Read a dataset.

    Where the folder has no `corpus.jsonl`, `queries.jsonl` or `qrels/test.tsv`, the same in another format is taken, see
    `ragguard.evaluation.reading.records`; judgements may be `qrels/test.txt`, `.trec` or `.qrels`, too, in TREC's form or BEIR's.

    Raises:
        InvalidInputError: If a file is missing, a line malformed, or there is nothing to search, ask or judge by; the message
            names file and line.
    """
    corpus = in_folder(folder, "corpus")
    documents = [*_documents(corpus)]
    asking = in_folder(folder, "queries")
    texts: dict[str, str] = {}
    answers: dict[str, tuple[str, str]] = {}
    for where, row in records(asking, QUERY):
        query_id = fields.identifier(where, row, QUERY.ids)
        if query_id in texts:
            raise InvalidInputError(f"{where} has the id {query_id!r}, which an earlier line has; rename or take out one of them")
        texts[query_id] = _query(where, row)
        metadata = fields.metadata(where, row)
        if "correct_answer" in metadata and "incorrect_answer" in metadata:
            answers[query_id] = (str(metadata["correct_answer"]), str(metadata["incorrect_answer"]))
    kept = tuple(passage for passage in documents if words(passage.text))
    left_out = tuple(passage.id for passage in documents if not words(passage.text))
    if not kept:
        raise InvalidInputError(f"{corpus} has {len(documents)} documents, and none with words; at least one is needed")
    if not texts:
        raise InvalidInputError(f"{asking} has no queries; at least one is needed")
    judged_by = in_folder(folder, "qrels/test", JUDGEMENTS)
    relevant, warnings = judgements.load(judged_by, texts, {passage.id for passage in documents})
    attacks = folder / "attacks.jsonl"
    attack_texts = tuple(
        AttackText(
            fields.identifier(where, row, ("query_id",)), fields.string(where, row, "attack"), fields.string(where, row, "text")
        )
        for where, row in (_lines(attacks) if attacks.exists() else ())
    )
    judged = {query_id: text for query_id, text in texts.items() if query_id in relevant}
    own = folder / "paraphrases.jsonl"
    paraphrases = load_paraphrases(own) if own.exists() else {}
    return Dataset(folder.name, kept, judged, relevant, answers, attack_texts, paraphrases, left_out, warnings)


def in_folder(folder: Path, name: str, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file of a dataset with this name: in the first of the formats, or else in the only other one that is there.

    Where there is none, the path is that of BEIR's file.

    Raises:
        InvalidInputError: If there are several others.
    """
    named = folder / f"{name}{suffixes[0]}"
    if named.exists():
        return named
    there = [path for suffix in suffixes for end in ("", ".gz") if (path := folder / f"{name}{suffix}{end}").exists()]
    if len(there) > 1:
        raise InvalidInputError(f"{folder} has {' and '.join(path.name for path in there)}; leave the one that is to be read")
    return there[0] if there else named


def load_documents(path: Path) -> tuple[Document, ...]:
    """Read `corpus.jsonl`, or any other file with rows that have `text`; without an id, the number of the line is the id.

    `.json`, `.csv` and `.tsv` are read as what they are, other files as JSON lines, each with `.gz` behind it unpacked; see
    `ragguard.evaluation.reading.records`. In a `.json` file, what has no id is numbered. Documents without words are left out.

    Raises:
        InvalidInputError: If the file is missing, a line malformed, or an id there twice with different texts; the message names
            file and line.
    """
    return tuple(passage for passage in _documents(path, numbered=True) if words(passage.text))


def load_queries(path: Path) -> tuple[str, ...]:
    """Read different queries, in canonical form, from any of the formats of `ragguard.evaluation.reading.records`.

    These are JSON lines (`.jsonl`, `.ndjson`), `.json`, tables (`.tsv`, `.csv`), and one query a line (`.txt`, `.log`, no suffix,
    so pipes, too), each with `.gz` behind it or not. Ids are not needed.

    Raises:
        InvalidInputError: If the file is missing, a line malformed, or an id there twice with different texts; the message names
            file and line.
    """
    queries: dict[str, None] = {}
    by_id: dict[str, str] = {}
    for where, row in records(path, QUERY):
        query = _query(where, row).strip()
        if not row.keys().isdisjoint(QUERY.ids):
            query_id = fields.identifier(where, row, QUERY.ids, "")
            if query_id and by_id.setdefault(query_id, query) != query:
                raise InvalidInputError(
                    f"{where} has the id {query_id!r}, which an earlier line has, for {shown(query)}, not "
                    f"{shown(by_id[query_id])}; rename or take out one of them"
                )
        if query:
            queries[query] = None
    return tuple(queries)


def load_paraphrases(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `{"query_id": ..., "paraphrases": [...]}` lines.

    Raises:
        InvalidInputError: If the file is missing or a line malformed; the message names file and line.
    """
    paraphrases = {}
    for where, row in _lines(path):
        texts = row.get("paraphrases")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise InvalidInputError(f"{where} needs a list of strings under 'paraphrases', not {shown(texts)}")
        paraphrases[fields.identifier(where, row, ("query_id",))] = tuple(texts)
    return paraphrases


def targets(dataset: Dataset, count: int, seed: int = 0) -> list[Target]:
    """Queries to attack, drawn with a seed, and what an attacker may know about them.

    Where the dataset has attack texts, or else answers, only queries that have them are drawn.

    Raises:
        InvalidInputError: If there are fewer such queries than asked for.
    """
    attacked = {text.query_id for text in dataset.attack_texts}
    known = [name for name in dataset.queries if name in attacked or (not attacked and name in dataset.answers)]
    names = known or list(dataset.queries)
    if not 0 < count <= len(names):
        raise InvalidInputError(f"{dataset.name} has {len(names)} queries to attack, not {count}; ask for 1 to {len(names)}")
    drawn = np.random.default_rng(seed).permutation(len(names))[:count]
    return [target(dataset, names[row]) for row in sorted(drawn.tolist())]


def others(dataset: Dataset, attacked: Sequence[Target], count: int, seed: int = 0) -> tuple[str, ...]:
    """At most `count` queries that are not attacked, drawn with a seed."""
    texts = {one.query for one in attacked}
    free = [query for query in dataset.queries.values() if query not in texts]
    return tuple(free[row] for row in np.random.default_rng(seed).permutation(len(free))[:count].tolist())


def target(dataset: Dataset, query_id: str) -> Target:
    """One query as a target.

    Raises:
        InvalidInputError: If the dataset has no such query, or no judgments for it.
    """
    if query_id not in dataset.queries:
        raise InvalidInputError(f"{dataset.name} has no query {query_id!r} with judgments")
    correct, incorrect = dataset.answers.get(query_id, ("", ""))
    return Target(
        id=query_id,
        query=dataset.queries[query_id],
        correct=correct,
        incorrect=incorrect,
        lies=tuple(t.text for t in dataset.attack_texts if t.query_id == query_id and t.attack.startswith(LIES)),
        relevant=tuple(passage for passage in dataset.documents if passage.id in dataset.relevant[query_id]),
    )


def document(where: str, row: Mapping[str, Any], unnamed: str | None = None) -> Document:
    """The document of a row with an id, a text and, where it has them, `title` and `metadata`.

    Args:
        where: File and line; begins messages.
        row: The row; ids and texts may have all the names of `ragguard.evaluation.fields.DOCUMENT`.
        unnamed: The id where the row has none.

    Raises:
        InvalidInputError: If something is missing or of another type; the message begins with `where`.
    """
    title = fields.title(where, row)
    text = f"{title} {fields.text(where, row, DOCUMENT)}".strip()
    name = fields.identifier(where, row, DOCUMENT.ids, unnamed)
    return Document(name, text, {**fields.metadata(where, row), "title": title})


def _documents(path: Path, *, numbered: bool = False) -> Iterator[Document]:
    """The documents of a file, one after the other.

    Raises:
        DuplicateDocumentError: If an id is there twice with different texts.
        InvalidInputError: If something else is wrong.
    """
    texts: dict[str, str] = {}
    for number, (where, row) in enumerate(records(path, DOCUMENT), 1):
        unnamed = str(number) if reading.suffix(path) == ".json" else where.rpartition(":")[2]
        passage = document(where, row, unnamed if numbered else None)
        if texts.setdefault(passage.id, passage.text) != passage.text:
            raise DuplicateDocumentError(
                f"{where} has the id {passage.id!r}, which an earlier line has with another text; rename or take out one of them"
            )
        yield passage


def _query(where: str, row: Mapping[str, Any]) -> str:
    """The canonical text of a query.

    Raises:
        InvalidInputError: If it is missing, or empty.
    """
    text = fields.text(where, row, QUERY)
    if not text.strip():
        raise InvalidInputError(f"{where} has an empty query, {shown(text)}; {MEND}")
    return canonical(text).text


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return rows(reading.byte_lines(path), path)
