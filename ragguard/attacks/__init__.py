"""Attacks: one file, one idea, one reference."""

from ragguard.attacks.adaptive_gate import EvadeGate
from ragguard.attacks.adaptive_ragmask import SpreadAgainstRAGMask
from ragguard.attacks.adaptive_ragpart import RepeatAgainstRAGPart
from ragguard.attacks.adversarial_decoding import AdversarialDecoding
from ragguard.attacks.base import EVERY_TARGET, TARGET, Attack, Budget, Family, Target, ThreatModel, UniversalAttack
from ragguard.attacks.corpus_poisoning import CorpusPoisoning
from ragguard.attacks.edit import Edit
from ragguard.attacks.framing import Framing
from ragguard.attacks.gaslite import GASLITE
from ragguard.attacks.hidden_text import HiddenText
from ragguard.attacks.hotflip import HotFlip
from ragguard.attacks.injection import PromptInjection
from ragguard.attacks.jamming import Jamming
from ragguard.attacks.joint import JointAttack
from ragguard.attacks.keyword_stuffing import KeywordStuffing
from ragguard.attacks.paraphrase import Paraphrase
from ragguard.attacks.phantom import Phantom
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.attacks.poisonedrag import PoisonedRAG, PoisonedRAGWhiteBox
from ragguard.attacks.prepared import Prepared
from ragguard.attacks.query_copy import QueryCopy
from ragguard.attacks.sybil import Sybil

__all__ = [
    "EVERY_TARGET",
    "GASLITE",
    "TARGET",
    "AdversarialDecoding",
    "Attack",
    "Budget",
    "CorpusPoisoning",
    "Edit",
    "EvadeGate",
    "Family",
    "Framing",
    "HiddenText",
    "HotFlip",
    "Jamming",
    "JointAttack",
    "KeywordStuffing",
    "Paraphrase",
    "Phantom",
    "Place",
    "PlantedAttack",
    "PoisonedRAG",
    "PoisonedRAGWhiteBox",
    "Prepared",
    "PromptInjection",
    "QueryCopy",
    "RepeatAgainstRAGPart",
    "SpreadAgainstRAGMask",
    "Sybil",
    "Target",
    "ThreatModel",
    "UniversalAttack",
]
