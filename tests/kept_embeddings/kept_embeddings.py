"""Real embeddings, each computed once, in a test run and in those after it.

What sentence-transformers gives for a text is kept in an SQLite file, in this process and in those that tests start, under a name
made of the weights and of all that decides what a vector is. RAGGuard's own code is above that and does all its work.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

FOLDER = "RAGGUARD_TEST_EMBEDDINGS"
"""Variable of the environment: where vectors are kept; empty or unset where none are. Asked at each call."""


def keep(model_class: Any) -> None:
    """Let a class of models look up what it has embedded before."""
    for name in ("encode_query", "encode_document"):
        setattr(model_class, name, _kept(getattr(model_class, name), name))


def _kept(encode: Callable[..., Any], name: str) -> Callable[..., Any]:
    def looked_up(model: Any, texts: Any, *args: Any, **options: Any) -> Any:
        folder = os.environ.get(FOLDER, "")
        plain = set(options) <= {"batch_size", "show_progress_bar"} and not args
        if not (folder and plain and isinstance(texts, list) and _is_transformer(model)):
            return encode(model, texts, *args, **options)
        from ragguard.evaluation.cache import CachedEncoder

        kind = f"{_fingerprint(model)}-{name}"
        key = (folder, kind, os.getpid())  # a connection does not outlive a fork
        if key not in _CACHES:
            _CACHES[key] = CachedEncoder(_Bound(kind, model.get_embedding_dimension()), Path(folder))
            _CACHES[key]._connection.execute("PRAGMA synchronous=OFF")  # what a crash loses is embedded again
        cache = _CACHES[key]
        cache.encoder.embed = lambda block: encode(model, list(block), batch_size=options.get("batch_size", 32))
        return cache.encode_document(texts)

    return looked_up


_CACHES: dict[tuple[str, str, int], Any] = {}
_FINGERPRINTS: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


class _Bound:
    """A model's method as an encoder."""

    embed: Callable[[Sequence[str]], Any]

    def __init__(self, name: str, dimension: int) -> None:
        self.name, self.dimension = name, dimension

    def encode_document(self, texts: Sequence[str]) -> Any:
        return self.embed(texts)

    encode_query = encode_document


def _is_transformer(model: Any) -> bool:
    """Whether the weights that a fingerprint is made of are those that embed; a model that runs elsewhere has others."""
    return hasattr(getattr(model[0], "auto_model", None), "dtype")


def _fingerprint(model: Any) -> str:
    """Hash of whatever decides what a text's vector is."""
    tokenizer = model.tokenizer
    flags = [getattr(tokenizer, flag, None) for flag in ("split_special_tokens", "padding_side", "truncation_side")]
    parts = (
        str(model),
        model.max_seq_length,
        sorted(model.prompts.items()),
        flags,
        str(model[0].auto_model.dtype),
        str(model.device),
    )
    key = repr(parts)
    known = _FINGERPRINTS.setdefault(model, {})
    if key not in known:
        digest = hashlib.sha256(key.encode())
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        known[key] = digest.hexdigest()[:16]
    return known[key]


class _AfterImport(MetaPathFinder):
    """Finds nothing itself; when sentence-transformers is imported, waits for it and takes its class of models."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name != "sentence_transformers":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def executed(module: Any) -> None:
                execute(module)
                keep(module.SentenceTransformer)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


if os.environ.get(FOLDER):
    sys.meta_path.insert(0, _AfterImport())
