"""Planted bugs still fit the code they are planted in."""

from pathlib import Path

import pytest

import submodel_gateway
from tests.mutants.catalogue import MUTANTS, Mutant, plant

GATEWAY = Path(submodel_gateway.__file__).parent


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_applies(mutant: Mutant) -> None:
    for file, text in plant(mutant, GATEWAY).items():
        compile(text, file, "exec")


def test_mutants_are_told_apart_by_their_names() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
