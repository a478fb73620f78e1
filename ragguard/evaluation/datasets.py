"""Datasets in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`, and `attacks.jsonl` where there is one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragguard.attacks import Target
from ragguard.errors import InvalidInputError
from ragguard.text import canonical, words
from ragguard.types import Document

LIES = ("poisonedrag-llm", "poisonedrag-I", "fluent-lie")
"""How the names of attack texts begin that are fluent lies without a copied query."""


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
    """

    name: str
    documents: tuple[Document, ...]
    queries: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]
    answers: Mapping[str, tuple[str, str]]
    attack_texts: tuple[AttackText, ...]
    paraphrases: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()


def load(folder: Path) -> Dataset:
    """Read a dataset.

    Raises:
        InvalidInputError: If a file is missing or a line malformed; the message names file and line.
    """
    documents = []
    for where, row in _lines(folder / "corpus.jsonl"):
        documents.append(document(where, row))
    texts: dict[str, str] = {}
    answers: dict[str, tuple[str, str]] = {}
    for where, row in _lines(folder / "queries.jsonl"):
        query_id = _id(where, row)
        if query_id in texts:
            raise InvalidInputError(f"{where} has the id {query_id!r}, which an earlier line has")
        texts[query_id] = canonical(_text(where, row, "text")).text
        metadata = _metadata(where, row)
        if "correct_answer" in metadata and "incorrect_answer" in metadata:
            answers[query_id] = (str(metadata["correct_answer"]), str(metadata["incorrect_answer"]))
    relevant = _qrels(folder / "qrels" / "test.tsv", texts, {passage.id for passage in documents})
    attacks = folder / "attacks.jsonl"
    attack_texts = tuple(
        AttackText(_text(where, row, "query_id"), _text(where, row, "attack"), _text(where, row, "text"))
        for where, row in (_lines(attacks) if attacks.exists() else ())
    )
    judged = {query_id: text for query_id, text in texts.items() if query_id in relevant}
    kept = tuple(passage for passage in documents if words(passage.text))
    left_out = tuple(passage.id for passage in documents if not words(passage.text))
    own = folder / "paraphrases.jsonl"
    paraphrases = load_paraphrases(own) if own.exists() else {}
    return Dataset(folder.name, kept, judged, relevant, answers, attack_texts, paraphrases, left_out)


def load_documents(path: Path) -> tuple[Document, ...]:
    """Read `corpus.jsonl`, or any file of JSON lines with `text`; without `_id`, the number of the line is the id.

    Documents without words are left out.

    Raises:
        InvalidInputError: If the file is missing or a line malformed; the message names file and line.
    """
    documents = (document(where, {"_id": where.rpartition(":")[2], **row}) for where, row in _lines(path))
    return tuple(passage for passage in documents if words(passage.text))


def load_queries(path: Path) -> tuple[str, ...]:
    """Read different queries, in canonical form: JSON lines with `text` where the name ends in `.jsonl`, else one query a line.

    Raises:
        InvalidInputError: If the file is missing or a line malformed; the message names file and line.
    """
    as_json = path.suffix == ".jsonl"
    texts = [_text(where, row, "text") for where, row in _lines(path)] if as_json else _read(path).split("\n")
    return tuple(dict.fromkeys(query for text in texts if (query := canonical(text).text.strip())))


def load_paraphrases(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `{"query_id": ..., "paraphrases": [...]}` lines.

    Raises:
        InvalidInputError: If the file is missing or a line malformed; the message names file and line.
    """
    paraphrases = {}
    for where, row in _lines(path):
        texts = row.get("paraphrases")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise InvalidInputError(f"{where} needs a list of strings under 'paraphrases', not {texts!r}")
        paraphrases[_text(where, row, "query_id")] = tuple(texts)
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


def document(where: str, row: Mapping[str, Any]) -> Document:
    """The document of a row with `_id`, `text` and, where it has them, `title` and `metadata`.

    Raises:
        InvalidInputError: If something is missing or of another type; the message begins with `where`.
    """
    text = f"{_text(where, row, 'title', '')} {_text(where, row, 'text')}".strip()
    return Document(_id(where, row), text, {**_metadata(where, row), "title": row.get("title", "")})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error


def rows(lines: Iterable[bytes], path: Path | str, first: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, each with its place, `path:number`; empty lines are passed over.

    Args:
        lines: Of a file, or a part of it.
        path: Of the file; for messages.
        first: Number of the first of the lines.

    Raises:
        InvalidInputError: If a line is no JSON object; the message names file and line.
    """
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{path}:{number} is not JSON: {error}; mend the line, or take it out") from error
        if not isinstance(row, dict):
            raise InvalidInputError(f"{path}:{number} must be a JSON object; mend the line, or take it out")
        yield f"{path}:{number}", row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two texts, another reader may take the other one."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"a name is there twice among {[name for name, _ in pairs]!r:.200}")
    return members


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            yield from rows(file, path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error


def _id(where: str, row: Mapping[str, Any]) -> str:
    value = _text(where, row, "_id")
    if not value or not value.isprintable():
        raise InvalidInputError(f"{where} needs printable characters under '_id', not {value!r}")
    return value


def _metadata(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    value = row.get("metadata") or {}
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where} needs an object under 'metadata', not {value!r}")
    return value


def _text(where: str, row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where} needs a string under {key!r}, not {value!r}")
    return value


def _qrels(path: Path, queries: Mapping[str, str], documents: set[str]) -> dict[str, frozenset[str]]:
    rows = _read(path).split("\n")[1:]
    relevant: dict[str, set[str]] = {}
    for number, row in enumerate(rows, 2):
        if not row.strip():
            continue
        try:
            query_id, document_id, grade = row.split("\t")
            positive = float(grade) > 0
        except ValueError as error:
            raise InvalidInputError(
                f"{path}:{number} needs query id, document id and a number, tab-separated: {row!r}"
            ) from error
        if query_id not in queries or document_id not in documents:
            raise InvalidInputError(f"{path}:{number} judges {query_id!r} / {document_id!r}, which the dataset does not have")
        if positive:
            relevant.setdefault(query_id, set()).add(document_id)
    return {query_id: frozenset(ids) for query_id, ids in relevant.items()}
