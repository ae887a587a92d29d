"""What all unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from filter_examples import Workshop
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # no test asserts a time: machines are busy
settings.load_profile("patient")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """An empty store and its filters."""
    return Workshop(tmp_path / "theta")
