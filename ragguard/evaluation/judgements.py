"""Relevance judgements: BEIR's table with a header or without, and TREC's four columns."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ragguard.errors import InvalidInputError
from ragguard.evaluation.fields import MEND, shown
from ragguard.evaluation.reading import text_lines

QUERIES = frozenset(("query", "query_id", "queryid", "qid", "q_id", "topic", "topic_id"))
DOCUMENTS = frozenset(
    ("corpus_id", "corpusid", "document", "document_id", "doc", "doc_id", "docid", "docno", "passage", "passage_id", "pid")
)
GRADES = frozenset(("score", "grade", "relevance", "rel", "relevancy", "label", "judgment", "judgement", "rating"))
"""Names of the columns in headers of BEIR, TREC, MS MARCO and ir_datasets. A first line with other words may be a judgement whose
grade is none, and is refused."""

HEADER = "query-id<tab>corpus-id<tab>score"

ROUNDS = ("0", "Q0")
"""What TREC has in its second column, where nothing reads it; elsewhere there is a number, too."""

Columns = tuple[int, int, int]


def load(path: Path, queries: Collection[str], documents: Collection[str]) -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """Read judgements.

    Args:
        path: Of a table with query, document and grade, or of TREC's with query, 0, document and grade; tabs or spaces part
            columns. The first line may be a header with their names.
        queries: Ids that are there.
        documents: Likewise.

    Returns:
        Query id to the ids of its relevant documents, those with a grade above 0; and what is to be known: judgements of what is
        not there are left out, since parts of a corpus are common. That is logged, too.

    Raises:
        InvalidInputError: If the file cannot be read, a line is no judgement, all are of what is not there, or none is above 0;
            the message names file and line.
    """
    relevant: dict[str, set[str]] = {}
    count = absent = 0
    first = ""
    for where, query_id, document_id, grade in _judgements(path):
        count += 1
        if query_id not in queries or document_id not in documents:
            missing = f"query {shown(query_id)}" if query_id not in queries else f"document {shown(document_id)}"
            first = first or f"{where} judges the {missing}, which is not there"
            absent += 1
        elif grade > 0:
            relevant.setdefault(query_id, set()).add(document_id)
    if not count:
        raise InvalidInputError(f"{path} has no judgements; write one a line: {HEADER}")
    if absent == count:
        raise InvalidInputError(
            f"all {count} judgements are of what the dataset does not have: {first}; give the ids of its files"
        )
    if not relevant:
        raise InvalidInputError(f"{path} has {count} judgements, and none with a grade above 0 of what is there; one is needed")
    warnings = (f"{absent} of {count} judgements are left out: {first}",) if absent else ()
    for warning in warnings:
        logging.getLogger("ragguard").warning("%s", warning)
    return {query_id: frozenset(ids) for query_id, ids in relevant.items()}, warnings


def _judgements(path: Path) -> Iterator[tuple[str, str, str, int]]:
    """Place, query id, document id and grade of each."""
    columns: Columns | None = None
    width = 0
    for number, line in text_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line.strip() else line.split()
        if columns is None:
            width = len(cells)
            columns = _header(cells)
            if columns is not None:
                continue
            columns = _order(where, cells, line)
        if len(cells) != width:
            raise InvalidInputError(
                f"{where} needs query id, document id and grade in {width} columns, as the first line, not {shown(line)}; {MEND}"
            )
        query_id, document_id = cells[columns[0]], cells[columns[1]]
        if not query_id or not document_id:
            raise InvalidInputError(f"{where} needs query id and document id, not {shown(line)}; {MEND}")
        if columns == (0, 2, 3) and not (cells[1] in ROUNDS or cells[1].isdecimal()):
            raise InvalidInputError(f"{where} needs 0 in its second column, as TREC has, not {shown(line)}; {MEND}")
        yield where, query_id, document_id, _grade(where, cells[columns[2]], first=number == 1)


def _header(cells: Sequence[str]) -> Columns | None:
    """Where query, document and grade are, if the first line is a header that says so."""
    names = [cell.strip('"').lower().replace("-", "_") for cell in cells]
    places = [[place for place, name in enumerate(names) if name in known] for known in (QUERIES, DOCUMENTS, GRADES)]
    if any(len(place) != 1 for place in places):
        return None
    return places[0][0], places[1][0], places[2][0]


def _order(where: str, cells: Sequence[str], line: str) -> Columns:
    if len(cells) == 3:
        return 0, 1, 2
    if len(cells) == 4:
        return 0, 2, 3
    raise InvalidInputError(
        f"{where} needs query id, document id and grade, or TREC's query, 0, document and grade, not {shown(line)}; {MEND}"
    )


def _grade(where: str, cell: str, *, first: bool) -> int:
    try:
        value = float(cell)
        if value == int(value):  # some sets on the hub write 1.0
            return int(value)
    except (ValueError, OverflowError):
        pass
    todo = f"{MEND}; a header has the names {HEADER}" if first else MEND
    raise InvalidInputError(f"{where} needs query id, document id and a whole number as grade, not {shown(cell)}; {todo}")
