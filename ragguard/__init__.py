"""A guard around any retriever against poisoned documents. See https://arxiv.org/abs/2512.24268 for RAGPart and RAGMask.

Names are imported when they are first used, so that `import ragguard` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ragguard import _moved as _moved  # lets old import paths work

if TYPE_CHECKING:
    from ragguard.defenses import CalibratedGuard, RAGMask, RAGPart, RAGPartSearch, SourceQuota, default_guard
    from ragguard.encoders import SentenceTransformerEncoder
    from ragguard.errors import RAGGuardError
    from ragguard.index import DenseIndex
    from ragguard.retriever import Guard, GuardedRetriever, GuardPolicy
    from ragguard.types import Certificate, Document, GuardedResult, Hit, Verdict

__version__ = "0.1.0"

_HOME = {
    "CalibratedGuard": "ragguard.defenses",
    "Certificate": "ragguard.types",
    "DenseIndex": "ragguard.index",
    "Document": "ragguard.types",
    "Guard": "ragguard.retriever",
    "GuardPolicy": "ragguard.retriever",
    "GuardedResult": "ragguard.types",
    "GuardedRetriever": "ragguard.retriever",
    "Hit": "ragguard.types",
    "RAGGuardError": "ragguard.errors",
    "RAGMask": "ragguard.defenses",
    "RAGPart": "ragguard.defenses",
    "RAGPartSearch": "ragguard.defenses",
    "SentenceTransformerEncoder": "ragguard.encoders",
    "SourceQuota": "ragguard.defenses",
    "Verdict": "ragguard.types",
    "default_guard": "ragguard.defenses",
}

__all__ = [
    "CalibratedGuard",
    "Certificate",
    "DenseIndex",
    "Document",
    "Guard",
    "GuardPolicy",
    "GuardedResult",
    "GuardedRetriever",
    "Hit",
    "RAGGuardError",
    "RAGMask",
    "RAGPart",
    "RAGPartSearch",
    "SentenceTransformerEncoder",
    "SourceQuota",
    "Verdict",
    "default_guard",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'ragguard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
