"""Calibration: one scale for all signals, thresholds with a guaranteed share of clean queries harmed, and what queries to use."""

from ragguard.calibration.drift import Drift
from ragguard.calibration.joint import JointScore
from ragguard.calibration.protection import Protection, Report, report
from ragguard.calibration.thresholds import (
    CONFIDENCE,
    EXTREME,
    NORM,
    TYPICAL,
    VERSION,
    Calibration,
    Scale,
    all_of,
    checked_k,
    corpus_hash,
    parts,
    scale,
    suspicions,
)

__all__ = [
    "CONFIDENCE",
    "EXTREME",
    "NORM",
    "TYPICAL",
    "VERSION",
    "Calibration",
    "Drift",
    "JointScore",
    "Protection",
    "Report",
    "Scale",
    "all_of",
    "checked_k",
    "corpus_hash",
    "parts",
    "report",
    "scale",
    "suspicions",
]
