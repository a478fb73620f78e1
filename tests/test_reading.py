"""Files of queries, documents and judgements are read as what they are, or refused with file and line: never misread."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ragguard.defenses import CalibratedGuard, CalibratedGuardSettings
from ragguard.errors import DuplicateDocumentError, InvalidInputError
from ragguard.evaluation import calibrate, datasets, judgements, reading, tables
from ragguard.ingest.reading import parts
from ragguard.scan.sources import Sources
from ragguard.testing import WordHashEncoder
from ragguard.text import canonical

LOVE, WON = "what is love", "who won"
BOTH = (LOVE, WON)
BOM = "\ufeff"
PACKED = gzip.compress(b'{"text": "what is love"}\n{"text": "who won"}\n')

QUERIES: list[tuple[str, str, str | bytes, Sequence[str] | str]] = [
    # what it is, name of the file, its content, the queries or the refusal
    ("one a line", "q.txt", "what is love\nwho won\n", BOTH),
    ("one a line, no suffix", "queries", "what is love\nwho won", BOTH),
    ("one a line of a log, packed", "q.log.gz", gzip.compress(b"what is love\nwho won\n"), BOTH),
    ("BOM, CRLF, empty lines, spaces", "q.txt", f"{BOM}what is love\r\n\r\n  who won \r\n", BOTH),
    ("the same twice", "q.txt", "what is love\nwho won\nwhat is love\n", BOTH),
    ("commas, quotes and brackets are text", "q.txt", 'a, b, "c"\n[INST] why\n{{who}}\n', ('a, b, "c"', "[INST] why", "{{who}}")),
    ("a table as text", "q.txt", "what is love\n1\twho won\n", r"q\.txt:2 has a tab: '1\\twho won'; name a table \.tsv"),
    ("JSON lines as text", "q.txt", '{"text": "what"}\n', r"q\.txt:1 looks like JSON.*name JSON lines \.jsonl"),
    ("broken JSON lines as text", "q.txt", 'what\n{"text": "wh\n', r"q\.txt:2 looks like JSON"),
    ("a JSON list as text", "q", '["what is love"]\n', r"q:1 looks like JSON"),
    ("indented JSON as text", "q.txt", '[\n  "what is love"\n]\n', r"q\.txt:1 looks like JSON"),
    ("a CSV as text", "q.txt", "id,query\n1,what is love\n", r"q\.txt:1 looks like the header of a table"),
    ("Latin-1", "q.txt", b"what\ncaf\xe9\n", r"q\.txt:2 is not UTF-8.*save the file as UTF-8"),
    ("UTF-16 without BOM", "q.txt", "what is".encode("utf-16-le"), r"q\.txt:1 has a NUL character"),
    ("UTF-16", "q.txt", "what is".encode("utf-16"), r"q\.txt:1 is not UTF-8"),
    ("line ends of old Macs", "q.txt", "what is love\rwho won\r", r"q\.txt:1 has a line end of old Macs"),
    ("something else", "q.yaml", "- what is love\n", r"q\.yaml ends in '\.yaml'; queries are read from"),
    ("a table of a spreadsheet", "q.xlsx", b"PK\x03\x04", r"q\.xlsx ends in '\.xlsx'"),
    ("JSON lines", "q.jsonl", '{"_id": "1", "text": "what is love"}\n{"_id": "2", "text": "who won"}\n', BOTH),
    ("JSON lines by another name", "Q.NDJSON", '{"text": "what is love"}\n\n{"text": "who won"}\n', BOTH),
    ("JSON lines with a BOM", "q.jsonl", f'{BOM}{{"text": "what is love"}}\r\n', (LOVE,)),
    ("JSON lines of strings", "q.jsonl", '"what is love"\n"who won"\n', BOTH),
    ("other names", "q.jsonl", '{"query_id": 1, "query": "what is love"}\n{"id": "2", "query": "who won"}\n', BOTH),
    ("a number as id, null as title", "q.jsonl", '{"_id": 7, "title": null, "metadata": null, "text": "who won"}\n', (WON,)),
    ("packed", "q.jsonl.gz", PACKED, BOTH),
    ("cut while packed", "q.jsonl.gz", PACKED[:-12], r"q\.jsonl\.gz cannot be read.*ended"),
    ("not packed", "q.jsonl.gz", "what is love\n", r"q\.jsonl\.gz cannot be read: Not a gzipped file"),
    ("packed without saying so", "q.jsonl", PACKED, r"q\.jsonl:1 is not JSON: 'utf-8'"),
    ("broken", "q.jsonl", '{"text": "what"}\n{"text": \n', r"q\.jsonl:2 is not JSON"),
    ("no text", "q.jsonl", '{"_id": "1", "title": "what"}\n', r"q\.jsonl:1 needs a string under 'text', not None.*'query'"),
    ("empty text", "q.jsonl", '{"text": "what"}\n{"text": " "}\n', r"q\.jsonl:2 has an empty query"),
    ("null as text", "q.jsonl", '{"text": null}\n', r"q\.jsonl:1 needs a string under 'text', not None"),
    ("a number as text", "q.jsonl", '{"text": 7}\n', r"q\.jsonl:1 needs a string under 'text', not 7"),
    ("a list", "q.jsonl", '["what"]\n', r"q\.jsonl:1 must be a JSON object or a string, not \['what'\]"),
    ("true as id", "q.jsonl", '{"_id": true, "text": "what"}\n', r"q\.jsonl:1 needs a string under '_id', not True"),
    ("a list as id", "q.jsonl", '{"_id": [1], "text": "what"}\n', r"q\.jsonl:1 needs a string under '_id', not \[1\]"),
    ("an empty id", "q.jsonl", '{"_id": "", "text": "what"}\n', r"q\.jsonl:1 needs printable characters under '_id', not ''"),
    (
        "two texts",
        "q.jsonl",
        '{"query": "what", "text": "passage"}\n',
        r"q\.jsonl:1 has different values under 'text' and 'query'",
    ),
    ("a name twice", "q.jsonl", '{"text": "what", "text": "who"}\n', r"q\.jsonl:1 is not JSON: a name is there twice"),
    (
        "an id twice",
        "q.jsonl",
        '{"_id": "1", "text": "what"}\n{"_id": 1, "text": "what"}\n{"_id": 1, "text": "who"}\n',
        r"q\.jsonl:3 has the id '1', which an earlier line has, for 'who', not 'what'",
    ),
    ("a long line is cut", "q.jsonl", f'{{"text": {json.dumps(["long"] * 100)}}}\n', r"q\.jsonl:1 .{,160}\.\.\.; mend"),
    ("a list of strings", "q.json", '["what is love",\n "who won"]', BOTH),
    ("a list of objects", "q.json", f'{BOM}[\n {{"id": 1, "query": "what is love"}},\n {{"query": "who won"}}\n]\n', BOTH),
    ("an object by ids", "q.json", '{"q1": "what is love", "q2": {"text": "who won"}}', BOTH),
    ("one object", "q.json", '{"_id": "q1", "text": "what is love"}', (LOVE,)),
    ("JSON lines named .json", "q.json", '{"text": "what is love"}\n{"text": "who won"}\n', BOTH),
    ("packed JSON", "q.json.gz", gzip.compress(b'["what is love", "who won"]'), BOTH),
    ("an empty list", "q.json", "[]", ()),
    ("broken JSON", "q.json", '[\n "what",\n "who"\n "why"]', r"q\.json:4 is not JSON: Expecting ',' or ']'"),
    ("JSON that goes on", "q.json", '["what"]\n["who"]', r"q\.json:2 is not JSON: Extra data"),
    ("a bad one of a list", "q.json", '[\n "what",\n {"text": 3}]', r"q\.json:3 needs a string under 'text', not 3"),
    ("an object of lists", "q.json", '{\n"queries": ["what"]}', r"q\.json:2 needs a text.*under 'queries', not \['what'\]"),
    ("a row or ids", "q.json", '{"text": "what", "q2": "who"}', r"q\.json:1 may be one query, or 2 by their ids"),
    ("ids twice", "q.json", '{"q1": "what", "q1": "who"}', r"q\.json has a name twice"),
    ("Latin-1 JSON", "q.json", b'["what",\n"caf\xe9"]', r"q\.json:2 is not UTF-8"),
    ("ids and queries", "q.tsv", "1\twhat is love\n2\twho won\n", BOTH),
    ("ids and queries with a header", "q.tsv", "query-id\ttext\r\n1\twhat is love\r\n2\twho won\r\n", BOTH),
    ("queries and ids with a header", "q.tsv", f"{BOM}query\tid\nwhat is love\t1\n\nwho won\t2\n", BOTH),
    ("queries alone", "q.tsv", "what is love\nwho won\n", BOTH),
    ("queries alone with a header", "q.tsv", "query\nwhat is love\nwho won\n", BOTH),
    ("a query that is named query", "q.tsv", "1\tquery\n2\twho won\n", ("query", WON)),
    ("quotes are text", "q.tsv", '1\t"to be" who\n2\t"to be"\n', ('"to be" who', '"to be"')),
    ("quotes as pandas writes them", "q.tsv", '_id\ttext\n1\t"the ""best"" town"\n', ('the "best" town',)),
    ("all in quotes", "q.tsv", '"_id"\t"text"\n"1"\t"what\tis love"\n', ("what\tis love",)),
    ("packed table", "q.tsv.gz", gzip.compress(b"1\twhat is love\n2\twho won\n"), BOTH),
    ("a row too long", "q.tsv", "1\twhat\n2\twho\t won\n", r"q\.tsv:2 has 3 columns, the first row 2: \['2', 'who', ' won'\]"),
    ("a row too short", "q.tsv", "_id\ttext\n1\twhat\n2\n", r"q\.tsv:3 has 1 columns, the header 2: '2'"),
    ("no id before the query", "q.tsv", "what is love\tyes\n", r"q\.tsv:1 begins with what is no id.*'_id\\ttext'"),
    ("the query before the id", "q.tsv", "love\t12\n", r"q\.tsv:1 has no letter where the query should be"),
    ("an id or a header", "q.tsv", "topic\tquery\n1\twhat\n", r"q\.tsv:1 may be the header, or the first query"),
    ("three columns", "q.tsv", "1\ten\twhat is love\n", r"q\.tsv:1 has 3 columns and no header"),
    ("three columns with a header", "q.tsv", "id\tlang\tquery\n1\ten\twhat is love\n", (LOVE,)),
    ("no column of texts", "q.tsv", "id\ttitle\n1\twhat is love\n", r"q\.tsv:1 names no column of texts"),
    ("a name of two columns", "q.csv", "id,text,text\n1,what,who\n", r"q\.csv:1 names two columns 'text'"),
    ("an id twice in a table", "q.tsv", "1\twhat\n1\twho\n", r"q\.tsv:2 has the id '1', which an earlier line has"),
    ("an empty cell", "q.tsv", "_id\ttext\n1\t\n", r"q\.tsv:2 has an empty query"),
    ("commas", "q.csv", 'id,query\n1,"what, is love"\n2,who won\n,\n', ("what, is love", WON)),
    ("commas without a header", "q.csv", "1,what is love\n2,who won\n", BOTH),
    ("one column", "q.csv", 'query\nwhat is love\n"who, won"\n', (LOVE, "who, won")),
    ("a text on two lines", "q.csv", 'id,query\n1,"what is\nlove"\n2,\n', r"q\.csv:4 has an empty query"),
    ("semicolons", "q.csv", "ID;Query\n1;what is love\n2;who won\n", BOTH),
    ("semicolons without a header", "q.csv", "1;what is love\n", r"q\.csv:1 may be columns parted by something else"),
    ("a text with a comma", "q.csv", "well, what is love\n", r"q\.csv:1 may be one text with a comma"),
    ("texts with commas", "q.csv", "what\na, b\n", r"q\.csv:2 has 2 columns, the first row 1.*in quotes"),
    ("an open quote", "q.csv", 'id,query\n1,what\n2,"who\n3,why\n', r"q\.csv:3 is no row of a table: unexpected end"),
    ("the index of pandas", "q.csv", ",query\n0,what is love\n1,who won\n", BOTH),
    ("nothing", "q.tsv", "\n", ()),
    ("empty cells", "q.csv", ",\n", ()),
]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", QUERIES, ids=[f"{case[0]} ({case[1]})" for case in QUERIES])
def test_queries_are_read_as_what_they_are_or_refused(
    case: tuple[str, str, str | bytes, Sequence[str] | str], tmp_path: Path
) -> None:
    _, name, content, expected = case
    path = written(tmp_path / name, content)
    if not isinstance(expected, str):
        assert datasets.load_queries(path) == tuple(expected)
        return
    with pytest.raises(InvalidInputError, match=expected) as caught:
        datasets.load_queries(path)
    assert str(path) in str(caught.value)


TOWN = ("a", "the town hall", {"title": ""})
TITLED = ("7", "Hall the town hall", {"title": "Hall"})

DOCUMENTS: list[tuple[str, str, str | bytes, Sequence[tuple[str, str, dict[str, Any]]] | str]] = [
    ("BEIR", "c.jsonl", '{"_id": "7", "title": "Hall", "text": "the town hall", "metadata": {}}\n', [TITLED]),
    ("a number as id", "c.ndjson", '{"_id": 7, "title": "Hall", "text": "the town hall"}\n', [TITLED]),
    ("null as title and metadata", "c.jsonl", '{"_id": "a", "title": null, "metadata": null, "text": "the town hall"}\n', [TOWN]),
    (
        "other names",
        "c.jsonl",
        '{"id": "a", "contents": "the town hall"}\n{"doc_id": 7, "title": "Hall", "content": "the town hall"}',
        [TOWN, TITLED],
    ),
    ("no id", "c.jsonl", '\n{"text": "the town hall"}\n', [("2", "the town hall", {"title": ""})]),
    ("BEIR's names count", "c.jsonl", '{"_id": "a", "id": 9, "text": "the town hall", "content": "html"}\n', [TOWN]),
    ("a BOM", "c.jsonl", f'{BOM}{{"_id": "a", "text": "the town hall"}}\r\n', [TOWN]),
    ("packed", "c.jsonl.gz", gzip.compress(b'{"_id": "a", "text": "the town hall"}\n'), [TOWN]),
    ("any suffix", "c.dump", '{"_id": "a", "text": "the town hall"}\n', [TOWN]),
    (
        "a list",
        "c.json",
        '[{"_id": "a", "text": "the town hall"}, {"_id": 7, "title": "Hall", "text": "the town hall"}]',
        [TOWN, TITLED],
    ),
    (
        "a list without ids",
        "c.json",
        '[{"text": "one hall"}, {"text": "two"}]',
        [("1", "one hall", {"title": ""}), ("2", "two", {"title": ""})],
    ),
    ("by ids", "c.json", '{"a": {"text": "the town hall"}, "7": {"title": "Hall", "text": "the town hall"}}', [TOWN, TITLED]),
    ("a table", "c.tsv", "_id\ttitle\ttext\na\t\tthe town hall\n7\tHall\tthe town hall\n", [TOWN, TITLED]),
    ("commas", "c.csv", '"doc_id","title","contents"\n"a","","the town hall"\n7,Hall,the town hall\n', [TOWN, TITLED]),
    (
        "other columns are metadata",
        "c.csv.gz",
        gzip.compress(b'id,text,source,metadata\na,the town hall,wiki,"{""n"": 1}"\nb,why,,\n'),
        [("a", "the town hall", {"source": "wiki", "n": 1, "title": ""}), ("b", "why", {"title": ""})],
    ),
    ("without words", "c.jsonl", '{"_id": "a", "text": "the town hall"}\n{"_id": "b", "text": " "}\n', [TOWN]),
    ("nothing", "c.jsonl", "", []),
    ("no header", "c.tsv", "a\tthe town hall\n", r"c\.tsv:1 names no column of texts \(text, contents, content\)"),
    ("no object", "c.jsonl", '"the town hall"\n', r"c\.jsonl:1 must be a JSON object, not 'the town hall'"),
    ("no text", "c.jsonl", '{"_id": "a", "title": "Hall"}\n', r"c\.jsonl:1 needs a string under 'text', not None"),
    ("true as id", "c.jsonl", '{"_id": true, "text": "t"}\n', r"c\.jsonl:1 needs a string under '_id', not True"),
    ("a control character in an id", "c.jsonl", '{"_id": "a\\n", "text": "t"}\n', r"c\.jsonl:1 needs printable characters"),
    (
        "a number as title",
        "c.jsonl",
        '{"_id": "a", "title": 3, "text": "t"}\n',
        r"c\.jsonl:1 needs a string under 'title', not 3",
    ),
    (
        "a list as metadata",
        "c.jsonl",
        '{"_id": "a", "text": "t", "metadata": []}\n',
        r"c\.jsonl:1 needs an object under 'metadata'",
    ),
    ("metadata that are none", "c.csv", "id,text,metadata\na,t,{'n': 1}\n", r"c\.csv:2 needs a JSON object under 'metadata'"),
    ("metadata that are a number", "c.csv", "id,text,metadata\na,t,1\n", r"c\.csv:2 needs an object under 'metadata', not 1"),
    (
        "two ids",
        "c.jsonl",
        '{"id": "a", "doc_id": "b", "text": "t"}\n',
        r"c\.jsonl:1 has different values under 'id' and 'doc_id'",
    ),
    (
        "an id twice",
        "c.jsonl",
        '{"_id": "a", "text": "t"}\n{"_id": "a", "text": "u"}\n',
        r"c\.jsonl:2 has the id 'a', which an earlier",
    ),
    (
        "a text too long for CSV",
        "c.csv",
        f"id,text\na,{'x' * 200_000}\n",
        r"c\.csv:2 is no row.*field limit.*or write JSON lines",
    ),
    ("not there", "nothing/c.jsonl", b"", r"c\.jsonl cannot be read"),
]


@pytest.mark.parametrize("case", DOCUMENTS, ids=[f"{case[0]} ({case[1]})" for case in DOCUMENTS])
def test_documents_are_read_as_what_they_are_or_refused(
    case: tuple[str, str, str | bytes, Sequence[tuple[str, str, dict[str, Any]]] | str], tmp_path: Path
) -> None:
    _, name, content, expected = case
    path = tmp_path / name
    if path.parent == tmp_path:
        written(path, content)
    if not isinstance(expected, str):
        assert [(document.id, document.text, document.metadata) for document in datasets.load_documents(path)] == list(expected)
        return
    with pytest.raises(InvalidInputError, match=expected) as caught:
        datasets.load_documents(path)
    assert isinstance(caught.value, DuplicateDocumentError) == ("which an earlier" in expected)


ALL = {"q1": {"d1", "d2"}, "q2": {"d3"}}

JUDGED: list[tuple[str, str, dict[str, set[str]] | str]] = [
    ("BEIR", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t2\nq2\td3\t1\nq2\td1\t0\n", ALL),
    ("no header: the first judgement counts", "q2\td3\t1\nq1\td1\t1\nq1\td2\t1\n", ALL),
    ("a BOM, CRLF, empty lines", f"{BOM}query-id\tcorpus-id\tscore\r\n\r\nq1\td1\t1\r\nq1\td2\t1\r\nq2\td3\t1\r\n", ALL),
    ("TREC", "q1 0 d1 1\nq1 0 d2 1\nq2 Q0 d3 1\nq2 0 d1 -1\n", ALL),
    ("TREC with tabs", "q1\t0\td1\t1\nq1\t0\td2\t1\nq2\t0\td3\t1\n", ALL),
    ("columns in another order", "docid\tqid\trel\nd1\tq1\t1\nd2\tq1\t1\nd3\tq2\t1\n", ALL),
    ("grades as floats", "q1\td1\t1.0\nq1\td2\t1.0\nq2\td3\t2.0\n", ALL),
    ("a grade that is no number", "q1\td1\tx\nq1\td2\t1\n", r"test\.tsv:1 needs .*whole number as grade, not 'x'.*a header has"),
    ("a grade between", "q1\td1\t1\nq1\td2\t0.5\n", r"test\.tsv:2 needs .*whole number as grade, not '0\.5'"),
    ("a grade that is not a number", "q1\td1\tnan\n", r"test\.tsv:1 needs .*not 'nan'"),
    ("an endless grade", "q1\td1\tinf\n", r"test\.tsv:1 needs .*not 'inf'"),
    ("other words as header", "a\tb\tc\nq1\td1\t1\n", r"test\.tsv:1 needs .*a header has the names query-id"),
    ("two columns", "q1\td1\n", r"test\.tsv:1 needs query id, document id and grade, or TREC's"),
    ("a TREC run", "q1 Q0 d1 1 0.9 bm25\n", r"test\.tsv:1 needs query id"),
    ("another second column", "q1\td1\td2\t1\n", r"test\.tsv:1 needs 0 in its second column"),
    ("rows of two kinds", "q1\td1\t1\nq1\t0\td2\t1\n", r"test\.tsv:2 needs query id, document id and grade in 3 columns"),
    ("no document", "q1\t\t1\n", r"test\.tsv:1 needs query id and document id"),
    ("nothing that is there", "q1\tdx\t1\nqx\td1\t1\n", r"all 2 judgements.*test\.tsv:1 judges the document 'dx'"),
    ("nothing relevant", "q1\td1\t0\n", r"test\.tsv has 1 judgements, and none with a grade above 0"),
    ("nothing", "query-id\tcorpus-id\tscore\n", r"test\.tsv has no judgements"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three documents and two queries, without judgements."""
    (tmp_path / "qrels").mkdir()
    written(tmp_path / "corpus.jsonl", "".join(f'{{"_id": "d{i}", "text": "hall {i}"}}\n' for i in (1, 2, 3)))
    written(tmp_path / "queries.jsonl", '{"_id": "q1", "text": "what is love"}\n{"_id": "q2", "text": "who won"}\n')
    return tmp_path


@pytest.mark.parametrize("case", JUDGED, ids=[case[0] for case in JUDGED])
def test_judgements_are_read_as_what_they_are_or_refused(case: tuple[str, str, dict[str, set[str]] | str], folder: Path) -> None:
    _, content, expected = case
    written(folder / "qrels" / "test.tsv", content)
    if not isinstance(expected, str):
        dataset = datasets.load(folder)
        assert dataset.relevant == expected
        assert dataset.warnings == ()
        return
    with pytest.raises(InvalidInputError, match=expected):
        datasets.load(folder)


def test_judgements_of_what_is_not_there_are_counted_and_the_first_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(folder / "qrels" / "test.tsv", "q1\td1\t1\nq1\tgone\t1\nnobody\td1\t1\n")
    with caplog.at_level(logging.WARNING, "ragguard"):
        dataset = datasets.load(folder)
    (warning,) = dataset.warnings
    assert dataset.relevant == {"q1": {"d1"}}
    assert dataset.queries == {"q1": LOVE}
    assert warning.startswith("2 of 3 judgements are left out: ")
    assert warning.endswith("test.tsv:2 judges the document 'gone', which is not there")
    assert caplog.messages == [warning]


def test_a_folder_may_have_other_formats_and_not_two_of_them(folder: Path) -> None:
    (folder / "queries.jsonl").unlink()
    written(folder / "queries.tsv", "q1\twhat is love\nq2\twho won\n")
    written(folder / "qrels" / "test.qrels.gz", gzip.compress(b"q1 0 d1 1\nq2 0 d3 1\n"))
    written(folder / "corpus.csv", "id,text\nd9,nine\n")  # beside BEIR's own file it does not count
    dataset = datasets.load(folder)
    assert dataset.queries == {"q1": LOVE, "q2": WON}
    assert dataset.relevant == {"q1": {"d1"}, "q2": {"d3"}}
    assert [document.id for document in dataset.documents] == ["d1", "d2", "d3"]
    assert calibrate.read(str(folder), None, None, folder)[1] == BOTH
    written(folder / "queries.csv", "q1,what is love\n")
    with pytest.raises(InvalidInputError, match=r"has queries\.tsv and queries\.csv; leave the one"):
        datasets.load(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", "", r"corpus\.jsonl has 0 documents, and none with words; at least one is needed"),
        ("corpus.jsonl", '{"_id": "d1", "text": " "}\n', r"corpus\.jsonl has 1 documents, and none with words"),
        ("queries.jsonl", "\n", r"queries\.jsonl has no queries; at least one is needed"),
        ("queries.jsonl", '{"text": "what"}\n', r"queries\.jsonl:1 needs a string under '_id', not None"),
    ],
)
def test_a_dataset_with_too_little_says_what_is_missing(file: str, content: str, message: str, folder: Path) -> None:
    written(folder / "qrels" / "test.tsv", "q1\td1\t1\n")
    written(folder / file, content)
    with pytest.raises(InvalidInputError, match=message):
        datasets.load(folder)


LINE = '{{"_id": "{0}", "text": "the hall number {0} was opened by a mayor with a feast"}}\n'


@pytest.mark.parametrize(
    ("documents", "queries", "message"),
    [
        (0, 80, "the corpus has 0 documents with words, and 2 are needed"),
        (1, 80, "the corpus has 1 document with words, and 2 are needed"),
        (2, 0, "0 different queries are too few: a loss of 2.00% needs 49; give more, or allow more"),
        (2, 48, "48 different queries are too few: a loss of 2.00% needs 49; give more, or allow more"),
        (2, 58, "58 different queries are too few: a loss of 2.00% needs 49 to calibrate with and 10 to fit"),
        (3, None, "queries are derived from 3 documents: . different queries are too few: a loss of 2.00% needs 49"),
    ],
)
def test_a_calibration_on_too_little_says_how_much_is_there_and_needed(
    documents: int, queries: int | None, message: str, tmp_path: Path
) -> None:
    corpus = written(tmp_path / "c.jsonl", "".join(LINE.format(i) for i in range(documents)))
    asking = None if queries is None else written(tmp_path / "q.txt", "".join(f"what is hall {i}\n" for i in range(queries)))
    read = calibrate.read(None, corpus, asking, tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        calibrate.calibrate(*read, k=2, settings=CalibratedGuardSettings(), model=None, cache=tmp_path)


def test_a_calibration_on_a_raw_table_uses_its_queries_and_not_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = written(tmp_path / "corpus.jsonl", "".join(LINE.format(i) for i in range(6)))
    table = written(tmp_path / "q.tsv", "".join(f"{1000 + i}\twhat is hall {i}\n" for i in range(60)))
    used: list[Sequence[str]] = []

    def calibrated(encoder: object, index: object, documents: object, queries: Sequence[str], **options: object) -> object:
        used.append(queries)
        return encoder

    monkeypatch.setattr(CalibratedGuard, "calibrated", calibrated)
    monkeypatch.setattr("ragguard.evaluation.models.load", lambda _: WordHashEncoder())
    documents, queries = calibrate.read(None, corpus, table, tmp_path)
    calibrate.calibrate(documents, queries, k=2, settings=CalibratedGuardSettings(), model=None, cache=tmp_path)
    assert used == [tuple(f"what is hall {i}" for i in range(60))]


def test_what_is_scanned_and_ingested_has_the_same_ids(tmp_path: Path) -> None:
    lines = f'{BOM}{{"_id": 7, "title": null, "text": "one"}}\n{{"id": "b", "text": "two"}}\n{{"text": "three"}}\n'
    path = written(tmp_path / "c.ndjson", lines)
    assert [(document.id, document.text) for document in Sources([str(path)])] == [
        ("7", "one"),
        ("b", "two"),
        (f"{path}:3", "three"),
    ]
    assert [part.count for part in parts([str(path)])] == [3]


def test_a_line_without_end_is_refused_unpacked_and_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST", 1000)
    monkeypatch.setattr(reading, "WHOLE", 3000)
    for name, content in (("q.txt", b"x" * 2000), ("q.tsv.gz", gzip.compress(b"1\tx\n2\t" + b"x" * 2000))):
        with pytest.raises(InvalidInputError, match=r"q\.t.*:[12] has more than 1,000 bytes; split or take out that line"):
            datasets.load_queries(written(tmp_path / name, content))
    with pytest.raises(InvalidInputError, match=r"q\.json has more than 3,000 bytes; write it as JSON lines"):
        datasets.load_queries(written(tmp_path / "q.json", b"[\n" + b'"what",\n' * 1000 + b'"who"]'))


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("what is love\nwho won\n",))
    writer.start()
    assert datasets.load_queries(pipe) == BOTH
    writer.join()


def _table(
    queries: Sequence[str], delimiter: str, *, header: bool = True, ids: bool = True, quoting: int = csv.QUOTE_MINIMAL
) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    if header:
        writer.writerow(["_id", "text"] if ids else ["text"])
    for number, query in enumerate(queries):
        writer.writerow([f"q{number}", query] if ids else [query])
    return out.getvalue()


WAYS: dict[str, Callable[[Sequence[str]], str]] = {
    "a.jsonl": lambda queries: "".join(json.dumps({"text": query}) + "\n" for query in queries),
    "b.ndjson": lambda queries: "".join(json.dumps(query, ensure_ascii=False) + "\r\n" for query in queries),
    "c.json": lambda queries: json.dumps(list(queries)),
    "d.json": lambda queries: json.dumps([{"query": query} for query in queries], indent=2),
    "e.json": lambda queries: json.dumps({f"q{number}": query for number, query in enumerate(queries)}, ensure_ascii=False),
    "f.csv": lambda queries: _table(queries, ","),
    "g.csv": lambda queries: _table(queries, ",", ids=False),
    "h.csv": lambda queries: _table(queries, ";", quoting=csv.QUOTE_ALL),
    "i.tsv": lambda queries: _table(queries, "\t"),
    "j.tsv": lambda queries: _table(queries, "\t", quoting=csv.QUOTE_ALL),
    "k.tsv": lambda queries: "_id\ttext\n" + "".join(f"{number}\t{_raw(query)}\n" for number, query in enumerate(queries)),
    "l.tsv": lambda queries: "".join(f"{number}\t{_raw(query)}\n" for number, query in enumerate(queries)),
    "m.txt": lambda queries: "".join(f"{query}\n" for query in queries),
}
REFUSED_WITHOUT_WORDS = "lm"
"""Ways that say nothing about columns: a query without a letter, or one like JSON, may be refused, but is not misread."""


def _kept(text: str) -> str:
    """A query in canonical form that fits on a line and into a cell."""
    return re.sub(r"[\0\t\r\n]+", " ", canonical(text).text).strip()


def _raw(query: str) -> str:
    """A cell without quotes, except of what looks as if it was in quotes."""
    if re.fullmatch(r'"([^"]|"")*""([^"]|"")*"', query):
        return '"' + query.replace('"', '""') + '"'
    return query


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=30).map(_kept).filter(str.strip), min_size=1, max_size=6, unique=True)
)
@example(['"', '""', '"a"', '"a""b"', "a, b; c", "{", "text", "_id", "7"])
def test_any_queries_are_read_back_from_every_format(tmp_path: Path, queries: list[str]) -> None:
    for name, write in WAYS.items():
        for packed in (False, True):
            content = (BOM * packed + write(queries)).encode()
            path = written(tmp_path / (f"{name}.gz" if packed else name), gzip.compress(content) if packed else content)
            try:
                assert datasets.load_queries(path) == tuple(queries), name
            except InvalidInputError:
                assert name[0] in REFUSED_WITHOUT_WORDS, name
                assert any(not any(map(str.isalpha, query)) or query[0] in '{[]}"' for query in queries), name


def test_the_tables_and_judgements_are_of_one_place() -> None:
    assert datasets.rows is reading.rows
    assert set(tables.MARKS) == set(reading.TABLES)
    assert judgements.QUERIES.isdisjoint(judgements.DOCUMENTS | judgements.GRADES)
