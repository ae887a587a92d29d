"""Tensors' names taken apart: which layer, which part of it, and the order people expect."""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[./]")
_NUMBER = re.compile(r"(\d+)")


def split(name: str) -> tuple[str, str]:
    """The layer that a tensor belongs to, and what it is called in there.

    A layer is everything up to the first part that is a number: ("h.11", "attn.k.weight"). A name
    without one belongs to no layer: ("", "wte.weight").
    """
    start = 0
    for found in _SEPARATORS.finditer(name):
        if name[start : found.start()].isdigit():
            return name[: found.start()], name[found.end() :]
        start = found.end()
    return "", name


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts h.2 before h.10; numbers of any length, which a hostile file may have."""
    return tuple(_part_key(part) for part in _NUMBER.split(name) if part)


def _part_key(part: str) -> tuple[int, int, str]:
    if part.isascii() and part.isdecimal():
        digits = part.lstrip("0")
        return 0, len(digits), digits
    return 1, 0, part


def template(name: str) -> tuple[str, tuple[str, ...]]:
    """A name with its numbers taken out, and the numbers."""
    parts = _NUMBER.split(name)
    return "#".join(parts[::2]), tuple(parts[1::2])


def fill(pattern: str, numbers: tuple[str, ...]) -> str | None:
    """The name that a template and these numbers make, or None if they are not as many as it wants."""
    parts = pattern.split("#")
    if len(parts) != len(numbers) + 1:
        return None
    return parts[0] + "".join(number + part for number, part in zip(numbers, parts[1:], strict=True))
