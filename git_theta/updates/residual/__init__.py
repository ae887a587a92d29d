"""The residual: what a prediction misses, exactly, chunk by chunk.

A chunk's residual is one row of a Zarr array (see frames): a description and byte streams. It is coded as

    sparse    few items differ: their positions as gaps, then the differences
    plain     the difference of every item
    grouped   the same, sorted by the exponent of the predicted value (see grouping)

where differences are lists of unsigned integers (see kernels.portable.difference, numbers). A chunk that was
predicted exactly has no row; one whose streams would not fit in its row is written as byte planes.
"""

from git_theta.updates.residual.rows import MARGIN, NotExact, decode, encode

__all__ = ["MARGIN", "NotExact", "decode", "encode"]
