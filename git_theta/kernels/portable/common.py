"""The check of arguments that all portable kernels begin with."""

from __future__ import annotations

BLOCK = 128 << 10
"""Bytes of each array that are handled at a time, so that they stay in a core's cache."""


def check(fits: bool) -> None:
    """Raise ValueError unless the arguments fit together."""
    if not fits:
        raise ValueError("the arrays do not fit together")
