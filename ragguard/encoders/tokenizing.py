"""Tokenising for an encoder: texts in pieces that the model reads whole, and in a fraction of the time where that is the same."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ragguard import cancellation
from ragguard.errors import EncoderError
from ragguard.types import Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

AT_ONCE = 256
"""Texts that are counted together."""

PROBES = ("Water.", "", "[MASK] a [SEP]  b\n", "Ça coûte 5\u202f€ – \u6771\u4eac\u200b \U0001f600 unbelievable")
"""Texts on which the fast way must agree with the model's own: empty, with special tokens, of several scripts."""


def speed_up(model: SentenceTransformer) -> Turns:
    """Make a model tokenise from many threads, and fast where that is the same; its forward passes run side by side anyway.

    A tokenizer of transformers refuses to be shared while it runs, so it takes turns. What it makes of each text in Python takes
    most of the time in which a GPU embeds windows: three quarters on an H200 (`benchmarks.gpu`).
    """
    turns = getattr(model, "_ragguard_turns", None)
    if isinstance(turns, Turns):  # another encoder has the same model
        return turns
    turns = Turns()
    name = "preprocess" if hasattr(model, "preprocess") else "tokenize"  # sentence-transformers 6, 5
    tokenize = getattr(model, name)

    def in_turn(*args: Any, **kwargs: Any) -> Any:
        with turns:
            return tokenize(*args, **kwargs)

    fast = _Fast(model, in_turn) if hasattr(model.tokenizer, "backend_tokenizer") else in_turn
    setattr(model, name, fast)
    model._ragguard_turns = turns  # type: ignore[assignment]
    return turns


class Turns:
    """A lock that whoever released it does not get again before one who waits: a bare lock starved queries behind a corpus."""

    def __init__(self) -> None:
        self._next, self._now = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._now.acquire()

    def __exit__(self, *_: object) -> None:
        self._now.release()

    def __deepcopy__(self, _: object) -> Turns:
        return self  # a copied model still tokenizes by the original's tokenizer


class _Fast:
    """What a model makes of texts, by its tokenizer's core alone, which needs no turns.

    Whether that gives the same, key by key and bit by bit, is tried on `PROBES` once for each prompt and task. Where it does
    not, and for texts that the model would cut, the model's own way is taken.
    """

    def __init__(self, model: SentenceTransformer, slow: Callable[..., Any]) -> None:
        self._model, self._slow = model, slow
        self._core = core(model.tokenizer)
        self._same: dict[object, Mapping[str, Any] | None] = {}

    def __deepcopy__(self, _: object) -> _Fast:
        return self

    def __call__(self, texts: Any, *args: Any, **kwargs: Any) -> Any:
        key = repr(sorted(kwargs.items()))
        if args or not texts or not all(isinstance(text, str) for text in texts):
            return self._slow(texts, *args, **kwargs)
        if key not in self._same:
            self._same[key] = self._agreed(kwargs)
        like = self._same[key]
        features = None if like is None else self._features(texts, kwargs.get("prompt") or "", like)
        return self._slow(texts, **kwargs) if features is None else features

    def _agreed(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the model makes of probes, if this makes the same of them."""
        import torch

        theirs: Mapping[str, Any] = self._slow(list(PROBES), **kwargs)
        ours = self._features(PROBES, kwargs.get("prompt") or "", theirs)
        if ours is None:
            return None
        for name, value in theirs.items():
            tensor = isinstance(value, torch.Tensor)
            if not (torch.equal(ours[name], value) and ours[name].dtype == value.dtype if tensor else ours[name] == value):
                return None
        return theirs

    def _features(self, texts: Sequence[str], prompt: str, like: Mapping[str, Any]) -> dict[str, Any] | None:
        import torch

        ids = self._core([prompt + text for text in texts], add_special_tokens=True)
        width, most = max(map(len, ids)), self._model.max_seq_length
        if most is None or width > most:
            return None
        tokenizer = self._model.tokenizer
        shape, left = (len(ids), width), getattr(tokenizer, "padding_side", "right") == "left"
        tokens, mask = np.full(shape, tokenizer.pad_token_id or 0, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, text_ids in enumerate(ids):
            place = slice(width - len(text_ids), None) if left else slice(len(text_ids))
            tokens[row, place], mask[row, place] = text_ids, 1
        built = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros(shape, dtype=np.int64)}
        return {name: torch.from_numpy(built[name]) if name in built else value for name, value in like.items()}


def core(tokenizer: Any) -> Callable[..., list[list[int]]]:
    """The ids of texts, uncut, by a copy of the part of a fast tokenizer that is not Python; special tokens in them are text."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = True
    encode = getattr(copy, "encode_batch_fast", copy.encode_batch)  # without offsets, where tokenizers has it

    def ids(texts: Sequence[str], *, add_special_tokens: bool) -> list[list[int]]:
        return [encoding.ids for encoding in encode(list(texts), add_special_tokens=add_special_tokens)]

    return ids


class Splitter:
    """Cuts texts into pieces that a model reads whole."""

    def __init__(self, model: SentenceTransformer, turns: Turns) -> None:
        tokenizer = model.tokenizer
        limit = getattr(model, "max_seq_length", None)
        self._turns = turns
        self._tokenizer: Any = tokenizer if limit and hasattr(tokenizer, "is_fast") else None
        if self._tokenizer is None:  # static embeddings read texts of any length
            if hasattr(tokenizer, "encode_special_tokens"):
                tokenizer.encode_special_tokens = True
            return
        tokenizer.split_special_tokens = True
        if not tokenizer.is_fast:
            raise EncoderError("the model's tokenizer gives no character offsets; install its fast version (`tokenizers`)")
        prompt = max((len(tokenizer.tokenize(text)) for text in model.prompts.values() if text), default=0)
        self._limit = int(limit or 0) - tokenizer.num_special_tokens_to_add() - prompt
        if self._limit < 1:
            raise EncoderError(f"the model reads {limit} tokens, which its own prompt fills")
        self._core = core(tokenizer)
        # WordPiece turns a word of more characters than this, after decomposition, into one unknown token, which would hide it.
        self._longest: int | None = getattr(tokenizer.backend_tokenizer.model, "max_input_chars_per_word", None)
        self._surely_whole = min(self._limit - 1, self._longest or self._limit)

    def __call__(self, texts: Sequence[str]) -> tuple[list[list[str]], list[Vectors]]:
        """The pieces of each text, and their weights (numbers of tokens; any where there is one piece)."""
        cuts = [([text], np.ones(1, dtype=np.float32)) for text in texts]
        if self._tokenizer is not None:
            # A character of ASCII is a token at most, and a tokenizer may put one in front.
            rows = [row for row, text in enumerate(texts) if not (text.isascii() and len(text) <= self._surely_whole)]
            for row, pairs in zip(rows, self._cut([self._with_short_words(texts[row]) for row in rows]), strict=True):
                counts = np.asarray([max(count, 1) for _, count in pairs], dtype=np.float32)
                cuts[row] = [piece for piece, _ in pairs], counts
        return [pieces for pieces, _ in cuts], [weights for _, weights in cuts]

    def _cut(self, texts: Sequence[str]) -> Iterator[list[tuple[str, int]]]:
        for start in range(0, len(texts), AT_ONCE):
            block = texts[start : start + AT_ONCE]
            cancellation.check()
            for text, ids in zip(block, self._core(block, add_special_tokens=False), strict=True):
                whole = len(ids) <= self._limit or len(text) < 2
                yield [(text, len(ids))] if whole else self._pieces(text)

    def _pieces(self, text: str) -> list[tuple[str, int]]:
        """The fewest nearly equal pieces; cut again where a cut inside a word or a character made more tokens than it parted."""
        with self._turns:
            encoding = self._tokenizer(
                text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
            )
        offsets = encoding["offset_mapping"]
        count = -(-len(offsets) // max(self._limit - 2, 1))
        bounds = [i * len(offsets) // count for i in range(1, count)]
        cuts = sorted({0, *(offsets[bound][0] for bound in bounds), len(text)})
        if len(cuts) == 2:
            cuts.insert(1, len(text) // 2)
        return [pair for pairs in self._cut([text[first:last] for first, last in pairwise(cuts)]) for pair in pairs]

    def _with_short_words(self, text: str) -> str:
        longest = self._longest
        if longest is None or len(text) * 4 <= longest:
            return text
        step = longest // 4  # no character decomposes into more than four
        return re.sub(
            rf"\w{{{step + 1},}}",
            lambda match: match[0] if len(unicodedata.normalize("NFD", match[0])) <= longest else _spaced(match[0], step),
            text,
        )


def _spaced(word: str, step: int) -> str:
    return " ".join(word[i : i + step] for i in range(0, len(word), step))
