"""Stored fixtures decode to the bytes that they decoded to when they were made, on any machine.

Another NumPy, BLAS or processor that computed a prediction differently would be noticed here, before it
made tensors that are stored already unreadable.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import update_fixtures
from blake3 import blake3
from update_fixtures import FOLDER, decoded

FIXTURES = sorted(FOLDER.glob("*.json"))
KINDS = ("delta", "low-rank", "scale", "rows", "cast", "combine")


def kind_of(path: Path) -> str:
    return str(json.loads(path.read_text())["update"])


def test_every_kind_has_fixtures() -> None:
    assert {kind_of(path) for path in FIXTURES} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_fixtures(kind: str, subtests: pytest.Subtests) -> None:
    for path in [one for one in FIXTURES if kind_of(one) == kind]:
        with subtests.test(path.stem):
            fixture = json.loads(path.read_text())
            assert blake3(decoded(fixture)).hexdigest() == fixture["blake3"]


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_number_of_threads_makes_no_difference(threads: str) -> None:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    paths = [path for path in FIXTURES if path.stem.startswith("low-rank")]
    result = subprocess.run(
        [sys.executable, update_fixtures.__file__, *paths],
        env={**os.environ, **dict.fromkeys(names, threads)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == [json.loads(path.read_text())["blake3"] for path in paths]
