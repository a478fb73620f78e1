"""Attacks and defenses by the names that the command line knows."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ragguard import attacks
from ragguard.attacks import Attack, Prepared, ThreatModel
from ragguard.defenses import (
    SIGNALS,
    CalibratedGuard,
    RAGMask,
    RAGPart,
    RAGPartSearch,
    RobustScore,
    SourceQuota,
    default_guard,
    prepare,
)
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError, RAGGuardError
from ragguard.evaluation.datasets import Dataset, load_paraphrases
from ragguard.evaluation.experiment import Corpus, System
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Defense, Encoder, EvidenceStore
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.signals import Flood, Outlier, Signal
from ragguard.types import Document

OVERFETCH = 2
"""Candidates of a guard in a benchmark, as a multiple of k: masks are dear, and what poison there is ranks high."""

KNOWN = 100
"""Queries that an attacker knows who does not know the targets."""


@dataclass(frozen=True)
class Bench:
    """What attacks and defenses are built from.

    Attributes:
        dataset: Corpus and queries.
        encoder: Of index and defenses.
        model: The same, uncached, for attacks that know its weights.
        triggers: Optimised triggers, kept between runs.
        others: Clean queries like the targets: guards are calibrated by them, and an attacker may know the first `KNOWN`.
        corpus: The undefended retriever, filled.
        k: Results per query.
        seed: Of everything random.
        store: Of the windows that guards embed.
    """

    dataset: Dataset
    encoder: Encoder
    model: SentenceTransformerEncoder
    triggers: MutableMapping[str, str]
    others: tuple[str, ...]
    corpus: Corpus
    k: int
    seed: int
    store: EvidenceStore = field(default_factory=MemoryStore)


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Split `name(option=value, ...)`, values being Python literals.

    Raises:
        InvalidInputError: If it reads otherwise.
    """
    name, bracket, rest = spec.partition("(")
    try:
        call = ast.parse(f"f({rest}" if bracket else "f()", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
            raise ValueError("options must be name=value")
        return name.strip(), {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise InvalidInputError(f"{spec!r} is not name or name(option=value, ...): {error}") from error


def build_attacks(spec: str, bench: Bench) -> list[Attack]:
    """The attack, or the attacks of a budget curve, of a name with options; `module:factory` finds one's own.

    Raises:
        InvalidInputError: If the name is unknown (the nearest are suggested) or the options do not fit.
    """
    built = _built("attack", spec, bench)
    return built if isinstance(built, list) else [built]


def build_system(spec: str, bench: Bench) -> System:
    """The system of a defense's name with options; `a+b` applies a, then b; `module:factory` finds one's own.

    A factory of one's own takes a `Bench` and the options as keywords, and returns a `Defense` or a `System`.

    Raises:
        InvalidInputError: If the name is unknown (the nearest are suggested), or the options or combinations do not fit.
    """
    built = [_built("defense", part, bench) for part in spec.split("+")]
    defenses = [defense for part in built for defense in (part if isinstance(part, tuple) else (part,))]
    if len(defenses) == 1 and isinstance(defenses[0], System):
        return defenses[0]
    if any(isinstance(defense, System) for defense in defenses):
        raise InvalidInputError(f"{spec!r}: what is no defense of candidates cannot be combined")
    policy = GuardPolicy(overfetch=OVERFETCH, max_overfetch=OVERFETCH)  # all its candidates are prepared

    named = " + ".join(defense.name for defense in defenses)
    return System(
        named, partial(GuardedRetriever, defenses=defenses, policy=policy), partial(prepare, defenses), OVERFETCH * bench.k
    )


def check(attacks: Sequence[str], defenses: Sequence[str]) -> None:
    """Find every name, before anything is loaded.

    Raises:
        InvalidInputError: If a name is unknown; the nearest are suggested.
    """
    for spec in attacks:
        _factory("attack", parse(spec)[0])
    for spec in defenses:
        for part in spec.split("+"):
            _factory("defense", parse(part)[0])


def _factory(kind: Literal["attack", "defense"], name: str) -> Callable[..., Any]:
    known: Mapping[str, Callable[..., Any]] = ATTACKS if kind == "attack" else {**WHOLE_CORPUS, **DEFENSES}
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if colon:
        try:
            factory: Callable[..., Any] = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise InvalidInputError(f"{kind} {name!r} cannot be imported: {error}") from error
        return factory
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(known))}"
    raise InvalidInputError(f"unknown {kind} {name!r}; {hint}")


def _built(kind: Literal["attack", "defense"], spec: str, bench: Bench) -> Any:
    name, options = parse(spec)
    factory = _factory(kind, name)
    try:
        return factory(bench, **options)
    except RAGGuardError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{kind} {name!r} does not take {options}: {error!r}") from error


def _ragpart_corpus(bench: Bench, **options: Any) -> System:
    if not isinstance(bench.corpus, DenseIndex) or bench.corpus.encoder is not bench.encoder:
        raise InvalidInputError("ragpart-corpus searches fragments instead of documents: it needs retriever dense")
    defense = RAGPart(bench.encoder, **options)
    return System(f"{defense.name} over the corpus", partial(RAGPartSearch, defense=defense), defense.prepare)


def _texts(bench: Bench, attack: str, family: Literal["A", "B"] = "B") -> Attack:
    names = sorted({text.attack for text in bench.dataset.attack_texts})
    if attack not in names:
        raise InvalidInputError(f"{bench.dataset.name} has no attack texts {attack!r}; it has {names}")
    texts: dict[str, list[str]] = {}
    for attack_text in bench.dataset.attack_texts:
        if attack_text.attack == attack:
            texts.setdefault(attack_text.query_id, []).append(attack_text.text)
    return Prepared(attack, family, ThreatModel(knows=("query", "answer")), texts)


def _joint(bench: Bench, defense: str = "ragmask", calls: Sequence[int] | int = (100, 300, 1000), **options: Any) -> list[Attack]:
    if not isinstance(bench.corpus, DenseIndex) or bench.corpus.encoder is not bench.encoder:
        raise InvalidInputError("a joint attack compares similarities with the retriever's scores: it needs retriever dense")
    if parse(defense)[0] not in DEFENSES:
        raise InvalidInputError(f"a joint attack climbs one of {', '.join(DEFENSES)}, not {defense!r}")

    first = _built("defense", defense, bench)
    calibrated = first[0] if isinstance(first, tuple) else first  # a quota does not look at what he writes

    def guard(encoder: Encoder) -> Defense:
        if isinstance(calibrated, CalibratedGuard):
            return calibrated.using(encoder)  # calibrated once
        built: Defense = _built("defense", defense, replace(bench, encoder=encoder))
        return built

    depth = OVERFETCH * bench.k
    known = {"k": bench.k, "depth": depth, "cache": bench.triggers, "seed": bench.seed, **options}
    inputs = (bench.dataset.documents, bench.corpus, bench.model, guard)
    return [attacks.JointAttack(*inputs, calls=each, **known) for each in ([calls] if isinstance(calls, int) else calls)]


def _paraphrase(bench: Bench, file: str | None = None, **options: Any) -> Attack:
    prepared = load_paraphrases(Path(file)) if file else bench.dataset.paraphrases
    if not prepared:
        raise InvalidInputError(f"{bench.dataset.name} has no paraphrases.jsonl; give one: paraphrase(file='...')")
    return attacks.Paraphrase(bench.dataset.documents, prepared=prepared, seed=bench.seed, **options)


def _planted(attack: Callable[..., Attack]) -> Callable[..., Attack]:
    return lambda bench, **options: attack(bench.dataset.documents, seed=bench.seed, **options)


def _written(attack: Callable[..., Attack]) -> Callable[..., Attack]:
    return lambda bench, **options: attack(seed=bench.seed, **options)


def _optimised(attack: Callable[..., Attack], *inputs: Callable[[Bench], object]) -> Callable[..., Attack]:
    return lambda bench, **options: attack(
        bench.model, *(of_bench(bench) for of_bench in inputs), cache=bench.triggers, seed=bench.seed, **options
    )


def _documents(bench: Bench) -> Sequence[Document]:
    return bench.dataset.documents


def _others(bench: Bench) -> Sequence[str]:
    return bench.others[:KNOWN]


def _curve(attack: Callable[..., Attack], option: str, values: Sequence[int]) -> Callable[..., list[Attack]]:
    """An attack at every point of its budget curve, or at the one that is given."""
    return lambda bench, **options: [
        attack(bench.dataset.documents, seed=bench.seed, **{option: value, **options})
        for value in ([options[option]] if option in options else values)
    ]


WHOLE_CORPUS: dict[str, Callable[..., System]] = {
    "none": lambda bench: System("none", lambda corpus: corpus, depth=1),  # noqa: ARG005
    "ragpart-corpus": _ragpart_corpus,
}


def _calibrated(bench: Bench, *, signals: Sequence[str] = (), without: Sequence[str] = (), **options: Any) -> Defense:
    known: tuple[type[Signal], ...] = (*SIGNALS, Flood, Outlier)
    named = {signal.name: signal for signal in known}
    if unknown := {*signals, *without} - named.keys():
        raise InvalidInputError(f"unknown signals {sorted(unknown)}; there are {', '.join(named)}")
    wanted = set(signals or (signal.name for signal in SIGNALS)) - set(without)
    chosen = [signal for name, signal in named.items() if name in wanted]
    return CalibratedGuard.calibrated(**_calibration_inputs(bench), signals=chosen, **options)


def _default(bench: Bench, **options: Any) -> tuple[Defense, ...]:
    return default_guard(**_calibration_inputs(bench), **options)


def _robust(bench: Bench, **options: Any) -> Defense:
    return RobustScore.fitted(**_calibration_inputs(bench), **options)


def _calibration_inputs(bench: Bench) -> dict[str, Any]:
    corpus = {"retriever": bench.corpus, "documents": bench.dataset.documents, "queries": bench.others}
    return {"encoder": bench.encoder, **corpus, "k": bench.k, "depth": OVERFETCH, "store": bench.store}


DEFENSES: dict[str, Callable[..., Defense | tuple[Defense, ...]]] = {
    "calibrated": _calibrated,
    "default": _default,
    "quota": lambda _, **options: SourceQuota(**options),
    "ragpart": lambda bench, **options: RAGPart(bench.encoder, **options),
    "ragmask": lambda bench, **options: RAGMask(bench.encoder, **options),
    "robust": _robust,
}
ATTACKS: dict[str, Callable[..., Attack | list[Attack]]] = {
    "adaptive-ragmask": _curve(attacks.SpreadAgainstRAGMask, "rounds", (1, 2, 3, 4, 5)),
    "adaptive-ragpart": _curve(attacks.RepeatAgainstRAGPart, "copies", (1, 2, 3, 4, 5)),
    "adversarial-decoding": _optimised(attacks.AdversarialDecoding, _documents),
    "corpus-poisoning": _optimised(attacks.CorpusPoisoning, _others),
    "edit": _written(attacks.Edit),
    "framing": _written(attacks.Framing),
    "gaslite": _optimised(attacks.GASLITE, _documents),
    "hidden-text": _planted(attacks.HiddenText),
    "hotflip": _optimised(attacks.HotFlip, _documents),
    "injection": _planted(attacks.PromptInjection),
    "jamming": _written(attacks.Jamming),
    "joint": _joint,
    "keyword-stuffing": _planted(attacks.KeywordStuffing),
    "paraphrase": _paraphrase,
    "phantom": _optimised(attacks.Phantom, _documents, _others),
    "poisonedrag": _written(attacks.PoisonedRAG),
    "poisonedrag-whitebox": _optimised(attacks.PoisonedRAGWhiteBox),
    "query-copy": _planted(attacks.QueryCopy),
    "sybil": _written(attacks.Sybil),
    "texts": _texts,
}
