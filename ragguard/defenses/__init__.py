"""Defenses: one file, one idea, one reference."""

from ragguard.defenses.base import BaseDefense, Judgement
from ragguard.defenses.ragmask import RAGMask, RAGMaskSettings
from ragguard.defenses.ragpart import RAGPart, RAGPartSettings
from ragguard.defenses.ragpart_search import RAGPartSearch

__all__ = ["BaseDefense", "Judgement", "RAGMask", "RAGMaskSettings", "RAGPart", "RAGPartSearch", "RAGPartSettings"]
