"""PyTorch: the ZIP files of torch.save, with a pickle that says what lies where, and an entry per storage.

The format cannot be read as a stream. The pickle comes first, but torch leaves the sizes in the local headers
zero and writes them behind the data, so that only the directory at the end tells where an entry ends.
Files that torch.save wrote before version 1.6 or with `_use_new_zipfile_serialization=False`, and the
archives of torch.jit, are not of this format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from git_theta.checkpoints.layout import Layout, Source
from git_theta.checkpoints.zip_local import PICKLE, first_entry

if TYPE_CHECKING:
    from git_theta.checkpoints.remainder import Remainder
    from git_theta.tensors import Tensor

# What reads a file is imported when there is one: git starts the process that asks `recognises` for every
# `git add`, and most files are of another format.


class PyTorch:
    """The format of torch.save (see `checkpoints.layout.Format`).

    One span for each storage; `torch_storages.stored_tensors` says how they are named. Tied weights and
    slices are views. Where the pickle is too large or of a kind that is not read, and where the file is
    big-endian, the storages are bytes without the tensors' names.
    """

    name = "pytorch"
    suffixes: tuple[str, ...] = (".pt", ".pth", ".bin", ".ckpt")
    streams = False
    probe = 512

    def recognises(self, head: bytes) -> bool:
        first = first_entry(head)
        return first is not None and first[0].endswith(PICKLE) and first[0].count("/") == 1

    def layout(self, source: Source) -> Layout:
        from git_theta.checkpoints.torch_layout import read_layout

        return read_layout(self.name, source.file())

    def expected_size(self, layout: Layout, head: Callable[[int], bytes]) -> int | None:
        return None  # `layout` has seen the whole file

    def patch(self, skeleton: bytes, layout: Layout, tensors: Mapping[str, Tensor]) -> bytes:
        """The skeleton with the CRC-32 of these storages made right (torch.load does not look at them)."""
        from git_theta.checkpoints.torch_layout import patched

        return patched(skeleton, layout, tensors)

    def write(self, target: BinaryIO, tensors: Sequence[tuple[str, Tensor]], like: bytes | None) -> None:
        """Write a file that torch.load reads; see `Format.write`.

        With `like`, the skeleton of a checkpoint, everything in that checkpoint that is no tensor is kept
        (see `torch_writer`). Without it, the file holds a plain state dict.
        """
        from git_theta.checkpoints.torch_writer import write_checkpoint

        write_checkpoint(target, tensors, like)

    def remainder(self, skeleton: bytes) -> Remainder:
        """The parts of the pickle (see `torch_remainder`); what the archive says of itself is none."""
        from git_theta.checkpoints.torch_remainder import torch_remainder

        return torch_remainder(skeleton)

    def write_merged(
        self,
        target: BinaryIO,
        tensors: Sequence[tuple[str, Tensor]],
        skeletons: Mapping[int, bytes],
        like: int,
        chosen: Mapping[str, int],
    ) -> None:
        """See Divisible.write_merged."""
        from git_theta.checkpoints.torch_merging import write_merged

        write_merged(target, tensors, skeletons, like, chosen)
