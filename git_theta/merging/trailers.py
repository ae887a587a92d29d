"""How a merge commit says what made it: trailers of its message, from which the merge can be repeated.

    Theta-Path: model.safetensors
    Theta-Strategy: ties density=0.2
    Theta-Rule: lm_head.*: ours
    Theta-Rename: OLD -> NEW
    Theta-Rows: common
    Theta-One-sided: combine
    Theta-Resolution: *.bias: average
    Theta-Versions: BASE OURS THEIRS
    Theta-Device: cuda
    Theta-Base: 2b8c... (or none)

Settings hold for the paths just before them, device and base for all. A resolution is a rule for what was
in conflict by all of that, the first one first. Versions are blobs, "-" for none: where a commit's parents
are not what was merged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from git_theta.errors import ThetaError
from git_theta.git.plumbing import can_be_asked
from git_theta.git.repository import Repository
from git_theta.merges import rule_sources
from git_theta.merges.rule_sources import Layer
from git_theta.merges.rules import Rules
from git_theta.terminal.showing import printable

_PREFIX = "Theta-"
_PATH, _DEVICE, _BASE, _VERSIONS = "Path", "Device", "Base", "Versions"
_NONE = "-"
_OID = "[0-9a-f]{40}(?:[0-9a-f]{24})?"
_WANTED = {_VERSIONS: re.compile(f"(?:{_NONE}|{_OID}) {_OID} {_OID}"), _BASE: re.compile(f"none|{_OID}")}
"""What names objects of Git's: a commit can come from anybody, and its message say anything."""


@dataclass(frozen=True)
class Recorded:
    """How a file was merged.

    Attributes:
        settings: what was said about it, as Rules.settings gives it.
        versions: oids of the blobs that were merged, base first, "" for none; empty if these are the versions
            of the commit's parents.
    """

    settings: Sequence[tuple[str, str]]
    versions: tuple[str, ...] = ()

    def layer(self, origin: str) -> Layer:
        """The settings as a place to look for rules. Merges that say nothing of tensors changed on one side
        have taken them.

        Args:
            origin: what messages call it.
        """
        layer = Layer.read(origin, self.settings)
        return replace(layer, one_sided=layer.one_sided or "take")

    def rules(self, origin: str) -> Rules:
        """The settings as rules. Raises ThetaError where they make no sense."""
        return rule_sources.resolve([self.layer(origin)])


def trailers(recorded: Mapping[str, Recorded], device: str, base: str) -> list[str]:
    """The lines that record a merge.

    Args:
        recorded: of each checkpoint that was merged, by path.
        device: what was computed on; "" or "cpu" is not mentioned.
        base: the commit that was taken for the common ancestor, or none; "" for that of history.
    """
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for path, one in recorded.items():
        versions = " ".join(oid or _NONE for oid in one.versions)
        settings = (*one.settings, *([(_VERSIONS, versions)] if versions else []))
        alike.setdefault(settings, []).append(path)
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
    """A message with trailers at its end, beside those that are there, and before comments."""
    text = message.rstrip("\n") + "\n"
    how = ("--no-divider", "--where=end", "--if-exists=add", "--if-missing=add")
    given = [f"--trailer={line}" for line in lines]
    done = repository.git("interpret-trailers", *how, *given, stdin=text.encode(errors="surrogateescape"))
    return done.decode(errors="surrogateescape")


def without(message: str, paths: Collection[str]) -> str:
    """A message without what it says about earlier merges, if that is about none but these files."""
    lines = message.split("\n")
    named = [line.partition(": ")[2] for line in lines if line.startswith(f"{_PREFIX}{_PATH}: ")]
    if not named or not {_unquoted(name) for name in named} <= set(paths):
        return message
    return "\n".join(line for line in lines if not line.startswith(_PREFIX))


def read(repository: Repository, commit: str) -> tuple[dict[str, Recorded], str, str]:
    """What a commit says about the merges of its files, by path, the device, and the base, as in
    `trailers`.

    Raises:
        ThetaError: it says nothing, or something that makes no sense.
    """
    text = repository.git("log", "-1", "--format=%(trailers:only=true,unfold=true)", commit).decode(
        errors="surrogateescape"
    )
    sections: list[tuple[list[str], list[tuple[str, str]]]] = []
    device, base, settings_begun = "cpu", "", True
    for line in text.split("\n"):
        key, _, value = line.partition(": ")
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX)
        if (wanted := _WANTED.get(name)) and not wanted.fullmatch(value):
            raise ThetaError(
                f"the message of {commit} names no object with {printable(line)}", f"git log -1 {commit}"
            )
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
            "git log --grep=^Theta-Path:",
        )
    recorded: dict[str, Recorded] = {}
    for paths, settings in sections:
        versions = dict(settings).get(_VERSIONS, "").split()
        others = [(key, value) for key, value in settings if key != _VERSIONS]
        one = Recorded(others, tuple("" if oid == _NONE else oid for oid in versions))
        recorded |= dict.fromkeys(paths, one)
    return recorded, device, base


def _quoted(path: str) -> str:
    plain = path.isprintable() and path == path.strip() and not path.startswith('"')
    return path if plain else json.dumps(path)


def _unquoted(text: str) -> str:
    try:
        path = str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text
    return path if can_be_asked(path) else text
