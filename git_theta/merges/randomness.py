"""Random numbers that depend on nothing but a seed and a place.

The number for an element follows from the seed, the tensor's name, the model's number and the element's
position, by integer arithmetic: so the same entries are dropped whatever the order, the blocks, the number
of threads or the device.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def uniform(seed: int, name: str, model: int, start: int, like: torch.Tensor) -> torch.Tensor:
    """Uniform numbers in [0, 1), multiples of 2**-24, for the elements from position `start` on.

    A counter is scrambled twice by the 32-bit finaliser "lowbias32" (Chris Wellons, "Prospecting for Hash
    Functions", 2018), with 32 bits of key before each time.

    Args:
        like: gives shape, type and device.
    """
    import torch

    digest = hashlib.sha256(f"{seed}\0{model}\0{name}".encode()).digest()
    first, second = (int.from_bytes(digest[at : at + 4], "little", signed=True) for at in (0, 4))
    count = like.numel()
    if start + count <= 1 << 31:
        word = torch.arange(start, start + count, dtype=torch.int32, device=like.device)
    else:
        place = torch.arange(start, start + count, dtype=torch.int64, device=like.device)
        word = place.to(torch.int32) ^ (place >> 32).to(torch.int32) * 0x632BE5AB
    word = _scramble(word.bitwise_xor_(first))
    word = _scramble(word.add_(second))
    return ((word >> 8) & 0xFFFFFF).to(like.dtype).mul_(2.0**-24).reshape(like.shape)


def _scramble(word: torch.Tensor) -> torch.Tensor:
    # The shift of a signed integer copies its sign; the mask takes the copies away.
    word = word ^ ((word >> 16) & 0xFFFF)
    word *= 0x7FEB352D
    word ^= (word >> 15) & 0x1FFFF
    word *= 0x846CA68B - (1 << 32)
    word ^= (word >> 16) & 0xFFFF
    return word
