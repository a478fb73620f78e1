"""Defenses: one file, one idea, one reference."""

from ragguard.defenses.base import BaseDefense, Judgement, prepare
from ragguard.defenses.calibrated import CalibratedGuard
from ragguard.defenses.calibrating import SIGNALS
from ragguard.defenses.default import default_guard
from ragguard.defenses.quarantined import Holding, Quarantined, hold_removed
from ragguard.defenses.quota import SourceQuota
from ragguard.defenses.ragmask import RAGMask, RAGMaskSettings
from ragguard.defenses.ragpart import RAGPart, RAGPartSettings
from ragguard.defenses.ragpart_search import RAGPartSearch
from ragguard.defenses.robust import RobustScore, RobustScoreSettings
from ragguard.defenses.saved import CalibratedGuardSettings, Policy

__all__ = [
    "SIGNALS",
    "BaseDefense",
    "CalibratedGuard",
    "CalibratedGuardSettings",
    "Holding",
    "Judgement",
    "Policy",
    "Quarantined",
    "RAGMask",
    "RAGMaskSettings",
    "RAGPart",
    "RAGPartSearch",
    "RAGPartSettings",
    "RobustScore",
    "RobustScoreSettings",
    "SourceQuota",
    "default_guard",
    "hold_removed",
    "prepare",
]
