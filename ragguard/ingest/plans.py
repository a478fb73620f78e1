"""What a defense needs of a document ahead of queries, by the name that the command line knows it by."""

from __future__ import annotations

from collections.abc import Callable

from ragguard.defenses import RAGMaskSettings, RAGPartSettings
from ragguard.errors import InvalidInputError
from ragguard.evaluation.registry import parse
from ragguard.protocols import EvidencePlan
from ragguard.signals import Profiles

PLANS: dict[str, Callable[..., EvidencePlan]] = {
    "calibrated": lambda: Profiles.plan,
    "default": lambda: Profiles.plan,
    "ragmask": lambda **options: RAGMaskSettings(**options).plan,
    "ragpart": lambda **options: RAGPartSettings(**options).plan,
    "ragpart-corpus": lambda **options: RAGPartSettings(**options).plan,
    "robust": lambda: Profiles.plan,  # the windows of the default guard
}
"""The plans that the defenses themselves use. A quota has none: it looks at no text."""


def plan(spec: str) -> EvidencePlan:
    """The plan of a defense, `name` or `name(option=value, ...)`.

    Raises:
        InvalidInputError: If the name is unknown, or an option is not one that the evidence depends on.
    """
    name, options = parse(spec)
    if name not in PLANS:
        raise InvalidInputError(f"no evidence is known for {name!r}; there is some for {', '.join(PLANS)}")
    try:
        return PLANS[name](**options)
    except (TypeError, ValueError) as error:  # pydantic's are among the latter
        raise InvalidInputError(f"evidence for {name!r} does not take {options}: {error}") from error
