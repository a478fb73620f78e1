"""Calibration: one scale for all signals, thresholds with a guaranteed share of clean queries harmed, and what queries to use."""

from ragguard.calibration.drift import Drift
from ragguard.calibration.thresholds import (
    CONFIDENCE,
    EXTREME,
    NORM,
    TYPICAL,
    VERSION,
    Calibration,
    Scale,
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
    "Scale",
    "checked_k",
    "corpus_hash",
    "parts",
    "scale",
    "suspicions",
]
