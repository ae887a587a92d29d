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


def test_every_kind_has_fixtures() -> None:
    kinds = {json.loads(path.read_text())["update"] for path in FIXTURES}
    assert kinds == {"delta", "low-rank", "scale", "rows", "cast", "combine"}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_fixture(path: Path) -> None:
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
