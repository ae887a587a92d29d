"""The innermost loops of git-theta: what runs once for every item of a tensor, or packet of it.

There are two modules with the same functions: `native`, compiled C, and `portable`, NumPy, where the package
was installed without a C compiler. `portable` documents the functions. Both give the same bits, but for the
norms that `sums` and `squares` measure, which agree to about six digits.
"""

from __future__ import annotations

try:
    from git_theta.kernels import native as chosen
except ImportError:
    from git_theta.kernels import portable as chosen  # type: ignore[no-redef]

NATIVE = chosen.__name__.endswith(".native")
"""Whether the compiled functions are used; otherwise most commands take several times as long."""
MOST_INPUTS = 64
"""Of a weighted sum."""

add = chosen.add
add_excess = chosen.add_excess
changed = chosen.changed
classify = chosen.classify
difference = chosen.difference
excess = chosen.excess
gather = chosen.gather
join_planes = chosen.join_planes
positions = chosen.positions
read_fields = chosen.read_fields
read_packets = chosen.read_packets
scatter = chosen.scatter
split_planes = chosen.split_planes
squares = chosen.squares
subtract = chosen.subtract
sums = chosen.sums
weighted_sum = chosen.weighted_sum
write_fields = chosen.write_fields
