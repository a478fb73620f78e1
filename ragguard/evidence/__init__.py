"""Evidence: what defenses need from a text, computed once, before any query, and kept in memory or in an SQL database."""

from typing import TYPE_CHECKING

from ragguard.evidence.builder import BLOCK, EvidenceBuilder
from ragguard.evidence.memory_store import CAPACITY, MemoryStore, Recent
from ragguard.evidence.plans import MOST_GROUPS, WINDOW, WORK, Encode, FragmentPlan, MaskPlan, WholePlan, WindowPlan
from ragguard.evidence.profile import Profile
from ragguard.evidence.profiles import Profiles

if TYPE_CHECKING:
    from ragguard.evidence.sql_store import SQLStore as SQLStore

__all__ = [
    "BLOCK",
    "CAPACITY",
    "MOST_GROUPS",
    "WINDOW",
    "WORK",
    "Encode",
    "EvidenceBuilder",
    "FragmentPlan",
    "MaskPlan",
    "MemoryStore",
    "Profile",
    "Profiles",
    "Recent",
    "WholePlan",
    "WindowPlan",
]


def __getattr__(name: str) -> object:
    if name == "SQLStore":  # needs the extra `sql`
        from ragguard.evidence.sql_store import SQLStore

        return SQLStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
