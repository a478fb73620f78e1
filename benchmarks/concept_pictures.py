"""Draw what the words of `docs/concepts.md` mean, from a real attack: `python -m benchmarks.concept_pictures`."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import combinations
from pathlib import Path

import numpy as np

from ragguard import CalibratedGuard, DenseIndex, Document, GuardedResult, GuardedRetriever, SentenceTransformerEncoder
from ragguard.demo.scenario import DATA
from ragguard.evaluation.datasets import load
from ragguard.protocols import Encoder
from ragguard.text import fragments, mask_spans, windows, without, words
from ragguard.types import Span

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "concepts"
WIDTH = 400
"""Pixels: what a telephone shows without making letters smaller."""

LETTER = 1.35
"""Pixels for a letter of a text that is drawn as bars."""

# Colours on light and on dark. A browser chooses by the scheme of the page that shows the picture.
STYLE = """<style>
text{font:13px system-ui,sans-serif;fill:#1f2937}.dim{fill:#596273}.num{text-anchor:end}.mid{text-anchor:middle}
.word{fill:#b9c2cf}.hot{fill:#c2410c}.good{fill:#0f766e}.box{fill:none;stroke:#596273;stroke-width:1.2}
.line{stroke:#596273;stroke-width:1.2;fill:none}.limit{stroke:#c2410c;stroke-width:1.2;stroke-dasharray:4 3}
@media(prefers-color-scheme:dark){text{fill:#e2e4e9}.dim{fill:#9aa3b2}.word{fill:#566072}.hot{fill:#fb923c}.good{fill:#2dd4bf}
.box,.line{stroke:#9aa3b2}.limit{stroke:#fb923c}}
</style>"""


class Picture:
    """Shapes on a canvas that grows downwards."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self.y = 4.0

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A rectangle of a kind of `STYLE`."""
        self._shapes.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2"/>')

    def say(self, x: float, y: float, text: str, kind: str = "") -> None:
        """A line of text; `y` is its base."""
        self._shapes.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')

    def dot(self, x: float, y: float, kind: str) -> None:
        """A point."""
        self._shapes.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')

    def line(self, *points: tuple[float, float], kind: str = "line") -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline class="{kind}" points="{path}"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line with a head at its last point."""
        self.line(*points)
        (x0, y0), (x, y) = points[-2:]
        dx, dy = np.sign(x - x0) * 5, np.sign(y - y0) * 5
        self.line((x - dx - dy * 0.7, y - dy - dx * 0.7), (x, y), (x - dx + dy * 0.7, y - dy + dx * 0.7))

    def text_row(self, text: str, span: Span, hot: Callable[[Span], bool], x: float = 30) -> None:
        """The words of a part of a text as bars, at `y`; those of the attacker stand out."""
        start = span.start
        for word in words(text):
            if span.start <= word.start and word.end <= span.end:
                self.bar(x + (word.start - start) * LETTER, self.y, (word.end - word.start) * LETTER - 1, 9, _kind(hot(word)))

    def svg(self) -> str:
        """The picture."""
        size = f'width="{WIDTH}" height="{self.y:.0f}" viewBox="0 0 {WIDTH} {self.y:.0f}"'
        return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', STYLE, *self._shapes, "</svg>", ""])


def _kind(hot: bool) -> str:
    return "hot" if hot else "word"


def way() -> str:
    """From the query to the model."""
    picture = Picture()
    for y, name in ((4, "query"), (74, "your retriever"), (164, "RAGGuard"), (254, "language model")):
        picture.bar(20, y, 130, 34, "box")
        picture.say(85, y + 22, name, "mid")
    for y0, y1, what in ((38, 72, ""), (108, 162, "2k hits"), (198, 252, "k hits")):
        picture.arrow((85, y0), (85, y1))
        picture.say(94, (y0 + y1) / 2 + 4, what, "dim")
    for y, lines in (
        (91, ("corpus: honest documents,", "and perhaps a planted one")),
        (174, ("evidence, computed", "at ingestion")),
    ):
        picture.arrow((210, y), (152, y))
        for i, one in enumerate(lines):
            picture.say(218, y - 3 + 16 * i, one, "dim")
    picture.arrow((150, 190), (180, 190), (180, 226), (210, 226))
    picture.say(218, 223, "a verdict on each hit;")
    picture.say(218, 239, "what is dropped, and why")
    picture.y = 296
    return picture.svg()


def fragment(text: str, hot: Callable[[Span], bool]) -> str:
    """Five pieces of a text."""
    picture = Picture()
    for number, span in enumerate(fragments(text, 5), 1):
        picture.say(0, picture.y + 9, f"f{number}", "dim")
        picture.text_row(text, span, hot)
        picture.y += 20
    return picture.svg()


def combination(text: str, hot: Callable[[Span], bool]) -> str:
    """All pairs of five fragments, and which the attacker's words are in."""
    theirs = [any(hot(word) for word in words(text) if s.start <= word.start and word.end <= s.end) for s in fragments(text, 5)]
    picture = Picture()
    for i in range(5):
        picture.say(46 + 36 * i, picture.y + 10, f"f{i + 1}", "dim mid")
    picture.y += 18
    for pair in combinations(range(5), 2):
        for i in range(5):
            picture.bar(31 + 36 * i, picture.y, 30, 12, _kind(theirs[i]) if i in pair else "box")
        touched = any(theirs[i] for i in pair)
        picture.say(224, picture.y + 11, "touched by the payload" if touched else "free of it", "hot" if touched else "good")
        picture.y += 18
    return picture.svg()


def mask(text: str, hot: Callable[[Span], bool], encoder: Encoder, query: str) -> str:
    """What is left of the similarity when one span is taken out."""
    spans = mask_spans(text, 15)
    vector = encoder.encode_query([query])[0]
    whole, *left = (encoder.encode_document([text, *(without(text, [span]) for span in spans)]) @ vector).tolist()
    picture = Picture()
    picture.say(0, picture.y + 9, "taken out", "dim")
    picture.say(WIDTH, picture.y + 9, "similarity of the rest", "dim num")
    picture.y += 20
    top = picture.y
    for span, rest in zip(spans, left, strict=True):
        picture.text_row(text, span, hot, x=0)
        picture.bar(240, picture.y - 1, 120 * max(rest, 0), 11, "good")
        picture.say(WIDTH, picture.y + 9, f"{rest:.2f}", "num")
        picture.y += 18
    picture.line((240 + 120 * whole, top - 3), (240 + 120 * whole, picture.y), kind="limit")
    picture.say(240 + 120 * whole, picture.y + 12, f"of the whole: {whole:.2f}", "dim mid")
    picture.y += 20
    return picture.svg()


def window(text: str, hot: Callable[[Span], bool], encoder: Encoder, query: str) -> str:
    """Where the windows lie, and how near each is to the query."""
    spans = windows(text, 10, 5)
    near = (encoder.encode_document([text[span.start : span.end] for span in spans]) @ encoder.encode_query([query])[0]).tolist()
    scale = 220 / len(text)
    picture = Picture()
    picture.say(0, picture.y + 9, "ten words of the text", "dim")
    picture.say(WIDTH, picture.y + 9, "similarity to the query", "dim num")
    picture.y += 20
    for span, similarity in zip(spans, near, strict=True):
        inside = [hot(word) for word in words(text) if span.start <= word.start and word.end <= span.end]
        kind = _kind(sum(inside) > len(inside) / 2)
        picture.bar(span.start * scale, picture.y, (span.end - span.start) * scale, 7, kind)
        picture.bar(240, picture.y, 120 * max(similarity, 0.01), 7, "hot" if kind == "hot" else "good")
        picture.y += 10
    picture.y += 4
    return picture.svg()


def threshold(guard: CalibratedGuard, suspicion: float) -> str:
    """The most suspicious document of each clean query, the threshold, and a planted document."""
    values = [*guard.calibration.maxima, suspicion]
    picture = Picture()
    scale = 150 / max(values)
    base = picture.y + 160
    picture.line((30, base), (WIDTH, base))
    step = (WIDTH - 60) / len(values)
    for i, value in enumerate(values):
        picture.dot(40 + step * i, base - scale * value, "hot" if i == len(values) - 1 else "good")
    level = base - scale * guard.threshold
    picture.line((30, level), (WIDTH, level), kind="limit")
    picture.say(30, level - 7, "threshold", "dim")
    picture.say(WIDTH - 30, base - scale * suspicion + 20, "planted", "num")
    picture.say(30, base + 18, f"{len(values) - 1} clean queries: the most suspicious document of each", "dim")
    picture.y = base + 28
    return picture.svg()


def quota() -> str:
    """Five results with and without a quota of one."""
    picture = Picture()
    columns = (("undefended", "aabaa"), ("at most 1 of a source", "abcde"))
    for x, (title, sources) in zip((0, 210), columns, strict=True):
        picture.say(x, 16, title, "dim")
        for place, source in enumerate(sources):
            picture.bar(x, 28 + 24 * place, 150, 18, _kind(source == "a"))
            picture.say(x + 160, 42 + 24 * place, source)
    picture.y = 152
    return picture.svg()


def draw(encoder: Encoder, guard: CalibratedGuard, result: GuardedResult, planted: Document) -> dict[str, str]:
    """Every picture, by its file's name.

    Args:
        encoder: The real one.
        guard: Calibrated on clean queries.
        result: What it made of the query under attack.
        planted: The query, and then a text that has nothing to do with it; one of the candidates.
    """

    def hot(word: Span) -> bool:
        return word.end <= len(result.query)

    (suspicion,) = (one.suspicion or 0 for one in result.verdicts_on(planted.id) if one.defense == guard.name)
    return {
        "way.svg": way(),
        "fragment.svg": fragment(planted.text, hot),
        "combination.svg": combination(planted.text, hot),
        "mask.svg": mask(planted.text, hot, encoder, result.query),
        "window.svg": window(planted.text, hot, encoder, result.query),
        "threshold.svg": threshold(guard, suspicion),
        "quota.svg": quota(),
    }


def main() -> None:
    """Attack as `docs/start.md` does, and write the pictures."""
    corpus = load(DATA)
    documents, queries = list(corpus.documents[:72]), list(corpus.queries.values())[:32]
    question = queries.pop(5)
    encoder = SentenceTransformerEncoder.offline()
    index = DenseIndex(encoder)
    index.add(documents)
    planted = Document("planted", f"{question} {documents[0].text}")
    index.add([planted])
    guard = CalibratedGuard.calibrated(encoder, index, documents, queries, k=3, max_clean_query_loss=0.05)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in draw(encoder, guard, GuardedRetriever(index, [guard]).retrieve(question, 3), planted).items():
        (FOLDER / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
