"""Datasets in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`, and `attacks.jsonl` where there is one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragguard.errors import InvalidInputError
from ragguard.text import words
from ragguard.types import Document


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
        left_out: Ids of documents without words, which public corpora have and no index takes.
    """

    name: str
    documents: tuple[Document, ...]
    queries: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]
    answers: Mapping[str, tuple[str, str]]
    attack_texts: tuple[AttackText, ...]
    left_out: tuple[str, ...] = ()


def load(folder: Path) -> Dataset:
    """Read a dataset.

    Raises:
        InvalidInputError: If a file is missing or a line malformed; the message names file and line.
    """
    documents = []
    for where, row in _lines(folder / "corpus.jsonl"):
        text = f"{_text(where, row, 'title', '')} {_text(where, row, 'text')}".strip()
        metadata = row.get("metadata") or {}
        documents.append(Document(_text(where, row, "_id"), text, {**metadata, "title": row.get("title", "")}))
    texts: dict[str, str] = {}
    answers: dict[str, tuple[str, str]] = {}
    for where, row in _lines(folder / "queries.jsonl"):
        query_id = _text(where, row, "_id")
        texts[query_id] = _text(where, row, "text")
        metadata = row.get("metadata") or {}
        if "correct_answer" in metadata and "incorrect_answer" in metadata:
            answers[query_id] = (str(metadata["correct_answer"]), str(metadata["incorrect_answer"]))
    relevant = _qrels(folder / "qrels" / "test.tsv", texts, {document.id for document in documents})
    attacks = folder / "attacks.jsonl"
    attack_texts = tuple(
        AttackText(_text(where, row, "query_id"), _text(where, row, "attack"), _text(where, row, "text"))
        for where, row in (_lines(attacks) if attacks.exists() else ())
    )
    judged = {query_id: text for query_id, text in texts.items() if query_id in relevant}
    kept = tuple(document for document in documents if words(document.text))
    left_out = tuple(document.id for document in documents if not words(document.text))
    return Dataset(folder.name, kept, judged, relevant, answers, attack_texts, left_out)


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidInputError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InvalidInputError(f"{path}:{number} must be a JSON object")
        yield f"{path}:{number}", row


def _text(where: str, row: dict[str, Any], key: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where} needs a string under {key!r}, not {value!r}")
    return value


def _qrels(path: Path, queries: Mapping[str, str], documents: set[str]) -> dict[str, frozenset[str]]:
    try:
        rows = path.read_text(encoding="utf-8").split("\n")[1:]
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
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
    return {query_id: frozenset(found) for query_id, found in relevant.items()}
