"""Attacks: one file, one idea, one reference."""

from ragguard.attacks.base import TARGET, Attack, Budget, Family, Target
from ragguard.attacks.prepared import Prepared
from ragguard.attacks.query_copy import QueryCopy

__all__ = ["TARGET", "Attack", "Budget", "Family", "Prepared", "QueryCopy", "Target"]
