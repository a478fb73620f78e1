from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ragguard.attacks import Budget, QueryCopy
from ragguard.defenses import RAGMask
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evaluation import bench, datasets, registry, remote
from ragguard.evaluation.bench import BenchSettings
from ragguard.evaluation.bm25 import BM25Index
from ragguard.evaluation.cache import TextCache
from ragguard.evaluation.static import distilled
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.types import Document

TOPICS = ("astronomy", "law-and-institutions")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The passages and questions of two topics of the demo corpus."""
    made = tmp_path_factory.mktemp("small")
    (made / "qrels").mkdir()
    for name in ("corpus.jsonl", "queries.jsonl", "attacks.jsonl", "paraphrases.jsonl", "qrels/test.tsv"):
        lines = (DATA / name).read_text(encoding="utf-8").splitlines(keepends=True)
        head = lines[:1] if name.endswith("tsv") else []
        chosen = [line for line in lines if any(topic in line for topic in TOPICS) and line not in head]
        (made / name).write_text("".join(head + chosen), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def made(folder: Path, encoder: SentenceTransformerEncoder) -> registry.Bench:
    dataset = datasets.load(folder)
    corpus = BM25Index()
    corpus.add(dataset.documents)
    return registry.Bench(dataset, encoder, encoder, {}, ("who?",), corpus, k=3, seed=0)


@pytest.fixture(scope="module")
def dense(made: registry.Bench, encoder: SentenceTransformerEncoder) -> registry.Bench:
    index = DenseIndex(encoder)
    index.add(made.dataset.documents[:3])
    return dataclasses.replace(made, corpus=index)


SETTINGS: dict[str, Any] = {"defenses": ("none", "ragpart"), "queries": 3, "k": 3, "documents": 1}


def test_a_run_says_what_it_did_and_goes_on_after_an_interruption(folder: Path, tmp_path: Path) -> None:
    settings = BenchSettings(dataset=str(folder), attacks=("query-copy", "edit", "jamming"), **SETTINGS)
    whole = bench.run(settings, tmp_path / "whole", tmp_path / "cache")
    assert [(row.attack, row.defense) for row in whole.rows] == [
        (attack, defense) for attack in ("query-copy", "edit", "jamming") for defense in ("none", "RAGPart(N=5, k=3)")
    ]
    written = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert written["schema"] == 2
    assert written["settings"]["attacks"] == ["query-copy", "edit", "jamming"]
    assert written["attacks"]["edit"]["threat"].endswith("edits honest documents from 1 source")
    assert len(written["dataset_sha256"]) == 64
    assert (tmp_path / "whole" / "report.html").exists()

    def interrupt(what: str, done: int, attacks: int) -> None:
        assert attacks == 3
        if what == "edit: asking":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(settings, tmp_path / "parts", tmp_path / "cache", step=interrupt)
    (tmp_path / "parts" / "parts" / "00.json.part").write_text("half wri")
    steps: list[str] = []
    resumed = bench.run(settings, tmp_path / "parts", tmp_path / "cache", resume=True, step=lambda what, *_: steps.append(what))
    assert "edit: asking" in steps
    assert "query-copy: asking" not in steps
    rates = [(row.attack, row.defense, row.asr, row.sr, row.clean_sr, row.clean_loss) for row in whole.rows]
    assert [(row.attack, row.defense, row.asr, row.sr, row.clean_sr, row.clean_loss) for row in resumed.rows] == rates
    with pytest.raises(InvalidInputError, match="other k; resume it as it was"):
        bench.run(settings.model_copy(update={"k": 2}), tmp_path / "parts", tmp_path / "cache", resume=True)


@pytest.mark.parametrize("name", sorted(registry.ATTACKS))
def test_every_attack_of_the_registry_can_be_built(dense: registry.Bench, name: str) -> None:
    built = registry.build_attacks("texts(attack='fluent-lie')" if name == "texts" else name, dense)
    assert built
    assert all(attack.name and attack.family in "AB" and str(attack.threat) for attack in built)
    assert len({attack.name for attack in built}) == len(built)


def test_names_carry_options_and_may_be_one_s_own(dense: registry.Bench) -> None:
    made = dense
    (attack,) = registry.build_attacks("query-copy(places=['front', 'end'])", made)
    assert attack.name == "query-copy:front+end"
    assert registry.build_system("ragpart(k=2, min_share=0.5)+ragmask(m=10)", made).name == (
        "RAGPart(N=5, k=2, share>0.5) + RAGMask(m=10, delta=0.05, groups)"
    )
    assert registry.build_system("tests.test_bench:mine(m=7)", made).name.startswith("RAGMask(m=7")
    assert registry.build_system("ragpart-corpus(k=1)", made).name == "RAGPart(N=5, k=1) over the corpus"


def mine(made: registry.Bench, m: int) -> Defense:
    return RAGMask(made.encoder, m=m)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("query-copi", "unknown attack 'query-copi'; did you mean query-copy"),
        ("zzz", "there are adaptive-ragmask"),
        ("query-copy(", "is not name or name"),
        ("query-copy(3)", "options must be name=value"),
        ("query-copy(place='front')", "does not take"),
        ("query-copy(places='front')", "places must be a list of front, middle"),
        ("query-copy(places=['frnt'])", "places must be a list of front, middle"),
        ("texts(attack='none')", "no attack texts 'none'; it has"),
        ("no.such.module:thing", "cannot be imported"),
        ("joint(defense='none')", "climbs one of calibrated, default, quota, ragpart, ragmask"),
    ],
)
def test_a_wrong_attack_is_named(dense: registry.Bench, spec: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        registry.build_attacks(spec, dense)


def test_what_reads_similarities_needs_a_dense_retriever(made: registry.Bench) -> None:
    with pytest.raises(InvalidInputError, match="needs retriever dense"):
        registry.build_attacks("joint", made)
    with pytest.raises(InvalidInputError, match="needs retriever dense"):
        registry.build_system("ragpart-corpus", made)


def test_a_wrong_defense_is_named(made: registry.Bench) -> None:
    with pytest.raises(InvalidInputError, match="unknown defense 'ragmusk'; did you mean ragmask"):
        registry.build_system("ragmusk", made)
    with pytest.raises(InvalidInputError, match="cannot be combined"):
        registry.build_system("ragmask+none", made)
    with pytest.raises(InvalidInputError, match="RAGPart: "):
        registry.build_system("ragpart(n=0)", made)


def test_edits_need_each_query_alone(folder: Path, tmp_path: Path) -> None:
    settings = BenchSettings(dataset=str(folder), attacks=("edit",), together=True, **SETTINGS)
    with pytest.raises(InvalidInputError, match="cannot be done against all queries together"):
        bench.run(settings, tmp_path / "out", tmp_path / "cache")


def test_attacks_are_named_apart_by_their_options() -> None:
    def named(*specs: str) -> list[str]:
        return [a.name for a in bench._named_apart([(spec, QueryCopy([Document("a", "some words")])) for spec in specs])]

    assert named("query-copy") == ["query-copy"]
    assert named("query-copy(x=1)", "query-copy(x=2)") == ["query-copy(x=1)", "query-copy(x=2)"]
    with pytest.raises(InvalidInputError, match="given twice: query-copy"):
        named("query-copy", "query-copy")


def test_what_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    settings = BenchSettings(dataset=str(folder), attacks=("query-copy",), **SETTINGS)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInputError, match="file/out cannot be written"):
        bench.run(settings, tmp_path / "file" / "out", tmp_path / "cache")
    (tmp_path / "texts.sqlite").write_text("no database" * 200)
    with pytest.raises(InvalidInputError, match="texts.sqlite cannot be used; delete it"):
        TextCache(tmp_path)


def test_an_attack_that_cannot_meet_its_budget_says_so(made: registry.Bench) -> None:
    few = QueryCopy(made.dataset.documents[:2])
    with pytest.raises(InvalidInputError, match="made 2 of 3 documents"):
        few(datasets.targets(made.dataset, 1), Budget(3))


def test_a_repository_of_the_hub_becomes_a_folder(folder: Path, tmp_path: Path) -> None:
    """A local copy in the hub's layout, read by the hub's own library."""
    pytest.importorskip("datasets")
    repository = tmp_path / "set"
    repository.mkdir()
    (tmp_path / "set-qrels").mkdir()
    for part in ("corpus", "queries"):
        rows = [json.loads(line) for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]
        kept = [{"_id": row["_id"], "title": row.get("title", ""), "text": row["text"]} for row in rows]
        (repository / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    configs = "".join(
        f"- config_name: {part}\n  data_files:\n  - split: {part}\n    path: {part}.jsonl\n" for part in ("corpus", "queries")
    )
    (repository / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    shutil.copy(folder / "qrels" / "test.tsv", tmp_path / "set-qrels" / "test.tsv")
    found = remote.find(f"hf:{repository}", tmp_path / "kept")
    assert [document.text for document in found.documents] == [d.text for d in datasets.load(folder).documents]
    assert found.relevant == datasets.load(folder).relevant
    with pytest.raises(InvalidInputError, match="give a folder in BEIR layout"):
        remote.find(f"hf:{tmp_path}/missing", tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*.part/queries.jsonl"))


def test_a_static_encoder_is_distilled_once(tmp_path: Path) -> None:
    """With a small random transformer, so that it takes seconds."""
    pytest.importorskip("model2vec.distill")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    from ragguard.encoders import offline_model_path

    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=30522)
    BertModel(config).save_pretrained(tmp_path / "tiny")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (offline_model_path() / name).exists():
            shutil.copy(offline_model_path() / name, tmp_path / "tiny" / name)
    transformer = Transformer(str(tmp_path / "tiny"))
    pooling = Pooling(transformer.get_embedding_dimension())
    encoder = SentenceTransformerEncoder(SentenceTransformer(modules=[transformer, pooling], device="cpu"), progress=False)
    one = distilled(encoder, tmp_path)
    again = distilled(encoder, tmp_path)
    assert one.name == again.name != encoder.name
    plain, masked = one.encode_document(["fox", "fox [MASK]"])
    assert float(plain @ masked) < 0.999  # text, not a token that is skipped
    assert float((one.encode_document(["red fox"]) @ one.encode_query(["fox red"]).T)[0, 0]) == pytest.approx(1, abs=1e-4)
