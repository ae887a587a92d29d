"""What fuzzing began with and what it found, once more: `nox -s fuzz` goes on from here."""

from pathlib import Path

import pytest
from targets import TARGETS

FUZZ = Path(__file__).parents[1] / "fuzz"
INPUTS = sorted((FUZZ / "corpus").glob("*/*"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_is_read_or_refused(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_inputs() -> None:
    assert {path.parent.name for path in INPUTS} == TARGETS.keys()
