"""Signals: numbers for each candidate of a query, higher is more suspicious. One file, one idea."""

from ragguard.evidence import Profile, Profiles
from ragguard.language import CorpusModel, Reading
from ragguard.signals.base import Candidates, Scores, Signal
from ragguard.signals.control_text import ControlText
from ragguard.signals.echo import Echo
from ragguard.signals.flood import Flood
from ragguard.signals.hidden_text import HiddenText
from ragguard.signals.intrusion import Intrusion
from ragguard.signals.off_subject import OffSubject
from ragguard.signals.outlier import Outlier
from ragguard.signals.repetition import Repetition
from ragguard.signals.scatter import Scatter
from ragguard.signals.seam import Seam
from ragguard.signals.spike import Spike
from ragguard.signals.stuffing import Stuffing, frequencies
from ragguard.signals.surprise import Surprise

__all__ = [
    "Candidates",
    "ControlText",
    "CorpusModel",
    "Echo",
    "Flood",
    "HiddenText",
    "Intrusion",
    "OffSubject",
    "Outlier",
    "Profile",
    "Profiles",
    "Reading",
    "Repetition",
    "Scatter",
    "Scores",
    "Seam",
    "Signal",
    "Spike",
    "Stuffing",
    "Surprise",
    "frequencies",
]
