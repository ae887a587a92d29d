"""The codec of dense data: byte planes, then zstd.

What Zarr calls `transpose [1, 0] -> bytes -> zstd` over a chunk of shape [items, itemsize]. Each frame
carries zstd's checksum, so that reading any chunk notices damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import zstandard
from numpy.typing import NDArray

from git_theta import kernels, scratch, zstd
from git_theta.errors import DamagedObject

if TYPE_CHECKING:
    from git_theta.tensors import Bits


def encode(bits: Bits, padded: int) -> bytes:
    """Compress items as byte planes of `padded` items each, zeros behind the last item."""
    with scratch.borrow(bits.itemsize * padded) as planes:
        kernels.split_planes(bits, planes)
        return zstd.compressor(checksum=True).compress(planes.data)


def decode(frame: bytes | memoryview, padded: int, out: Bits) -> None:
    """Undo `encode`: fill `out` with the first items of the chunk.

    Raises:
        DamagedObject: the frame is not what was written.
    """
    with scratch.borrow(out.itemsize * padded) as planes:
        decompress_into(frame, planes)
        kernels.join_planes(planes, out)


def decompress_into(frame: bytes | memoryview, out: NDArray[np.uint8]) -> None:
    """Decompress one frame of exactly `out.size` bytes."""
    try:
        if zstandard.frame_content_size(frame) != out.size:
            raise DamagedObject("a compressed chunk has the wrong size")
        # One byte more than fits makes the reader check the checksum at the end of the frame.
        with zstd.decompressor().stream_reader(frame) as reader:
            done = 0
            view = out.data
            while done < out.size:
                got = reader.readinto(view[done:])
                if not got:
                    raise DamagedObject("a compressed chunk is cut off")
                done += got
            if reader.read(1):
                raise DamagedObject(f"a compressed chunk holds more than the {out.size} bytes of its chunk")
    except zstandard.ZstdError as error:
        raise DamagedObject(f"a compressed chunk is damaged ({error})") from None
