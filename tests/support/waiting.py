"""Waiting for what another process does, however busy the machine is."""

from __future__ import annotations

import time
from pathlib import Path

_MINUTES = 5  # nothing takes so long, but for what will never come


def wait_for(path: Path) -> None:
    """Until somebody has made this file."""
    for _ in range(_MINUTES * 60 * 20):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"in {_MINUTES} minutes nobody has made {path}")
