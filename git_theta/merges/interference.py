"""How much two changes of one tensor get in each other's way."""

from __future__ import annotations

from git_theta.diffs.agreement import Agreement
from git_theta.diffs.tasks import Trio, agreements
from git_theta.tensors import Tensor


def interference(ours: Tensor, theirs: Tensor, base: Tensor, threads: int | None = None) -> Agreement:
    """The cosine of the two task vectors, and the share of sign conflicts among entries that both changed.

    Whole merges are measured with diffs.three_way.compare_three, whose rows are these.

    Args:
        ours, theirs, base: of one shape and one dtype that can be computed with.

    Raises:
        ThetaError, OSError: as reading the tensors does.
    """
    trio = Trio("", ours.dtype, ours.items, lambda: (base, ours, theirs))
    for _, answer in agreements([trio], threads=threads):
        if isinstance(answer, Exception):
            raise answer
        return answer.agreement
    raise AssertionError("one question, one answer")
