from __future__ import annotations

import pytest

from ragguard.attacks import Attack, Budget
from ragguard.errors import InvalidInputError
from ragguard.testing import DOCUMENTS, AttackContract
from templates.attack import Quoted

PASSAGES = DOCUMENTS[3:7]


class TestQuoted(AttackContract):
    def make_attack(self) -> Attack:
        return Quoted(PASSAGES)

    def test_says_the_query(self) -> None:
        (made,) = Quoted(PASSAGES)(self.targets[:1], Budget(1))
        assert self.targets[0].query in made.text


def test_nothing_to_write_into_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="passages"):
        Quoted([])
