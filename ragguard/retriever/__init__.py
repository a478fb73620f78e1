"""The query's way: search, defend, fill up again, answer in time, and tell who observes."""

from ragguard.retriever.guard import Guard
from ragguard.retriever.guarded_retriever import SEARCH, GuardedRetriever
from ragguard.retriever.observing import Decision, Observer, Observers, Stage
from ragguard.retriever.policy import GuardPolicy

__all__ = ["SEARCH", "Decision", "Guard", "GuardPolicy", "GuardedRetriever", "Observer", "Observers", "Stage"]
