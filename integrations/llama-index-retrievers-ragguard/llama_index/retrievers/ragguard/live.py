"""Components with live objects in them: saved by the names of these, and restored around new ones of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, field_serializer
from llama_index.core.schema import BaseComponent
from typing_extensions import Self

from ragguard.errors import InvalidInputError
from ragguard.protocols import Defense
from ragguard.retriever import GuardPolicy


class Live:
    """Does not travel to another process: LlamaIndex would leave out what cannot be pickled, and guard nothing there."""

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be pickled.

        Raises:
            InvalidInputError: Always.
        """
        raise InvalidInputError(
            f"{type(self).__name__} holds live objects (a model, perhaps a database), which cannot be pickled; make it anew in "
            "the other process, and run an IngestionPipeline with num_workers=1"
        )


class Guarding(Live, BaseComponent):
    """Holds defenses.

    Attributes:
        defenses: Applied in turn; `to_dict` has their names.
    """

    defenses: Sequence[Any] = Field(description="Applied in turn.")

    @field_serializer("defenses")
    def _names(self, defenses: Sequence[Defense]) -> list[str]:
        return [defense.name for defense in defenses]

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Restore what `to_dict` gave; the defenses are live and must be given again.

        Args:
            data: From `to_dict`.
            kwargs: `defenses`, and what else shall differ.

        Raises:
            InvalidInputError: If no defenses are given, or their names are not the saved ones.
        """
        saved, given = data.get("defenses"), kwargs.get("defenses")
        if given is None:
            raise InvalidInputError(
                f"{cls.class_name()} was saved with the names of its defenses only, {saved}; pass defenses=[...]"
            )
        if (names := [defense.name for defense in given]) != saved:
            raise InvalidInputError(f"{cls.class_name()} was saved with the defenses {saved}, not {names}")
        fields = {key: value for key, value in {**data, **kwargs}.items() if key in cls.model_fields}
        if isinstance(fields.get("policy"), dict):
            fields["policy"] = GuardPolicy.model_validate(fields["policy"])
        if "observers" in kwargs:  # live, too, and no field
            fields["observers"] = kwargs["observers"]
        return cls(**fields)
