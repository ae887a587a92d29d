"""What reads bytes that nobody has checked: each target takes some, and may refuse them, but not break.

A target that raises anything but a refusal, or that takes long or much memory, has found a bug.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from git_theta import manifest as manifests
from git_theta.checkpoints.checks import checked
from git_theta.checkpoints.layout import Format
from git_theta.checkpoints.pickle_data import UnreadPickle, read_pickle
from git_theta.checkpoints.pickle_parts import parts_of
from git_theta.checkpoints.pickle_writer import write_pickle
from git_theta.checkpoints.pytorch import PyTorch
from git_theta.checkpoints.safetensors import Safetensors
from git_theta.checkpoints.torch_tensors import named_tensors
from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.filters import stand_ins
from git_theta.manifest.chains import closure
from git_theta.manifest.places import Reader, write
from git_theta.merges.rule_sources import path_matches
from git_theta.merges.rules import parse_rename, parse_rule
from git_theta.objects.container import Container
from git_theta.testing.formats import MemorySource
from git_theta.updates import residual
from git_theta.updates.peft_config import Config, check_understood

_ITEMS = 64


class _File:
    """An object in memory, as containers read it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def pread(self, count: int, offset: int) -> bytes:
        return self.data[offset : offset + count]


def _layout(checkpoint_format: Format, data: bytes) -> None:
    source = MemorySource(data)
    if checkpoint_format.recognises(data[:64]):
        with suppress(ThetaError):
            checked(checkpoint_format.layout(source), len(data))


def safetensors(data: bytes) -> None:
    _layout(Safetensors(), data)


def pytorch(data: bytes) -> None:
    _layout(PyTorch(), data)


def pickle(data: bytes) -> None:
    with suppress(ThetaError, UnreadPickle):
        root = read_pickle(data)
        parts_of(root, named_tensors(root))
        write_pickle(root)


def manifest(data: bytes) -> None:
    """Without the first byte: with it, git-theta would find manifests in this very repository."""
    with suppress(ThetaError):
        read = manifests.parse(data[1:])
        again = manifests.write(read)
        assert manifests.write(manifests.parse(again)) == again


def places(data: bytes) -> None:
    """Where a tensor is stored, among a few objects."""
    sizes = {f"{number:x}" * 64: 1 for number in range(16)}
    digest, text = "0" * 64, data.decode(errors="replace")
    with suppress(ThetaError):
        reader = Reader(sizes, {digest: text})
        reader.read(digest, text, "delta")
        needed = closure([digest], reader.storage)
        again = write(digest, needed, 6)
        Reader(sizes, {digest: again}).read(digest, again, "delta")
        assert write(digest, needed, 6) == again
    with suppress(ThetaError):
        manifests.find_objects(data)


def stand_in(data: bytes) -> None:
    """Without the first byte, as above."""
    stand_ins.recognise(data[1:])


def container(data: bytes) -> None:
    with suppress(ThetaError):
        opened = Container(_File(data))  # type: ignore[arg-type]
        for name, info in opened.arrays.items():
            for number in range(min(info.count, 16)):
                opened.frame(name, number)


def residual_row(data: bytes) -> None:
    if not data:
        return
    kind = dtype(["BF16", "F16", "F32", "F64", "I8", "U16"][data[0] % 6])
    bits = np.arange(_ITEMS, dtype=kind.storage)
    with suppress(ThetaError):
        residual.decode(data[1:], _ITEMS * kind.itemsize + residual.MARGIN, bits, kind)


def rules(data: bytes) -> None:
    text = data.decode(errors="replace")
    pattern, _, name = text.partition("\0")
    path_matches(pattern, name)
    with suppress(ThetaError):
        parse_rule(pattern, "fuzz").matches(name)
    with suppress(ThetaError):
        parse_rename(pattern, "fuzz").apply(name)


def adapter(data: bytes) -> None:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(config, dict):
        with suppress(ThetaError, ValueError):  # whoever asks names the adapter's file in both
            check_understood(config)
            Config.of(config, "model.layers.0.self_attn.q_proj").scale(8)


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        adapter,
        container,
        manifest,
        pickle,
        places,
        pytorch,
        residual_row,
        rules,
        safetensors,
        stand_in,
    )
}
