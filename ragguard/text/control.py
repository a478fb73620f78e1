"""What in a text speaks to a language model instead of to a reader, and how surely it does."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from ragguard.text.marks import CERTAIN, Mark
from ragguard.text.orders import orders
from ragguard.text.orders_abroad import orders_abroad
from ragguard.text.places import about_models, shown, within
from ragguard.text.spans import merge
from ragguard.types import Span

SHOWN, DISCUSSED = 0.5, 0.4
"""What is left of an order that is quoted or in code, and of one in prose whose text is about models. Of both: nothing."""

TOKEN, ROLE, ADDRESSED = 0.5, 0.1, 0.5
"""A token of a chat template; a line that begins with a role, or a heading of one; such a line that goes on with an order."""

GAP = 2
"""Characters between a role and the order it goes on with, on one line."""

USUAL = 0.3
"""What tokens, and what roles, weigh together at most in texts that are about them: a manual has dozens."""

_CHAT = r"<\|[a-z0-9_ ]{2,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<\uff5c[^<>]{2,40}\uff5c>"
_TOKEN = re.compile(_CHAT, re.IGNORECASE)
_SENTENCE_TOKEN = re.compile(r"</?s>")  # struck out in HTML, unless Llama's own are there, too
_LLAMA = re.compile(r"\[/?INST\]")
_END = r"(?:<\|(?:im_end|eot_id|end|endoftext|eom_id)\|>|\[/INST\]|<end_of_turn>|</s>)"
_START = r"(?:<\|(?:im_start|start_header_id|user|system|assistant)\|>|\[INST\]|<start_of_turn>|<s>)"
_LEAVES = re.compile(rf"{_END}\s*{_START}", re.IGNORECASE)
_OPENS = re.compile(_START, re.IGNORECASE)
_ROLE = re.compile(
    r"^\s*(?:system|assistant|developer)\s*:|\n\n(?:Human|Assistant):|^#{2,}\s*(?:instruction|system|response)s?\s*(?::|$)",
    re.IGNORECASE | re.MULTILINE,
)


def control_marks(text: str) -> tuple[Mark, ...]:
    """Places of a canonical text that speak to a model, in order, with their weights; none overlap.

    An order weighs less where it is quoted, in code or in a table, and where the text is about models; nothing where both.
    """
    tokens, roles = list(_tokens(text)), [Span(*match.span()) for match in _ROLE.finditer(text)]
    worded = _heaviest([*orders(text), *orders_abroad(text)])
    if not (tokens or roles or worded):
        return ()
    places = merge([*tokens, *(mark.span for mark in worded)])
    discussed = about_models(text, places)
    worded = [*_weighed(worded, shown(text), discussed=discussed)]
    spoken = [mark.span.start for mark in worded if mark.weight > 0]
    marks = [*worded, *_sharing(tokens, TOKEN, discussed=about_models(text, places, least=1))]
    for place in roles:
        at = bisect_left(spoken, place.end)
        follows = at < len(spoken) and spoken[at] - place.end <= GAP and "\n" not in text[place.end : spoken[at]]
        marks.append(Mark(place, ADDRESSED if follows else min(ROLE, USUAL / len(roles))))
    marks += _breaking_out(text)
    return tuple(_heaviest(marks))


def control_spans(text: str) -> tuple[Span, ...]:
    """Ranges of a canonical text that may speak to a model, however little each says, in order."""
    return merge([mark.span for mark in control_marks(text)])


def _tokens(text: str) -> Iterator[Span]:
    places = _TOKEN.finditer(text)
    if _LLAMA.search(text):
        places = chain(places, _SENTENCE_TOKEN.finditer(text))
    return (Span(*match.span()) for match in places)


def _weighed(marks: Sequence[Mark], ranges: tuple[Span, ...], *, discussed: bool) -> Iterator[Mark]:
    for mark in marks:
        displayed = within(mark.span, ranges)
        left = 0.0 if displayed and discussed else SHOWN if displayed else DISCUSSED if discussed else 1.0
        yield replace(mark, weight=mark.weight * left)


def _sharing(tokens: Sequence[Span], weight: float, *, discussed: bool) -> list[Mark]:
    return [Mark(place, min(weight, USUAL / len(tokens)) if discussed else weight) for place in tokens]


def _breaking_out(text: str) -> Iterator[Mark]:
    """A turn that is ended though none was begun, and another begun: the text poses as what comes after it."""
    first = _OPENS.search(text)
    for match in _LEAVES.finditer(text):
        if first is None or match.start() < first.start():
            yield Mark(Span(*match.span()), CERTAIN)


def _heaviest(marks: Sequence[Mark]) -> list[Mark]:
    """Of marks that overlap only the heaviest, and of these the first: one order is one, in however many ways it is known."""
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda one: (-one.weight, one.span.start, -one.span.end)):
        at = bisect_left(kept, mark.span.start, key=_start)
        free = at == 0 or kept[at - 1].span.end <= mark.span.start
        if free and (at == len(kept) or mark.span.end <= kept[at].span.start):
            kept.insert(at, mark)
    return kept


def _start(mark: Mark) -> int:
    return mark.span.start
