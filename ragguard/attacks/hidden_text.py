"""The query in a form that people or word filters miss and encoders read ("Bad Characters", Boucher et al., arXiv 2106.09898)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from ragguard.attacks.base import Target, ThreatModel
from ragguard.attacks.planted import Place, PlantedAttack
from ragguard.errors import InvalidInputError
from ragguard.types import Document

HiddenStyle = Literal["zero-width", "joiner", "bidi", "diacritic", "homoglyph", "html"]

HOMOGLYPHS = 0.1
"""Share of the replaceable letters that are replaced. all-MiniLM-L6-v2 on the demo's queries: mean similarity to the query .89 at
5 %, .80 at 10 %, .62 at 20 %, .27 at 50 %; the other characters hidden here leave it at 1."""

_LOOK_ALIKES = dict(zip("acehijopsxyABCEHIKMOPSTXY", "асеһіјорѕхуАВСЕНІКМОРЅТХҮ", strict=True))
_INSIDE_A_WORD = re.compile(r"(?<=\w)(?=\w)")
_MARKUP = (
    '<span style="display:none">{}</span>',
    "<!-- {} -->",
    "<p hidden>{}</p>",
    '<img src="figure.png" alt="{}">',
)


def _interleaved(text: str, characters: str, generator: np.random.Generator) -> str:
    return _INSIDE_A_WORD.sub(lambda _: str(generator.choice(list(characters))), text)


def _homoglyphs(text: str, generator: np.random.Generator) -> str:
    letters = list(text)
    at = [i for i, letter in enumerate(letters) if letter in _LOOK_ALIKES]
    for i in generator.permutation(at)[: max(1, round(HOMOGLYPHS * len(at)))].astype(int):
        letters[i] = _LOOK_ALIKES[letters[i]]
    return "".join(letters)


_HIDE: Mapping[HiddenStyle, Callable[[str, np.random.Generator], str]] = {
    "zero-width": lambda text, generator: _interleaved(text, "\u200b\u2060\ufeff", generator),
    "joiner": lambda text, generator: _interleaved(text, "\u200c\u200d", generator),
    "bidi": lambda text, _: f"\u202e{text}\u202c",
    "diacritic": lambda text, _: unicodedata.normalize("NFC", re.sub("[a-z]", "\\g<0>\u0323", text)),
    "homoglyph": _homoglyphs,
    "html": lambda text, generator: str(generator.choice(_MARKUP)).format(text.replace('"', "'")),
}


class HiddenText(PlantedAttack):
    """Plants the query, hidden. Where tokenizers delete what hides it, the encoder reads the plain query."""

    base = "hidden"
    family = "A"
    threat = ThreatModel(knows=("query",))

    def __init__(
        self,
        passages: Sequence[Document],
        *,
        style: HiddenStyle = "zero-width",
        places: Sequence[Place] = ("front",),
        seed: int = 0,
    ) -> None:
        """Configure.

        Args:
            passages: Carriers.
            style: How the query is hidden; part of the name. From word filters: "zero-width", characters between the letters that
                `ragguard.text.canonical` removes; "joiner", those it must leave; "diacritic", a dot below each small letter,
                which uncased models strip; "homoglyph", a tenth of the letters from other scripts. From people: "bidi", shown
                backwards; "html", in markup that browsers do not show.
            places: Where the query is planted.
            seed: Of the draws.

        Raises:
            InvalidInputError: If there are no passages or no places, or the style is unknown.
        """
        if style not in _HIDE:
            raise InvalidInputError(f"style must be one of {', '.join(_HIDE)}, not {style!r}")
        self.base = f"{self.base}-{style}"
        super().__init__(passages, places=places, seed=seed)
        self._hide = _HIDE[style]

    def trigger(self, target: Target, generator: np.random.Generator) -> str:
        """The query, hidden; one without Latin letters has no homoglyphs or diacritics here and stays as it is."""
        return self._hide(target.query, generator)
