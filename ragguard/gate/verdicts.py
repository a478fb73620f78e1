"""What the gate decides on a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ragguard.types import Span, Verdict

GATE = "gate"
"""Its name where a verdict names a defense."""

GateAction: TypeAlias = Literal["admit", "flag", "quarantine"]
"""`admit`: into the index. `flag`: among the set share of honest documents that are most suspicious, or no such; a person should
look. `quarantine`: far beyond all that the gate was calibrated on, or not to be judged: out of the index until a person has."""


@dataclass(frozen=True)
class GateVerdict:
    """What was decided on one document before any query, and why.

    Attributes:
        document_id: The document.
        action: What was decided.
        reason: Why, in a sentence for people; empty where it is admitted.
        signals: The numbers behind the decision, by name, higher is more suspicious; empty where it could not be judged.
        p_values: By name, the share of documents of the yardstick whose number is as high, the document at hand counted in.
        spans: Ranges of the document's own text that the reason is about; empty where it is admitted.
        suspicion: The largest of the signals on their common scale (see `ragguard.gate.yardstick`); None where not judged.
    """

    document_id: str
    action: GateAction
    reason: str = ""
    signals: Mapping[str, float] = field(default_factory=dict)
    p_values: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    suspicion: float | None = None

    def verdict(self) -> Verdict:
        """The same as a defense says it of a candidate: `drop` what is quarantined, `keep` the rest; the rank is always 1."""
        held = self.action == "quarantine"
        return Verdict(
            document_id=self.document_id,
            defense=GATE,
            action="drop" if held else "keep",
            reason=self.reason,
            rank_before=1,
            rank_after=None if held else 1,
            signals=self.signals,
            spans=self.spans,
            suspicion=self.suspicion,
        )
