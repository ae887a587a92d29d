"""Where torch computes, and loading torch when something is to be computed with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from git_theta.errors import ThetaError, too_little_memory

if TYPE_CHECKING:
    import torch

_NAMES = re.compile(r"(auto|cpu|mps|cuda(:\d+)?)\Z")


class MissingTorch(ThetaError):
    """An arithmetic strategy was asked for, and torch is not installed."""


def check_name(name: str) -> str:
    """The name of a device, without importing torch. Raises ThetaError where it is none."""
    if not _NAMES.match(name):
        raise ThetaError(f"there is no device {name!r}", "choose auto, cpu, cuda, cuda:N or mps")
    return name


def load_torch() -> Any:
    """The torch module.

    Raises:
        MissingTorch: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise too_little_memory(error) or MissingTorch(
            f"this merge strategy computes with torch, which cannot be imported: {error}",
            'pip install "git-theta[torch]"',
        ) from None
    return torch


def choose(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is some, else Metal (MPS), else the CPU.

    Raises:
        ThetaError: there is no such device here.
        MissingTorch: torch is not installed.
    """
    check_name(name)
    torch = load_torch()
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if mps else "cpu"
    kind, _, number = name.partition(":")
    if (
        (kind == "cuda" and not cuda)
        or (kind == "mps" and not mps)
        or (number and int(number) >= torch.cuda.device_count())
    ):
        raise ThetaError(f"this computer has no device {name}", "choose --device auto or --device cpu")
    return torch.device(name)


def computes_in(device: torch.device, float64: bool) -> bool:
    """Whether a device has the arithmetic: Metal has no float64."""
    return not float64 or device.type != "mps"


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that a device has too little memory."""
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)
