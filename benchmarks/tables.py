"""Write the tables of README, study and sizing, and their pictures, from the committed results, so that no number was typed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks import few_queries_plot, scale_plot, scaling_plot

ROOT = Path(__file__).parents[1]
TOLD = ("audit", "encoders", "protection", "scale", "scan", "sizing", "study")
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in TOLD))
IMAGES = ROOT / "docs" / "images"
RESULTS = Path(__file__).parent / "results"


def render(page: str) -> str:
    """A page with every block between `<!-- table: name -->` and `<!-- end -->` made anew."""

    def block(match: re.Match[str]) -> str:
        kind, name = match.group(1), match.group(2) or match.group(1)
        if kind != "flood" and not (RESULTS / f"{name}.json").exists():
            return f"{match.group(0).partition('-->')[0]}-->\nNot measured yet: `python -m benchmarks.run {name}`.\n<!-- end -->"
        result = {} if kind == "flood" else _result(name)  # that one reads the results of every corpus
        return f"{match.group(0).partition('-->')[0]}-->\n{TABLES[kind](result)}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+)(?: of (\w+))? -->.*?<!-- end -->", block, page, flags=re.DOTALL)


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _paper_rows(result: dict[str, Any]) -> str:
    rows = result["rows"]
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    lines = []
    for defense in dict.fromkeys(row["defense"] for row in rows):
        mine = {row["attack"]: row for row in rows if row["defense"] == defense}
        rates = [f"{mine[attack]['asr']:.2f}" for attack in attacks]
        lines.append([defense, *rates, f"{mine[attacks[0]]['clean_sr']:.2f}"])
    return _table(["ASR@10", "once", "in the middle", "twice", "in all fragments", "clean SR@10"], lines)


MATTERS = 0.05
"""Rise of an attack's ASR from which a signal counts for it."""

LONG = 40
"""Characters of an attack's name from which its places are counted instead."""

SHORT = {
    "none": "none",
    "RAGPart(N=5, k=3)": "RAGPart",
    "RAGPart(N=5, k=2, share>0.5)": "RAGPart k=2 share>½",
    "RAGMask(m=15, delta=0.05)": "RAGMask single",
    "RAGMask(m=15, delta=0.05, groups)": "RAGMask",
    "RAGPart(N=5, k=3) + RAGMask(m=15, delta=0.05, groups)": "both",
    "CalibratedGuard(0.02)": "calibrated guard",
    "CalibratedGuard(0.05)": "calibrated guard",
    "SourceQuota(limit=1)": "quota of 1",
    "RAGDefender (single_hop)": "RAGDefender",
    "TrustRAG (clustering stage only)": "TrustRAG (clustering)",
    "GMTP (bigram variant)": "GMTP (bigrams)",
    "near duplicates (cosine 0.95)": "near duplicates",
}


def _short(defense: str) -> str:
    guard, _, quota = defense.partition(" + SourceQuota(")
    return (
        "**default guard**"
        if quota and " + " not in quota and guard.startswith("CalibratedGuard(")
        else SHORT.get(defense, defense)
    )


def _compare(result: dict[str, Any]) -> str:
    """ASR of every attack under every defense, after what each defense costs without any."""
    rows = result["rows"]
    k = rows[0]["k"]
    defenses = list(dict.fromkeys(row["defense"] for row in rows))
    lines = [["**clean: queries harmed**"], [f"**clean: SR@{k}**"]]
    for defense in defenses:
        mine = next(row for row in rows if row["defense"] == defense)
        lines[0].append(f"{mine['clean_loss']:.2f}")
        lines[1].append(f"{mine['clean_sr']:.2f}")
    for attack in dict.fromkeys(row["attack"] for row in rows):
        mine = {row["defense"]: row for row in rows if row["attack"] == attack}
        family = next(iter(mine.values()))["family"]
        lines.append([f"{attack} ({family})", *(f"{mine[defense]['asr']:.2f}" for defense in defenses)])
    return _table([f"ASR@{k}", *map(_short, defenses)], lines)


def _scaling(result: dict[str, Any]) -> str:
    """How many documents an attack needs for ASR@10 of 0.9, by corpus size; where simulated, both bounds."""
    needed = result["needed"]
    sizes = sorted({one["documents"] for one in needed})
    lines = []
    for attack in dict.fromkeys(one["attack"] for one in needed):
        line = [f"{attack} ({next(one['family'] for one in needed if one['attack'] == attack)})"]
        for size in sizes:
            found = [one for one in needed if (one["attack"], one["documents"]) == (attack, size)]
            counts = sorted({one["for_asr_0.9"] for one in found if one["for_asr_0.9"] is not None})
            line.append("-".join(map(str, counts)) + (" (simulated)" if found[0]["simulated"] else ""))
        lines.append(line)
    return _table(["documents for ASR@10 >= 0.9, corpus of", *(f"{size:,}" for size in sizes)], lines)


def _closed_form(result: dict[str, Any]) -> str:
    lines = [
        [
            f"N={s['n']}, k={s['k']}",
            f"{s['combinations']:,}",
            f"{s['times_faster']:.1f}x",
            f"{s['times_smaller']:.1f}x",
            f"{s['ours_ms']:.0f} ms",
            "none",
        ]
        for s in result["settings"]
    ]
    s = result["sampled"]
    name = f"N={s['n']}, k={s['k']}, {s['candidates']} candidates"
    voting = f"{s['voting']:,} of {s['combinations']:,}"
    error = f"within {s['stated_error']:.3f} (largest seen {s['largest_error']:.3f})"
    lines.append([name, voting, "", f"{s['times_smaller']:,}x", f"{s['ms']:.0f} ms", error])
    return _table(["RAGPart", "combinations", "faster", "smaller", "a query", "error of vote shares"], lines)


def _fragment_search(result: dict[str, Any]) -> str:
    lines = []
    for row in result["rows"]:
        line = [row["search"], f"{row['ms']:.1f} ms", "", "", "", ""]
        if "proven" in row:
            line[2:] = [
                f"{row['proven']:.0%}",
                f"{row['recall_at_10']:.3f}",
                f"{row['same_top_10']:.0%}",
                f"{row['build_s']:.0f} s",
            ]
        lines.append(line)
    return _table(["fragments searched by", "a query", "proven exact", "recall@10", "exact top 10", "index made in"], lines)


def _latency(result: dict[str, Any]) -> str:
    lines = [
        [
            _short(d["defense"]),
            f"{d['added_ms']:.1f} ms",
            f"{d['guarded_over_unguarded']:.2f}",
            f"{d['ingestion_over_embedding']:.1f}",
        ]
        for d in result["defenses"]
    ]
    alone = f"{result['added_ms_p50']:.1f} ms (p99 {result['added_ms_p99']:.1f})"
    lines.insert(0, ["**default guard**, no other system between", alone, f"{result['guarded_over_unguarded']:.2f}", ""])
    return _table(["defense", "added per query", "guarded / unguarded", "ingestion / plain embedding"], lines)


def _encoders(result: dict[str, Any]) -> str:
    lines = [
        [
            one["encoder"],
            *(f"{one[f'{kind}_times_as_fast']:.1f}x" for kind in ("documents", "windows", "query")),
            f"{one['document_cosine_mean']:.3f} ({one['document_cosine_min']:.3f})",
            f"{one['top_10_overlap']:.1%}",
            *(f"{one[f'{name}_verdicts_changed'] / one[f'{name}_verdicts']:.1%}" for name in ("guard", "ragmask")),
            f"{one['guard_copies_dropped']}",
        ]
        for one in result["encoders"]
    ]
    fast, near = ["documents", "ten words", "a query"], ["cosine (least)", "top 10 the same"]
    return _table(["", *fast, *near, "guard: verdicts changed", "RAGMask: changed", "guard: copies dropped"], lines)


def _same_model(result: dict[str, Any]) -> str:
    lines = [[one["index"], f"{one['mean']:.2f}", f"{one['least']:.2f} to {one['most']:.2f}"] for one in result["indexes"]]
    return _table(["the index has", "pairs the other way round", f"by {result['asked_at_a_time']} queries, least to most"], lines)


def _guard(result: dict[str, Any]) -> str:
    """ASR of every attack at several losses, and what clean queries lose at each."""
    rows = [row for row in result["rows"] if row["signals"] == "default"]
    lines = [["**clean: queries harmed**", "0"], ["**clean: SR@10**", f"{rows[0]['clean_sr_undefended']:.3f}"]]
    for row in rows:
        rate, low, high = row["clean_loss"]
        lines[0].append(f"{rate:.3f} ({low:.3f}-{high:.3f})")
        lines[1].append(f"{row['clean_sr'][0]:.3f}")
    for attack, first in rows[0]["attacks"].items():
        rate, low, high = first["asr"]
        rates = [f"{row['attacks'][attack]['asr'][0]:.2f}" for row in rows]
        rates[0] += f" ({low:.2f}-{high:.2f})" if 0 < rate < 1 else ""
        lines.append([f"{attack} ({first['family']})", f"{first['undefended']:.2f}", *rates])
    return _table(["ASR@10", "undefended", *(f"loss {row['loss']:.0%}" for row in rows)], lines)


def _ablation(result: dict[str, Any]) -> str:
    """ASR of the attacks on which some signal matters, without each signal and with it alone."""
    rows = {row["signals"]: row for row in result["rows"] if row["loss"] == result["rows"][0]["loss"]}
    names = [name.removeprefix("without ") for name in rows if name.startswith("without ")]
    attacks = rows["default"]["attacks"]

    def rate(name: str, attack: str) -> float:
        return float(rows[name]["attacks"][attack]["asr"][0])

    lines = []
    for attack in attacks:
        missed = {name: rate(f"without {name}", attack) - rate("default", attack) for name in names}
        if max(missed.values()) < MATTERS:
            continue
        line = [f"{attack} ({attacks[attack]['family']})", f"{rate('default', attack):.2f}"]
        for name in names:
            without = f"{rate(f'without {name}', attack):.2f}"
            line.append(f"**{without}**" if missed[name] >= MATTERS else without)
        lines.append(line)
    return _table(["ASR@10 without", "none", *names], lines)


def _flood(_: dict[str, Any]) -> str:
    """Of five results, how many are lies, and how often one answers, by guard and corpus."""
    lines = []
    for path in sorted(RESULTS.glob("default_guard_*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        rows = {row["signals"]: row for row in result["rows"] if row["loss"] == result["rows"][0]["loss"]}
        for attack in rows["default"]["attacks"]:
            if not attack.endswith((" x5", "framing")):
                continue
            found = [rows[name]["attacks"][attack] for name in ("default", "then flood", "flood alone")]
            before = found[0]["undefended_of_5"], found[0]["undefended_sr_at_5"]
            pairs = [before, *((one["poisoned_of_5"], one["sr_at_5"]) for one in found)]
            lines.append([f"{result['dataset']}, {attack}", *(f"{lies:.1f}, {sr:.2f}" for lies, sr in pairs)])
    return _table(["poisoned of 5, SR@5", "undefended", "default", "default, then flood", "flood alone"], lines)


def _robust(result: dict[str, Any]) -> str:
    """What the robust score after the default guard costs on every corpus, and what it stops on the first, by quantile."""
    lines = []
    for found in result["datasets"]:
        for title, key in (("queries harmed", "clean_loss"), ("SR@10", "clean_sr")):
            rates = [f"{row[key][0]:.3f}" for row in _chosen(found)]
            lines.append([f"**{found['dataset']}, clean: {title}**", *rates])
    rows = _chosen(result["datasets"][0])
    under = [[attack["sr"][0] for attack in row["attacks"].values()] for row in rows]
    lines.append(
        [f"**{result['datasets'][0]['dataset']}, attacked: SR@10, mean**", *(f"{sum(one) / len(one):.3f}" for one in under)]
    )
    for attack, first in rows[0]["attacks"].items():
        title = attack if len(attack) < LONG else f"{attack.partition('+')[0]} x{attack.count('+') + 1}"
        cells = [row["attacks"][attack]["asr"] for row in rows]
        rates = [f"{rate:.2f} ({low:.2f}-{high:.2f})" if 0 < rate < 1 else f"{rate:.2f}" for rate, low, high in cells]
        lines.append([f"{title} ({first['family']}), {first['targets']} queries", *rates])
    return _table(["ASR@10", "undefended", "default", *(f"+ robust, quantile {row['quantile']}" for row in rows[2:])], lines)


def _chosen(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Without defense, the default guard, and the robust score after it as it is shipped, from the highest quantile."""
    rows = found["rows"]
    shipped = [row for row in rows if row["quantile"] and row["rest"] == rows[2]["rest"]]
    return [*rows[:2], *sorted(shipped, key=lambda row: -float(row["quantile"]))]


def _rests(result: dict[str, Any]) -> str:
    """Queries harmed, SR and mean ASR of paraphrases in one or two places, by what the rest is and by quantile."""
    rows = [row for row in result["datasets"][0]["rows"] if row["quantile"]]
    planted = [name for name in rows[0]["attacks"] if name.startswith("paraphrase") and "fragment" not in name]
    quantiles = sorted({row["quantile"] for row in rows}, reverse=True)
    lines = []
    for rest in dict.fromkeys(row["rest"] for row in rows):
        mine = {row["quantile"]: row for row in rows if row["rest"] == rest}
        cells = [(mine[one], sum(mine[one]["attacks"][name]["asr"][0] for name in planted) / len(planted)) for one in quantiles]
        lines.append([rest, *(f"{row['clean_loss'][0]:.2f}, {row['clean_sr'][0]:.3f}, {asr:.2f}" for row, asr in cells)])
    return _table(["harmed, SR@10, ASR@10", *(f"quantile {one}" for one in quantiles)], lines)


def _sizing(result: dict[str, Any]) -> str:
    """By plan, for a million documents: passes and tokens of the encoder, hours of two cores at the measured rate, gigabytes."""
    lines = [
        [
            f"{row['defense']} (`{row['plan']}`)",
            f"{row['passes_per_document']:.1f}",
            f"{row['tokens_per_document']:,.0f}",
            f"{row['documents_per_core_second']:.1f}",
            f"{1e6 / row['documents_per_core_second'] / 7200:,.0f}",
            *(f"{row['bytes_per_document'][form] / 1e3:,.0f} GB" for form in ("fp16", "fp32")),
        ]
        for row in result["plans"]
    ]
    head = [
        "a million documents",
        "passes each",
        "tokens each (millions in all)",
        "documents a core second",
        "hours on 2 cores",
        "fp16",
        "fp32",
    ]
    return _table(head, lines)


def _sizing_stores(result: dict[str, Any]) -> str:
    lines = [
        [row["store"], str(row["workers"]), f"{row['written_per_second']:,}", f"{row['found_per_second']:,}"]
        for row in result["stores"]
    ]
    return _table(["store", "workers", "written a second", "found a second"], lines)


def _scale(result: dict[str, Any]) -> str:
    """What the guard costs at each size."""
    lines = []
    for row in result["rows"]:
        times = [
            f"{row[f'{kind}_ms_p50']:.1f} ({row[f'{kind}_ms_p99']:.0f}; {row[f'{kind}_cpu_ms']:.1f})" for kind in ("warm", "disk")
        ]
        memory = [f"{row['plain_mb']:,}", f"+{row['guard_mb']:,}", f"+{row['guard_peak_mb']:,}"]
        rates = [f"{row['ingested_per_s']:,}", f"{row['disk_bytes_per_document'] / 1000:.1f} kB", f"{row['loading_s']:.0f} s"]
        lines.append([f"{row['documents']:,}", *rates, *memory, f"{row['flat_ms_p50']:.1f}", f"{row['ivf_ms_p50']:.1f}", *times])
    head = ["documents", "ingested a second", "on disk, each", "loaded in", "plain index, MB", "guard, MB", "at most, MB"]
    return _table([*head, "flat search, ms", "IVF search, ms", "guard warm, ms", "guard from disk, ms"], lines)


def _sample(result: dict[str, Any]) -> str:
    """What the guard stops and costs by the number of texts that its language model learned."""
    rows = result["rows"]
    lines = [["**clean: queries harmed**"], ["**clean: SR@10**"]]
    for row in rows:
        rate, low, high = row["clean_loss"]
        lines[0].append(f"{rate:.3f} ({low:.3f}-{high:.3f})")
        lines[1].append(f"{row['clean_sr'][0]:.3f}")
    shown = [attack for attack in rows[0]["attacks"] if attack.startswith(("query", "hot", "gas"))]
    lines += [[attack, *(f"{row['attacks'][attack]['asr'][0]:.2f}" for row in rows)] for attack in shown]
    head = [f"{row['sample']:,} of {'the four' if '+' in row.get('corpus', '') else result['dataset']}" for row in rows]
    return _table(["ASR@10, learned from", *head], lines)


def _gpu(result: dict[str, Any]) -> str:
    """Rates on a device, and how many times its floor each takes."""
    lines = [
        [
            f"{name}, {row['dtype']}, batches of {row['batch']}",
            f"{row[f'{name}_per_s']:,.0f} documents a second",
            f"{row[f'{name}_over_floor']:.1f}",
        ]
        for name in ("plain", "evidence")
        for row in result["embedding"]
    ]
    lines += [
        [f"top {row['documents']:,}, {row['dtype']}, {row['queries']} at once", f"{row['ms']:.1f} ms", f"{row['over_floor']:.1f}"]
        for row in result["search"]
    ]
    return _table([result["device"], "", "times its floor"], lines)


def _scan(result: dict[str, Any]) -> str:
    """What the ingestion gate finds, by attack and yardstick."""
    kinds = ("trusted", "with_log", "itself")
    lines = [
        [row["attack"], *(f"{row[kind]['found']:.0%} ({row[kind]['quarantined']:.0%})" for kind in kinds)]
        for row in result["rows"]
        if row["attack"] != "honest"
    ]
    return _table(["found (quarantined)", "by trusted documents", "with a query log", "by itself"], lines)


def _scan_honest(result: dict[str, Any]) -> str:
    lines = [
        [row["dataset"], f"{row['of']:,.0f}", f"{row['found']:.1%}", f"{row['quarantined']:.1%}"] for row in result["honest"]
    ]
    return _table(["honest documents of", "judged", "flagged or quarantined", "quarantined"], lines)


def _audit(result: dict[str, Any]) -> str:
    """What being observed costs, and what deciding again makes of the records."""
    rows = result["datasets"]
    again = {"from_numbers": "from its numbers", "from_corpus": "from the corpus", "from_texts_in_the_record": "from texts in it"}
    lines = [
        ["decisions recorded, missed", *(f"{row['records']:,}, {row['unrecorded']}" for row in rows)],
        *([f"decided again {how}, otherwise", *(_again(row[key]) for row in rows)] for key, how in again.items()),
        ["bytes of a record, with texts", *(f"{row['bytes_a_record']:,}, {row['bytes_with_texts']:,}" for row in rows)],
        *([f"time of a query with {how}, against without", *_times(rows, f"{one}_over_nobody")] for one, how in OBSERVED.items()),
        *([f"queries without a pause, with {how}", *_times(rows, f"{one}_busy")] for one, how in OBSERVED.items()),
    ]
    return _table(["", *(row["dataset"] for row in rows)], lines)


OBSERVED = {"audit": "an audit log", "everything": "that, OpenTelemetry and Prometheus"}


def _times(rows: list[dict[str, Any]], key: str) -> list[str]:
    return [f"{row[key]:.2f}" for row in rows]


def _again(found: dict[str, Any]) -> str:
    return f"{sum(found['decided'].values()):,}, {found['otherwise']}"


def _scan_adaptive(result: dict[str, Any]) -> str:
    """How far an attacker comes who knows the gate, by yardstick and documents tried."""
    kinds = {"trusted": "trusted documents", "with_log": "with a query log"}
    columns = ("admitted", "found", "both", "moved")
    lines = [
        [kinds[row["gate"]], f"{row['calls']:,}", f"{row['spent']:.1f}", *(f"{row[name]:.0%}" for name in columns)]
        for row in result["adaptive"]
    ]
    head = ["gate", "tries allowed", "taken on average", "admitted", "retrieved", "both", "both, by a gate of another draw"]
    return _table(head, lines)


def _few_queries(result: dict[str, Any]) -> str:
    """What a guard of few queries stops, against one whose scales come from the same queries."""
    lines = []
    for case in result["cases"]:
        for draws in (draws for draws in case["draws"] if draws["queries"] in (59, 200)):
            row = [case["case"], str(draws["queries"])]
            for when in ("before", "now"):
                rate = draws[when]["attacks"]["copied in front"]
                row += [f"{draws[when]['harmed']:.1%}", f"{rate['asr']:.2f} ({rate['5 %']:.2f} to {rate['95 %']:.2f})"]
                row.append(f"{rate['more than half pass']:.1%}")
            lines.append(row)
    head = ["corpus and queries", "queries", *[f"{name}, {when}" for when in ("before", "now") for name in CLAIMS]]
    return _table(head, lines)


CLAIMS = ("harmed", "copies that pass", "draws in which most pass")


def _kinds(result: dict[str, Any]) -> str:
    """For each kind of corpus, harm and what passes, with 59, 200 and no queries."""
    lines = []
    for case in result["cases"]:
        found = [(str(draws["queries"]), draws["now"]) for draws in case["draws"] if draws["queries"] in (59, 200)]
        for number, outcome in [*found, ("none", case["derived"])]:
            rates = [f"{rate['asr']:.2f}" for rate in outcome["attacks"].values()]
            lines.append([case["case"], f"{case['documents']:,}", number, f"{outcome['harmed']:.1%}", *rates])
    return _table(["corpus and queries", "documents", "queries", "harmed", *result["cases"][0]["undefended"]], lines)


TABLES = {
    "few_queries": _few_queries,
    "kinds": _kinds,
    "audit": _audit,
    "scan": _scan,
    "scan_adaptive": _scan_adaptive,
    "scan_honest": _scan_honest,
    "robust": _robust,
    "rests": _rests,
    "sizing": _sizing,
    "sizing_stores": _sizing_stores,
    "scale": _scale,
    "sample": _sample,
    "gpu": _gpu,
    "flood": _flood,
    "guard": _guard,
    "ablation": _ablation,
    "paper_rows": _paper_rows,
    "closed_form": _closed_form,
    "fragment_search": _fragment_search,
    "encoders": _encoders,
    "same_model": _same_model,
    "latency": _latency,
    "compare": _compare,
    "scaling": _scaling,
}


def pictures() -> None:
    """Heat maps and budget curves of the comparisons, and ASR against corpus size."""
    import matplotlib as mpl

    from ragguard.evaluation import plots
    from ragguard.evaluation.metrics import Row

    mpl.use("svg")
    few_queries_plot.draw(_result("few_queries"), IMAGES / "few_queries.svg")
    scale_plot.draw(_result("scale"), IMAGES / "scale.svg")
    scaling_plot.draw(_result("scaling"), IMAGES / "scaling.svg")
    for path in sorted(RESULTS.glob("compare_*.json")):
        rows = [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
        drawn = {"heat_map": plots.heat_map(rows), "curves": plots.budget_curves(rows)}
        for kind, picture in drawn.items():
            if picture:
                white = picture.replace('style="', 'style="background: #ffffff; ', 1)  # that of <svg>: it may have one only
                (IMAGES / f"{path.stem}_{kind}.svg").write_text(white, encoding="utf-8")


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
    pictures()
