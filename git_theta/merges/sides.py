"""The sides of a merge: their manifests, and their tensors where these are stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from git_theta.errors import ThetaError
from git_theta.manifest import Manifest, TensorLine
from git_theta.manifest.chains import closure
from git_theta.merges.decisions import BASE, Decision, Plan
from git_theta.merges.surveyed import surveyed
from git_theta.objects.index import Lines
from git_theta.objects.reader import Objects
from git_theta.tensors import Tensor


class Sides:
    """Manifests, numbered as in a plan: base, ours, theirs.

    Args:
        manifests: base first; None where there is no such side. Further ones may follow.
        objects: where the tensors are.

    Attributes:
        known: those that there are, in the order in which their word is taken: base last.
    """

    def __init__(self, manifests: Sequence[Manifest | None], objects: Objects) -> None:
        self.manifests = manifests
        self._objects = objects
        base, *others = (manifest for manifest in manifests)
        self.known = [manifest for manifest in (*others, base) if manifest is not None]

    def lines(self, digest: str) -> Lines:
        """The storage lines of a digest, all from one side, ours before theirs before base.

        Raises:
            ThetaError: no side says where it is stored.
        """
        for manifest in self.known:
            if digest in manifest.storage:
                return closure([digest], manifest.storage)
        raise ThetaError(
            f"no side of the merge says where {digest[:12]} is stored", "git add the checkpoint again"
        )

    def tensor(self, line: TensorLine, shared: Collection[str] = ()) -> Tensor:
        """The values of a tensor of some side. Raises as Objects.tensor does."""
        return self._objects.tensor(line.digest, self.lines(line.digest), line.dtype, line.shape, shared)

    def inputs(self, plan: Plan) -> list[TensorLine]:
        """The tensors that the plan's combinations are computed from, or that are measured for these."""
        computed = [line for decision in plan.decisions for line in inputs_of(decision)]
        return computed + [line for one in surveyed(plan) if not one.unchanged for line in one.lines]

    def oids(self, digests: Collection[str]) -> dict[str, int]:
        """Sizes of the objects that these digests need, by oid."""
        return {line.oid: line.size for digest in digests for line in self.lines(digest).values()}


def inputs_of(decision: Decision) -> list[TensorLine]:
    """The tensors that a decision's combination is computed from; none where nothing is computed."""
    combination = decision.combination
    if combination is None or decision.same_as:
        return []
    base = (BASE,) if combination.strategy.needs_base(combination.options) else ()
    found = (decision.lines[side] for side in base + combination.sides)
    return [line for line in found if isinstance(line, TensorLine)]
