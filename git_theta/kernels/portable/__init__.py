"""The innermost loops in NumPy.

Arrays are 1-D and contiguous; items are unsigned little-endian integers of 1, 2, 4 or 8 bytes. All functions
raise ValueError where lengths or types do not fit together, and fill the array that they are given as `out`.
"""

from git_theta.kernels.portable.arithmetic import squares, subtract, sums, weighted_sum
from git_theta.kernels.portable.differences import add, changed, difference, positions
from git_theta.kernels.portable.fields import (
    add_excess,
    excess,
    join_planes,
    read_fields,
    split_planes,
    write_fields,
)
from git_theta.kernels.portable.grouping import classify, gather, scatter
from git_theta.kernels.portable.packets import read_packets

__all__ = [
    "add",
    "add_excess",
    "changed",
    "classify",
    "difference",
    "excess",
    "gather",
    "join_planes",
    "positions",
    "read_fields",
    "read_packets",
    "scatter",
    "split_planes",
    "squares",
    "subtract",
    "sums",
    "weighted_sum",
    "write_fields",
]
