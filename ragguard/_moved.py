"""Import paths of version 0.1: they work for one more release, with a `DeprecationWarning` that says where things are now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULES = {
    "ragguard.contested": "ragguard.retriever.contested",
    "ragguard.deadline": "ragguard.retriever.deadline",
    "ragguard.derived": "ragguard.calibration.derived",
    "ragguard.function_encoder": "ragguard.encoders.function",
    "ragguard.ngrams": "ragguard.language.ngrams",
    "ragguard.observing": "ragguard.retriever.observing",
    "ragguard.onnx_encoder": "ragguard.encoders.onnx",
    "ragguard.openai_encoder": "ragguard.encoders.openai",
    "ragguard.progress": "ragguard.retriever.progress",
    "ragguard.same_model": "ragguard.encoders.same_model",
    "ragguard.shown": "ragguard.text.shown",
    "ragguard.signals.corpus": "ragguard.language.corpus",
    "ragguard.signals.near_duplicates": "ragguard.language.near_duplicates",
    "ragguard.signals.profiles": "ragguard.evidence.profiles",
    "ragguard.sql_store": "ragguard.evidence.sql_store",
    "ragguard.store": "ragguard.evidence.memory_store",
    "ragguard.together": "ragguard.encoders.batching",
    "ragguard.tokenizing": "ragguard.encoders.tokenizing",
    "ragguard.vectors": "ragguard.encoders.vectors",
}
"""Where each module is now."""

NAMES = {
    ("ragguard.attacks.flips", "Writer"): ("ragguard.attacks.triggers", "Writer"),
    ("ragguard.retriever.deadline", "check"): ("ragguard.cancellation", "check"),
    ("ragguard.signals.control_text", "control_spans"): ("ragguard.text.control", "control_spans"),
    ("ragguard.signals.hidden_text", "hidden_spans"): ("ragguard.text.hidden", "hidden_spans"),
    ("ragguard.signals.hidden_text", "removed_spans"): ("ragguard.text.hidden", "removed_spans"),
    ("ragguard.signals.intrusion", "USUAL"): ("ragguard.language.reading", "HONEST_GAIN"),
    ("ragguard.signals.intrusion", "intruded"): ("ragguard.language.reading", "intrusion_of"),
    ("ragguard.signals.surprise", "PRIOR"): ("ragguard.language.reading", "PRIOR_TOKENS"),
    ("ragguard.signals.surprise", "USUAL"): ("ragguard.language.reading", "PRIOR_SURPRISE"),
    ("ragguard.signals.surprise", "window_surprise"): ("ragguard.language.reading", "window_surprise"),
}
"""Where each name is now that did not move with its module."""


def moved_names(module: str) -> Callable[[str], object]:
    """The `__getattr__` of a module that some names have left."""

    def attribute(name: str) -> object:
        if (module, name) not in NAMES:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, now = NAMES[module, name]
        warnings.warn(f"{module}.{name} is now {home}.{now}", DeprecationWarning, stacklevel=2)
        return getattr(import_module(home), now)

    return attribute


class _OldModules:
    """Finds the old modules, which are the new ones under another name."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(name, self) if name in MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002
        return None

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, MODULES[module.__name__]
        warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(new)  # what the import statement gets


if not any(type(finder).__name__ == _OldModules.__name__ for finder in sys.meta_path):
    sys.meta_path.append(_OldModules())  # last: asked for what nobody else finds
