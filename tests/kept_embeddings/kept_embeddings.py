"""Real embeddings, each computed once, in a test run and in those after it.

What sentence-transformers gives for a text is kept in an SQLite file, in this process and in those that tests start, under a name
made of all that decides what a vector is: weights, tokenizer, settings, versions, and our own code that works below the model's
methods (`ragguard.encoders.tokenizing`). What is looked up is not tokenized: modules about that have the mark `embeds`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import sqlite3

FOLDER = "RAGGUARD_TEST_EMBEDDINGS"
"""Variable of the environment: where vectors are kept; empty or unset where none are. Asked at each call."""

PACKAGES = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")
AT_ONCE = 500
"""Texts that one statement asks for."""


def keep(model_class: Any) -> None:
    """Let a class of models look up what it has embedded before."""
    for name in ("encode_query", "encode_document"):
        setattr(model_class, name, _kept(getattr(model_class, name), name))


def _kept(encode: Callable[..., Any], name: str) -> Callable[..., Any]:
    def looked_up(model: Any, texts: Any, *args: Any, **options: Any) -> Any:
        folder = os.environ.get(FOLDER, "")
        plain = set(options) <= {"batch_size", "show_progress_bar"} and not args
        if not (folder and plain and isinstance(texts, list) and texts and _is_transformer(model)):
            return encode(model, texts, *args, **options)
        import sqlite3  # here: most of the processes that tests start embed nothing

        import numpy as np

        Path(folder).mkdir(parents=True, exist_ok=True)
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        connection = sqlite3.connect(Path(folder) / f"{_fingerprint(model)}-{name}.sqlite", timeout=60)
        try:
            connection.execute("PRAGMA synchronous=OFF")  # what a crash loses is embedded again
            connection.execute("CREATE TABLE IF NOT EXISTS kept (text BLOB PRIMARY KEY, vector BLOB)")
            known = _read(connection, keys)
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            if missing:
                fresh = np.asarray(encode(model, list(missing.values()), **options), dtype=np.float32)
                known |= {key: vector.tobytes() for key, vector in zip(missing, fresh, strict=True)}
                with connection:
                    rows = [(key, known[key]) for key in missing]
                    connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", rows)
        finally:
            connection.close()
        return np.stack([np.frombuffer(known[key], dtype=np.float32) for key in keys])

    return looked_up


def _read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    known: dict[bytes, bytes] = {}
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), AT_ONCE):
        block = wanted[start : start + AT_ONCE]
        marks = ",".join("?" * len(block))
        known.update(connection.execute(f"SELECT text, vector FROM kept WHERE text IN ({marks})", block))  # noqa: S608
    return known


def _is_transformer(model: Any) -> bool:
    """Whether the weights that a fingerprint is made of are those that embed; a model that runs elsewhere has others."""
    return hasattr(getattr(model[0], "auto_model", None), "dtype") and hasattr(model.tokenizer, "backend_tokenizer")


_FINGERPRINTS: WeakKeyDictionary[Any, dict[tuple[str, int], str]] = WeakKeyDictionary()


def _fingerprint(model: Any) -> str:
    """Hash of whatever decides what a text's vector is."""
    tokenizer = model.tokenizer
    flags = [getattr(tokenizer, flag, None) for flag in ("split_special_tokens", "padding_side", "truncation_side")]
    settings = [model.max_seq_length, model.truncate_dim, sorted(model.prompts.items()), flags]
    where = [model[0].auto_model.dtype, model.device]
    core = tokenizer.backend_tokenizer
    steps = [core.normalizer, core.pre_tokenizer, core.post_processor, core.get_vocab_size()]
    described = repr((str(model), settings, where, steps))
    changes = sum(tensor._version for tensor in model.state_dict().values())  # counted by torch, wherever a weight is written to
    known = _FINGERPRINTS.setdefault(model, {})
    if (described, changes) not in known:
        from importlib.metadata import version

        digest = hashlib.sha256(repr([described, core.to_str(), _code_below(), *map(version, PACKAGES)]).encode())
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        known[described, changes] = digest.hexdigest()[:16]
    return known[described, changes]


def _code_below() -> str:
    """Our code that is not reached by what is looked up, and so must not change while it is."""
    spec = importlib.util.find_spec("ragguard")
    return (
        ""
        if spec is None or spec.origin is None
        else (Path(spec.origin).parent / "encoders" / "tokenizing.py").read_text("utf-8")
    )


class _AfterImport:
    """Finds nothing itself; when sentence-transformers is imported, waits for it and takes its class of models."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name != "sentence_transformers":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def executed(module: Any) -> None:
                execute(module)
                keep(module.SentenceTransformer)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


if os.environ.get(FOLDER):
    sys.meta_path.insert(0, _AfterImport())
