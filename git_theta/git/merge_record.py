"""How a merge commit says what made it: trailers of its message, from which the merge can be repeated.

    Theta-Path: model.safetensors
    Theta-Strategy: ties density=0.2
    Theta-Rule: lm_head.*: ours
    Theta-Rename: OLD -> NEW
    Theta-Rows: common
    Theta-One-sided: combine
    Theta-Device: cuda
    Theta-Base: 2b8c... (or none)

Settings hold for the paths just before them, device and base for all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.merges import places
from git_theta.merges.places import Layer
from git_theta.merges.rules import Rules

_PREFIX = "Theta-"
_PATH, _DEVICE, _BASE = "Path", "Device", "Base"


def trailers(rules: Mapping[str, Rules], device: str, base: str) -> list[str]:
    """The lines that record a merge.

    Args:
        rules: of each checkpoint that was merged, by path.
        device: what was computed on; "" or "cpu" is not mentioned.
        base: the commit that was taken for the common ancestor, or none; "" for that of history.
    """
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for path, some in rules.items():
        alike.setdefault(tuple(some.settings()), []).append(path)
    lines = []
    for settings, paths in sorted(alike.items(), key=lambda item: not item[0]):  # paths without any last
        lines += [f"{_PREFIX}{_PATH}: {_quoted(path)}" for path in paths]
        lines += [f"{_PREFIX}{key.capitalize()}: {value}" for key, value in settings]
    if device not in ("", "cpu"):
        lines.append(f"{_PREFIX}{_DEVICE}: {device}")
    if lines and base:
        lines.append(f"{_PREFIX}{_BASE}: {base}")
    return lines


def with_trailers(repository: Repository, message: str, lines: list[str]) -> str:
    """A message with trailers at its end, beside those that are there."""
    text = message.rstrip("\n")
    if not lines:
        return text + "\n"
    has_some = bool(repository.git("interpret-trailers", "--parse", stdin=text.encode() + b"\n").strip())
    return text + ("\n" if has_some else "\n\n") + "\n".join(lines) + "\n"


def read(repository: Repository, commit: str) -> tuple[dict[str, Rules], str, str]:
    """What a commit says about its merge: rules by path, the device, and the base, as in `trailers`.

    Raises:
        ThetaError: it says nothing, or something that makes no sense.
    """
    text = repository.git("log", "-1", "--format=%(trailers:only=true,unfold=true)", commit).decode(
        errors="surrogateescape"
    )
    sections: list[tuple[list[str], list[tuple[str, str]]]] = []
    device, base, settings_begun = "cpu", "", True
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX)
        if name == _DEVICE:
            device = value
        elif name == _BASE:
            base = value
        elif name == _PATH:
            if settings_begun:
                sections.append(([], []))
            settings_begun = False
            sections[-1][0].append(_unquoted(value))
        elif sections:
            settings_begun = True
            sections[-1][1].append((name, value))
    if not sections:
        raise ThetaError(
            f"{commit} does not say how checkpoints were merged",
            "only commits that git theta merge made can be repeated",
        )
    rules: dict[str, Rules] = {}
    for paths, settings in sections:
        layer = Layer.read(f"the message of {commit}", settings)
        # Merges that say nothing of tensors changed on one side have taken them.
        layer = replace(layer, one_sided=layer.one_sided or "take")
        rules |= dict.fromkeys(paths, places.resolve([layer]))
    return rules, device, base


def _quoted(path: str) -> str:
    return path if path.isprintable() and not path.startswith('"') else json.dumps(path)


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text
