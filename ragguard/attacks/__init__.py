"""Attacks: one file, one idea, one reference."""

from ragguard.attacks.base import EVERY_TARGET, TARGET, Attack, Budget, Family, Target, ThreatModel, UniversalAttack
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.attacks.prepared import Prepared
from ragguard.attacks.query_copy import QueryCopy

__all__ = [
    "EVERY_TARGET",
    "TARGET",
    "Attack",
    "Budget",
    "Family",
    "Place",
    "PlantedAttack",
    "Prepared",
    "QueryCopy",
    "Target",
    "ThreatModel",
    "UniversalAttack",
]
