"""The ingestion gate: documents are judged before any query, by what the rest of the corpus is like."""

from ragguard.gate.gate import Gate, GateSettings
from ragguard.gate.signals import SIGNALS
from ragguard.gate.verdicts import GateAction, GateVerdict

__all__ = ["SIGNALS", "Gate", "GateAction", "GateSettings", "GateVerdict"]
