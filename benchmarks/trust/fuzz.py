"""Any bytes as text, as a saved guard and as a dataset: what comes back has the properties it must have, or is a typed error."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.trust.writes import saved_guard
from ragguard.defenses.saved import SavedGuard, digest
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets, judgements
from ragguard.text import canonical, content_hash, folded_words, fragments, invisible, mask_spans, merge, windows, without, words
from ragguard.text.control import control_spans
from ragguard.text.hidden import hidden_spans
from ragguard.types import Span

PARTS = (
    *("\u200b", "\u200d", "\u202e", "\u2066", "\u0301", "\ufe0f", "\ud83d", "\U000e0041", "\U0001f468\u200d\U0001f469"),
    *("\u1100\u1161", "\r\n", "\x00", "\u05d0", "\u0e01", "\u4e00", "a\u0323", "\ufb01", "\u0130", "\u00ad", "\x85", "\u2028"),
    *("<!--", "-->", "<script>", "</script>", "<|im_start|>", "[INST]", "ignore all previous instructions: "),
)
"""What texts are made of besides plain characters: what has a meaning for some rule."""


def text_of(data: bytes) -> str:
    """Any text, lone surrogates included; bytes from 128 on are parts with a meaning."""
    return "".join(chr(one) if one < 128 else PARTS[one % len(PARTS)] for one in data)


def text(data: bytes) -> None:
    """What holds of every text.

    Raises:
        ValueError: If it does not.
    """
    given = text_of(data)
    form = canonical(given)
    must(canonical(form.text).text == form.text, "canonical text changes")
    form.text.encode()
    content_hash(form.text)
    folded_words(given)
    must(merge(invisible(form.text)) == (), "canonical text shows nothing somewhere")
    spans = words(form.text)
    everything = (
        spans,
        mask_spans(form.text, 3),
        windows(form.text, 4, 2),
        hidden_spans(form.text),
        control_spans(form.text),
        fragments(form.text, 3) if spans else (),
    )
    for found in everything:
        for span in found:
            must(0 <= span.start < span.end <= len(form.text), f"{span} is not in the text")
            back = form.to_original(span)
            must(0 <= back.start < back.end <= len(given), f"{span} comes from {back}")
    for first, second in pairwise(spans):
        must(first.end <= second.start, "words overlap")
    tiles = mask_spans(form.text, 3)
    must(sum(len(words(form.text[one.start : one.end])) for one in tiles) == len(spans), "masks lose words")
    must(not without(form.text, [Span(0, len(form.text))]) if form.text else True, "something is left of nothing")


def guard(data: bytes) -> None:
    """A saved guard with a part replaced, its digest as it must be: read, or refused."""
    content = saved_guard(0, maxima=5).model_dump(mode="json")
    try:
        put = json.loads(data)
    except (ValueError, RecursionError):
        put = data.decode("latin-1")
    places = [(content, key) for key in content] + [(content["calibration"], key) for key in content["calibration"]]
    parent, key = places[len(data) % len(places)]
    parent[key] = put
    for written in (data, json.dumps({**content, "digest": digest(content)}).encode()):
        _file(written, lambda path: SavedGuard.read(path))


def dataset(data: bytes) -> None:
    """Each of the files of a dataset: read, or refused."""
    for suffix, read in (
        (".jsonl", datasets.load_documents),
        (".jsonl", datasets.load_queries),
        (".txt", datasets.load_queries),
        (".json", datasets.load_documents),
        (".json", datasets.load_queries),
        (".csv", datasets.load_documents),
        (".csv", datasets.load_queries),
        (".tsv", datasets.load_queries),
        (".tsv.gz", datasets.load_queries),
        (".tsv", lambda path: judgements.load(path, {"q"}, {"d"})),
        (".jsonl", datasets.load_paraphrases),
    ):
        for written in (data, b'{"_id": "a", "text": ' + data + b"}"):
            _file(written, read, suffix)


def _file(data: bytes, read: Callable[[Path], object], suffix: str = ".json") -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / f"file{suffix}"
        path.write_bytes(data)
        with suppress(InvalidInputError):
            read(path)


def must(truth: bool, what: str) -> None:
    """Raises ValueError where something does not hold."""
    if not truth:
        raise ValueError(what)


TARGETS: Mapping[str, Callable[[bytes], None]] = {"text": text, "guard": guard, "dataset": dataset}


def examples(count: int) -> dict[str, int]:
    """So many inputs for each target, made by Hypothesis.

    Raises:
        Exception: What a target raised, with the input that made it.
    """
    for target in TARGETS.values():
        tried = given(st.binary(max_size=300))(target)
        settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))(tried)()
    return {"fuzzed": count * len(TARGETS)}
