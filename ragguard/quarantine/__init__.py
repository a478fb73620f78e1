"""The quarantine: texts that were removed, kept for people to look at, and never retrieved before somebody releases them."""

from ragguard.quarantine.quarantine import LONGEST, SHORTEST_KEY, Quarantine
from ragguard.quarantine.records import BECOMES, Block, Entry, Event, Grounds, State, Step
from ragguard.text import content_key

__all__ = [
    "BECOMES",
    "LONGEST",
    "SHORTEST_KEY",
    "Block",
    "Entry",
    "Event",
    "Grounds",
    "Quarantine",
    "State",
    "Step",
    "content_key",
]
