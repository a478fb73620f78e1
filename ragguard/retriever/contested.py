"""Contested answers: results of different sources that answer a query with different numbers or dates, or with yes and no.

Nothing here can tell a fluent, on-topic lie (PoisonedRAG, Zou et al. 2024, arXiv 2402.07867) from the truth. But that sources
disagree about what a query asks for can often be read off their words, and whoever reads them should know. English only.

A passage answers where one of its sentences, with the one before and the first (they say what it is about), has most of the
query's content words. Two passages disagree if no answer of one fits an answer of the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import NamedTuple, TypeAlias

from ragguard.types import Contest, ContestKind, Document, Hit, Side, Span

CONTEXT_SHARE, SENTENCE_SHARE = 0.85, 0.4
"""Of the query's content words, what an answering sentence must have with the other two, and by itself. On half of nq_dev, .85
flags 0.2 % of clean queries and, of those that ask for such a thing, 38 % with one lie; .8: 0.9 %, 47 %; .75: 1.8 %, 51 %."""

MOST_HITS, MOST_CHARACTERS, MOST_SENTENCES, MOST_FOUND, MOST_ANSWERS, MOST_WORDS = 20, 4_000, 64, 32, 4, 24
"""What is read: hits; characters and sentences of each; numbers of a sentence; answers of a passage; words of the query. This
bounds what hostile texts cost."""

Value: TypeAlias = tuple[float | str | None, ...]
"""Unit and number; year, month and day, None where not said; or yes or no."""


class _Answer(NamedTuple):
    value: Value
    span: Span


class _Heard(NamedTuple):
    hit: Hit
    source: str
    answers: Sequence[_Answer]


class _Question(NamedTuple):
    """`forms`: how texts write each content word; `counted`: stems of what "how many" counts; `year`: no more is asked for."""

    kind: ContestKind
    forms: Mapping[str, tuple[str, ...]]
    counted: tuple[str, ...]
    year: bool


def contests(query: str, hits: Sequence[Hit]) -> tuple[Contest, ...]:
    """What results of different sources disagree about, if the query asks for a number, a date, or yes or no.

    The source is `metadata["source"]`, as recorded at ingestion. Documents without one are not heard: nobody knows whether they
    come from elsewhere, and an author who contradicts himself is no contest.

    Args:
        query: The query's text.
        hits: The results that will be read, best first; the first 20 are compared. Spans are offsets in their texts.

    Returns:
        At most one: a query is taken to ask for one thing.
    """
    question = _question(query)
    named = [(hit, source) for hit in hits[:MOST_HITS] if (source := _source(hit.document))]
    if question is None or len({source for _, source in named}) < 2:
        return ()
    heard = [_Heard(hit, source, answers) for hit, source in named if (answers := _answers(question, hit.document.text))]
    heard = [voice._replace(answers=sorted(voice.answers, key=lambda answer: -_support(answer, heard))) for voice in heard]
    sides: list[list[_Heard]] = []
    for voice in heard:
        side = next((side for side in sides if _same(voice.answers[0], side[0].answers[0])), None)
        if side is None:
            sides.append(side := [])
        side.append(voice)
    disputed = [side for side in sides if any(_disagree(voice, other) for voice in side for other in heard)]
    return (_contest(question.kind, disputed),) if disputed else ()


def wanted(query: str) -> ContestKind | None:
    """What kind of answer a query asks for, by its wording; None where answers are not compared."""
    question = _question(query)
    return question.kind if question else None


def _source(document: Document) -> str:
    value = document.metadata.get("source")
    return "" if value is None else str(value)


def _support(answer: _Answer, heard: Sequence[_Heard]) -> int:
    return len({voice.source for voice in heard if any(_same(answer, other) for other in voice.answers)})


def _disagree(first: _Heard, second: _Heard) -> bool:
    return first.source != second.source and all(_same(a, b) is False for a in first.answers for b in second.answers)


def _same(first: _Answer, second: _Answer) -> bool | None:
    """Whether two answers are one; None where they cannot be compared, as hours with miles or a year with a day in May."""
    number, other = first.value[-1], second.value[-1]
    if isinstance(number, float) and isinstance(other, float):
        return math.isclose(number, other, rel_tol=0.01) if first.value[0] == second.value[0] else None  # 1 % is rounding
    both = [(a, b) for a, b in zip(first.value, second.value, strict=True) if a is not None and b is not None]
    return all(a == b for a, b in both) if both else None


def _contest(kind: ContestKind, groups: Sequence[Sequence[_Heard]]) -> Contest:
    sides = []
    for group in groups:
        hit, _, (answer, *_) = group[0]
        worded = str(answer.value[0]) if kind == "yes-no" else hit.document.text[answer.span.start : answer.span.end]
        ids, spans = tuple(voice.hit.document.id for voice in group), tuple(voice.answers[0].span for voice in group)
        sides.append(Side(worded, ids, tuple(dict.fromkeys(voice.source for voice in group)), spans))
    sides.sort(key=lambda side: -len(side.sources))
    views = "; ".join(f"{side.answer!r} by {', '.join(f'{source!r:.100}' for source in side.sources)}" for side in sides)
    return Contest(kind, tuple(sides), f"Sources give different answers ({kind}): {views}. Which is right is not known.")


_list = str.split
_STOP = _list(
    "a about after all also an and any are as at be been being before but by called can come comes could did do does each for"
    " from get got had happen has have he her his how i if in into is it its list located many may me most much my name named of"
    " on one or our out over place s said say she should so some stay t take than that the their them then there these they this"
    " those to under up us was we were what when where which who whom whose why will with would you your"
)
_ASKS: Mapping[ContestKind, re.Pattern[str]] = {
    "number": re.compile(r"\bhow (?:(many|much)|long|far|tall|high|big|large|deep|old|heavy|fast|wide)\b"),
    "date": re.compile(r"^when\b|\b(?:what|which) (?:year|date|day)\b"),
    "yes-no": re.compile(r"^(?:is|are|was|were|do|does|did|can|could|has|have|had|will|should)\b(?!.*\bor\b)"),
}
_WORD = re.compile(r"[^\W_]+")
_ORDINALS = _list(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth"
    " seventeenth eighteenth nineteenth twentieth"
)
_ROMAN = _list("- ii iii iv v vi vii viii ix x")


def _question(query: str) -> _Question | None:
    wording = " ".join(_WORD.findall(query[:MOST_CHARACTERS].lower())[:MOST_WORDS])
    for kind, pattern in _ASKS.items():
        if match := pattern.search(wording):
            before, after = wording[: match.start()].split(), wording[match.end() :].split()
            counted = takewhile(lambda word: word not in _STOP, after if kind == "number" and match[1] else ())
            forms = {stem: _forms(stem) for stem in (_stem(word) for word in before + after if word not in _STOP)}
            return _Question(kind, forms, tuple(map(_stem, counted)), "year" in match[0]) if forms else None
    return None


def _stem(word: str) -> str:
    """Without the commonest endings; "4th" and "fourth" as "4", but "second" may be a time."""
    if word in _ORDINALS and word != "second":
        return str(_ORDINALS.index(word) + 1)
    endings = ("st", "nd", "rd", "th") if word[:1].isdecimal() else ("ies", "ing", "ed", "es", "s", "y", "e")
    fits = (ending for ending in endings if word.endswith(ending) and (len(word) >= len(ending) + 3 or word[:1].isdecimal()))
    return word.removesuffix(next(fits, ""))


def _forms(stem: str) -> tuple[str, ...]:
    if stem.isdecimal():
        index = int(stem[:3]) - 1
        words = (names[index] for names in (_ORDINALS, _ROMAN) if 0 <= index < len(names))
        return tuple(f" {form} " for form in (stem, *(stem + ending for ending in ("st", "nd", "rd", "th")), *words))
    if len(stem) > 3:
        return (f" {stem}",)
    return tuple(f" {stem}{ending} " for ending in ("", "s", "es", "ed", "ing", "e", "y", "ies"))


_SENTENCE_END = re.compile(r"(?<=[.!?])(?:\[\d{1,3}\]|[\"'”’)*]){0,4}\s+(?=[\"'“‘(*]{0,3}[A-Z])|\n+")


def _answers(question: _Question, text: str) -> list[_Answer]:
    """A passage's answers, those in sentences with most of the query's words first."""
    text = text[:MOST_CHARACTERS]
    lowered, figures = text.lower(), {stem for stem in question.forms if stem.isdecimal()}
    least = len(question.forms) * CONTEXT_SHARE
    if sum(stem in lowered or stem in figures for stem in question.forms) < least:
        return []  # most passages end here, at little cost
    breaks = [match.span() for match in islice(_SENTENCE_END.finditer(text), MOST_SENTENCES)]
    sentences = list(zip((0, *(end for _, end in breaks)), (*(start for start, _ in breaks), len(text)), strict=True))
    stems = [_stems_in(question, text[start:end]) for start, end in sentences]
    if not figures <= set().union(*stems):  # "season 4" is no other season, however many of the words are there
        return []
    ranked: list[tuple[int, int, _Answer]] = []
    for i, (start, end) in enumerate(sentences):
        own, helped = len(stems[i]), len(stems[0] | stems[max(i - 1, 0)] | stems[i])
        if helped >= least and own >= len(question.forms) * SENTENCE_SHARE:
            for value, first, last in islice(_FIND[question.kind](question, text[start:end]), MOST_ANSWERS):
                ranked.append((-helped, -own, _Answer(value, Span(start + first, start + last))))
    return [answer for _, _, answer in sorted(ranked, key=lambda candidate: candidate[:2])[:MOST_ANSWERS]]


def _stems_in(question: _Question, sentence: str) -> set[str]:
    """The query's stems that a sentence has."""
    words = f" {' '.join(_WORD.findall(sentence.lower()))} "
    return {stem for stem, forms in question.forms.items() if any(form in words for form in forms)}


_ONES = _list("one two three four five six seven eight nine")
_TEENS = _list("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = _list("twenty thirty forty fifty sixty seventy eighty ninety")
_FIGURES = {word: i for i, word in enumerate(["zero", *_ONES, *_TEENS])} | {word: 10 * i for i, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_NUMBER = re.compile(  # no footnote, part of a date or a range
    r"(?<![\w.,\[#/:–-])([$£€]?)(?:(\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,15})?|\d{1,15}(?:\.\d{1,15})?)"
    rf"|((?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_ONES)}))?|zero|{'|'.join(_ONES + _TEENS)}))"
    rf"(?:[ -]({'|'.join(_SCALES)}))?(?![\w\]:/]|[.,]\d| ?[–-] ?\d)",
    re.IGNORECASE | re.ASCII,
)
_UNITS = {
    unit: unit for unit in _list("second minute hour day week month year inch foot meter km mile cm mm acre kg pound ton mph")
}
_UNITS |= {unit: unit for unit in _list("percent degree dollar euro calorie gallon liter")}
_OTHERWISE = _list("inche feet metre kilometer kilometre kilogram tonne litre % $ £ €")
_UNITS |= dict(zip(_OTHERWISE, _list("inch foot meter km km kg ton liter percent dollar pound euro"), strict=True))
_MONTHS = {name: i for i, name in enumerate(_list("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"), 1)}
_MONTH = (
    r"(Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?|Sept?(?:ember|\.)?"
    r"|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
_DAY, _YEAR = r"([12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?", r"(1[1-9]\d\d|20\d\d)"
_DATE = re.compile(
    rf"(?<![\w.,$£€–-])(?:{_MONTH} (?:the )?{_DAY}(?:,? {_YEAR})?|{_DAY} (?:of )?{_MONTH}(?:,? {_YEAR})?"
    rf"|{_MONTH},? {_YEAR}|{_YEAR})(?!\w|[–-]\d|[.,]\d)",
    re.ASCII,
)
_NO = re.compile(r"\b(?:no|not|never|neither|nor|none|cannot|false|incorrect|without)\b|n[’']t\b", re.IGNORECASE)

_Matches: TypeAlias = Iterator[tuple[Value, int, int]]


def _numbers(question: _Question, sentence: str) -> _Matches:
    for match in islice(_NUMBER.finditer(sentence), MOST_FOUND):
        sign, digits, words, scale = match.groups()
        number = float(digits.replace(",", "") if digits else sum(_FIGURES[word] for word in re.split("[ -]", words.lower())))
        after = re.findall(r"\w+|%", sentence[match.end() : match.end() + 40].lower())[:3]
        unit = _UNITS.get(sign) or (_UNITS.get(after[0].removesuffix("s")) if after else None)
        if question.counted:  # "45 minutes a season" counts minutes, and "2004 seasons" are no season's number
            named = any(word.startswith(question.counted) for word in after[: 1 if unit else 3])
            unit = "counted" if named and (scale or not re.fullmatch(_YEAR, digits or "")) else None
        if unit and f"{number:.0f}" not in question.forms:  # the query's own
            yield (unit, number * _SCALES[scale.lower()] if scale else number), *match.span()


def _dates(question: _Question, sentence: str) -> _Matches:
    for match in _DATE.finditer(sentence):
        month_1, day_1, year_1, day_2, month_2, year_2, month_3, year_3, year_4 = match.groups()  # as in "May 5, 1990", "5 May"
        month, day, year = month_1 or month_2 or month_3, day_1 or day_2, year_1 or year_2 or year_3 or year_4
        if (year and (month or year not in question.forms)) or (day and not question.year):
            value = (year and int(year), month and _MONTHS[month[:3]], day and int(day))
            yield (value[:1] if question.year else value), *match.span()


def _yes_no(_: _Question, sentence: str) -> _Matches:
    if not sentence.rstrip().endswith("?"):
        yield ("no" if _NO.search(sentence) else "yes",), 0, len(sentence)


_FIND: Mapping[ContestKind, Callable[[_Question, str], _Matches]] = {"number": _numbers, "date": _dates, "yes-no": _yes_no}
