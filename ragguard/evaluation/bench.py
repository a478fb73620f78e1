"""A benchmark run: attacks against defenses on one dataset, resumable, with everything needed to repeat it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

import ragguard
from ragguard.attacks import Attack, Budget
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets, metrics, models, remote, report
from ragguard.evaluation.bm25 import BM25Index
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.example import Example
from ragguard.evaluation.experiment import Corpus, Experiment, Trial
from ragguard.evaluation.files import write_whole
from ragguard.evaluation.registry import Bench, build_attacks, build_system, check, parse
from ragguard.evaluation.sources import with_sources
from ragguard.evaluation.static import distilled
from ragguard.index import DenseIndex

TRIAL = TypeAdapter(Trial)

OTHERS = 600
"""Clean queries that are not attacked: guards are calibrated by them, and an attacker who does not know the targets knows the
first hundred."""


class BenchSettings(BaseModel):
    """What a run does; part of its result, and what a resumed run must agree with.

    Attributes:
        dataset: Folder in BEIR layout, or a name (see `ragguard.evaluation.remote.find`).
        attacks: Names with options.
        defenses: Names with options; the first is what others are compared with.
        retriever: What finds candidates: nearest neighbours by the encoder, by a static embedding distilled from it, or BM25.
            Guards use the encoder in any case, and attacks that know weights know the encoder's.
        model: Name or path of a sentence-transformers model, or one for ONNX Runtime (see `ragguard.evaluation.models.load`);
            None takes the offline one.
        k: Results per query.
        queries: How many queries are attacked, drawn with the seed.
        ids: The queries to attack, by id, instead.
        documents: Poisoned documents for each query; for attacks on all queries together, in all.
        tokens: Longest poisoned document.
        together: Whether the poison against all queries is there at once (PoisonedRAG's protocol; the other is RAGPart's).
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    attacks: tuple[str, ...] = Field(min_length=1)
    defenses: tuple[str, ...] = Field(min_length=1)
    retriever: Literal["dense", "bm25", "static"] = "dense"
    model: str | None = None
    k: int = Field(default=10, ge=1)
    queries: int = Field(default=100, ge=1)
    ids: tuple[str, ...] = ()
    documents: int = Field(default=3, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    together: bool = False
    seed: int = Field(default=0, ge=0)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        rows: One for each attack and defense.
        comparisons: Every two defenses under every attack.
        details: How it was measured.
        findings: What was not stopped, and what it cost.
        examples: By attack, one query before and after.
    """

    rows: tuple[metrics.Row, ...]
    comparisons: tuple[metrics.Comparison, ...]
    details: dict[str, Any]
    findings: tuple[str, ...]
    examples: Mapping[str, Example]


def run(
    settings: BenchSettings,
    out: Path,
    cache: Path,
    *,
    resume: bool = False,
    step: Callable[[str, int, int], None] = lambda *_: None,
) -> Result:
    """Run a benchmark and write `results.json` and `report.html`.

    Every attack's answers are written to a file of their own as soon as they are complete, from which a resumed run goes on.

    Args:
        settings: What to do.
        out: Folder of the results.
        cache: Folder of embeddings and triggers, shared by runs.
        resume: Go on with an earlier run of the same settings in `out`, instead of starting anew.
        step: Called before each part of the work with a sentence, the number of finished attacks, and that of all.

    Raises:
        InvalidInputError: If the dataset, an attack or a defense is unusable, or `out` holds another run that is to be resumed.
    """
    check(settings.attacks, settings.defenses)
    try:
        for folder in (out, cache):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written: {error}") from error
    step("loading data and model", 0, len(settings.attacks))
    original = remote.find(settings.dataset, cache)
    dataset = dataclasses.replace(original, documents=tuple(with_sources(original.documents, settings.seed)))
    model = models.load_weights(settings.model)
    encoder = CachedEncoder(model, cache)
    drawn = [datasets.target(dataset, name) for name in settings.ids]
    targets = drawn or datasets.targets(dataset, settings.queries, settings.seed)
    step(f"indexing {len(dataset.documents)} documents", 0, len(settings.attacks))
    corpus = _corpus(settings.retriever, encoder, model, cache)
    corpus.add(dataset.documents)
    others = datasets.others(dataset, targets, OTHERS, settings.seed)
    bench = Bench(dataset, encoder, model, TextCache(cache), others, corpus, settings.k, settings.seed)
    attacks = _named_apart([(spec, attack) for spec in settings.attacks for attack in build_attacks(spec, bench)])
    systems = [build_system(spec, bench) for spec in settings.defenses]
    about = {"code": _code(settings), "dataset": _hash_of(dataset), "model": model.name}
    parts = _parts(out, {**settings.model_dump(mode="json", exclude={"attacks"}), **about}, resume)
    budget = Budget(settings.documents, settings.tokens)

    trials: list[Trial] = []

    def tell(what: str) -> None:
        step(what, len(trials), len(attacks))

    experiment = Experiment(
        corpus,
        encoder,
        targets,
        systems,
        k=settings.k,
        together=settings.together,
        step=tell,
    )
    clean = _kept(parts / "clean.json", experiment.clean)
    for attack in attacks:
        name = hashlib.sha256(attack.name.encode()).hexdigest()[:16]
        trials.append(_kept(parts / f"{name}.json", partial(experiment.under, attack, budget)))

    rows = metrics.rows(clean, trials, dataset.relevant, settings.k, settings.seed)
    details = report.about(
        dataset=dataset.name,
        dataset_sha256=about["dataset"],
        documents=len(dataset.documents),
        questions=len(targets),
        budget=settings.documents,
        k=settings.k,
        retriever=settings.retriever,
        protocol="all queries' poison at once" if settings.together else "each query's poison alone",
        seed=settings.seed,
        encoder=settings.model or OFFLINE_MODEL,
        encoder_fingerprint=model.name,
        device=model.device,
        attacks={trial.attack: {"family": trial.family, "threat": trial.threat} for trial in trials},
        settings=settings.model_dump(),
        **({"warnings": list(dataset.warnings)} if dataset.warnings else {}),
    )
    result = Result(
        rows=tuple(rows),
        comparisons=tuple(metrics.comparisons(trials, dataset.relevant, settings.k)),
        details=details,
        findings=tuple(report.shortcomings(rows)),
        examples={trial.attack: trial.example for trial in trials if trial.example},
    )
    report.write_json(out / "results.json", result.rows, details, result.comparisons)
    report.write_html(out / "report.html", result.rows, details, result.findings, result.examples)
    return result


def _corpus(retriever: str, encoder: CachedEncoder, model: SentenceTransformerEncoder, cache: Path) -> Corpus:
    if retriever == "bm25":
        return BM25Index()
    return DenseIndex(encoder if retriever == "dense" else CachedEncoder(distilled(model, cache), cache))


def _named_apart(attacks: Sequence[tuple[str, Attack]]) -> list[Attack]:
    """Attacks that share a name go by their options.

    Raises:
        InvalidInputError: If two have the same name and options.
    """
    counts = Counter(attack.name for _, attack in attacks)
    for spec, attack in attacks:
        if counts[attack.name] > 1:
            attack.name = spec
    if twice := [name for name, count in Counter(attack.name for _, attack in attacks).items() if count > 1]:
        raise InvalidInputError(f"attacks need different names or options; given twice: {', '.join(twice)}")
    return [attack for _, attack in attacks]


def _parts(out: Path, wanted: Mapping[str, Any], resume: bool) -> Path:
    """The folder of finished parts, emptied unless the run is resumed; attacks may be added to a resumed run, or left out."""
    parts = out / "parts"
    about = parts / "run.json"
    if resume and about.exists():
        try:
            there = dict(json.loads(about.read_text(encoding="utf-8")))
        except ValueError as error:
            raise InvalidInputError(f"{about} is damaged; start anew, without resume: {error}") from error
        if different := sorted(key for key in {*wanted, *there} if wanted.get(key) != there.get(key)):
            raise InvalidInputError(
                f"{out} holds a run with other {', '.join(different)}; resume it as it was, or leave out resume"
            )
        return parts
    for old in parts.glob("*.json*"):
        old.unlink()
    write_whole(about, json.dumps(wanted, indent=1))
    return parts


def _kept(path: Path, ask: Callable[[], Trial]) -> Trial:
    """A finished part from its file, or made and written."""
    if path.exists():
        try:
            return TRIAL.validate_json(path.read_bytes())
        except ValidationError as error:
            raise InvalidInputError(f"{path} is damaged; delete it to have it made again: {error}") from error
    trial = ask()
    write_whole(path, TRIAL.dump_json(trial).decode())
    return trial


def _code(settings: BenchSettings) -> str:
    """Hash of the package's code, and of the modules that factories come from."""
    digest = hashlib.sha256()
    for path in sorted(Path(ragguard.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    for spec in (*settings.attacks, *settings.defenses):
        module, colon, _ = parse(spec)[0].partition(":")
        if colon and (source := getattr(import_module(module), "__file__", None)):
            for path in sorted(Path(source).parent.glob("*.py")):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _hash_of(dataset: datasets.Dataset) -> str:
    """Hash of all there is."""
    digest = hashlib.sha256()
    for document in dataset.documents:
        digest.update(json.dumps([document.id, document.text]).encode())
    for query_id, query in dataset.queries.items():
        digest.update(json.dumps([query_id, query, sorted(dataset.relevant[query_id]), dataset.answers.get(query_id)]).encode())
    for text in dataset.attack_texts:
        digest.update(json.dumps([text.query_id, text.attack, text.text]).encode())
    digest.update(json.dumps(sorted(dataset.paraphrases.items())).encode())
    return digest.hexdigest()
