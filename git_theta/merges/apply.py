"""Carries out a plan: from the manifests of all sides to the manifest of the result, with all of it stored.

What is taken from a side keeps the storage lines it has there. What is combined is computed tensor by tensor,
and stored before the next one is asked for; a linear combination of stored tensors is stored as just that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from blake3 import blake3

from git_theta.filters.handoff import Preparation
from git_theta.manifest import Manifest, TensorLine, View, chains
from git_theta.merges import engine, jobs, products
from git_theta.merges.decisions import Decision, Plan
from git_theta.merges.engine import Merged
from git_theta.merges.inputs import Job
from git_theta.merges.result_file import Frame
from git_theta.merges.sides import Sides
from git_theta.merges.surveyed import surveyed
from git_theta.merges.workers import Progress
from git_theta.objects.reader import Objects
from git_theta.objects.writer import SMALL_BYTES, TensorWriter
from git_theta.settings import Settings
from git_theta.storing.keeper import Keeper
from git_theta.storing.stock import Stock
from git_theta.tensors import Tensor
from git_theta.threads import cores
from git_theta.updates.interface import Parameters, Proposal, Target


@dataclass(frozen=True)
class Means:
    """What a merge works with.

    Attributes:
        objects: of the local store.
        stock: what there is for the file: its recorded manifests are those of the sides.
        device: where to compute; see engine.merge, as for `threads`, `progress` and `warn`.
        open_statistics: see jobs.job.
        checked_out: whether the result is checked out next, for which computed tensors are kept.
    """

    objects: Objects
    stock: Stock
    settings: Settings
    device: str = "auto"
    threads: int | None = None
    progress: Progress | None = None
    warn: Callable[[str], None] | None = None
    open_statistics: Callable[[str, str], Tensor] | None = None
    checked_out: bool = False


@dataclass(frozen=True)
class Applied:
    """The result of a merge.

    Attributes:
        manifest: complete; `text` is how Git stores it.
        not_finite: tensors with entries that are NaN or infinite and were not so in all models, and how many.
        lost: of pairs of factors whose product our rank cannot hold, by the first one's name: see products.
    """

    manifest: Manifest
    text: bytes
    not_finite: dict[str, int]
    lost: dict[str, float]


def apply(plan: Plan, sides: Sides, means: Means, pathname: str) -> Applied:
    """Carry out a plan. Where it has conflicts, the result has what ours has there.

    The same manifest comes out on every run on the CPU, and it is the one that cleaning the result's file
    gives.

    Args:
        plan: not one whose skeleton is a conflict.
        sides: those of the plan.
        pathname: of the checkpoint, for messages and its suffix.

    Raises:
        MissingTorch: a strategy needs torch. Nothing has been computed then.
        ThetaError: a tensor cannot be read, a strategy's options do not fit, the format cannot hold the
            result, or the store cannot be written. What has been stored by then is found again.
    """
    with ThreadPoolExecutor(means.threads or cores(), "theta-store") as executor:
        writer = TensorWriter(means.objects.store, executor, means.settings.grouping)
        return _Application(plan, sides, means, writer).run(pathname)


class _Application:
    """One call of `apply`."""

    def __init__(self, plan: Plan, sides: Sides, means: Means, writer: TensorWriter) -> None:
        self._plan = plan
        self._sides = sides
        self._means = means
        self._keeper = Keeper(means.stock, writer, means.settings)

    def run(self, pathname: str) -> Applied:
        tensors, views = self._taken()
        combining = [decision for decision in self._plan.decisions if decision.action == "combine"]
        decisions = [decision for decision in combining if not (decision.same_as or decision.product)]
        work = self._jobs(decisions)
        nbytes = sum(job.nbytes for job in work) if self._means.checked_out else 0
        with closing(Preparation(self._means.objects.store, nbytes)) as preparation:
            combined, not_finite = self._combined(decisions, work, preparation)
            lost = self._multiplied(combined, not_finite, preparation)
            self._keeper.finish()
            combined += _copies(combining, [*tensors, *combined])
            manifest, text = self._framed(tensors, views, combined, pathname)
            applied = Applied(manifest, text, not_finite, lost)
            preparation.finish(applied.manifest)
            return applied

    def _framed(
        self,
        tensors: list[TensorLine],
        views: list[View],
        combined: list[TensorLine],
        pathname: str,
    ) -> tuple[Manifest, bytes]:
        frame = Frame(self._plan, self._sides, self._means.objects, self._means.stock, self._means.settings)
        content = sorted([*tensors, *combined], key=_name), sorted(views, key=_name)
        if self._plan.skeleton.action == "write":
            return frame.written(*content, pathname)
        return frame.taken(*content, self._keeper)

    def _taken(self) -> tuple[list[TensorLine], list[View]]:
        """What the result has from one of the sides."""
        tensors: list[TensorLine] = []
        views: list[View] = []
        for decision in self._plan.decisions:
            line = decision.line
            if isinstance(line, TensorLine):
                self._means.stock.ledger.take(line.digest, self._sides.lines(line.digest))
                tensors.append(replace(line, name=decision.name))
            elif isinstance(line, View):
                views.append(replace(line, name=decision.name, of=decision.of))
        return tensors, views

    def _jobs(self, decisions: Sequence[Decision]) -> list[Job]:
        """What is to be computed."""
        digests = [line.digest for line in self._sides.inputs(self._plan)]
        shared = chains.met_again(([digest], self._sides.lines(digest)) for digest in digests)
        return [
            jobs.job(
                decision,
                lambda _, line: self._sides.tensor(line, shared),
                self._means.open_statistics,
            )
            for decision in decisions
        ]

    def _measured(self) -> list[Job]:
        """What is only measured, for strategies that look at whole models."""
        return [
            jobs.survey_job(one, lambda _, line: self._sides.tensor(line)) for one in surveyed(self._plan)
        ]

    def _combined(
        self, decisions: Sequence[Decision], work: Sequence[Job], preparation: Preparation
    ) -> tuple[list[TensorLine], dict[str, int]]:
        """What is computed, and in which of it there are entries that are no numbers."""
        lines: list[TensorLine] = []
        not_finite: dict[str, int] = {}
        means = self._means
        merged = engine.merge(
            work,
            beside=self._measured(),
            device=means.device,
            threads=means.threads,
            progress=means.progress,
            warn=means.warn,
        )
        with closing(merged):
            for decision, result in zip(decisions, merged, strict=True):
                lines.append(self._keep(decision, result))
                preparation.add(lines[-1].digest, result.tensor)
                if result.not_finite:
                    not_finite[decision.name] = result.not_finite
        return lines, not_finite

    def _multiplied(
        self, lines: list[TensorLine], not_finite: dict[str, int], preparation: Preparation
    ) -> dict[str, float]:
        """Add the factors of merged products, and say what our rank cannot hold of them."""
        decisions = {decision.name: decision for decision in self._plan.decisions}
        pairs = dict.fromkeys(one.product for one in self._plan.decisions if one.product)
        lost: dict[str, float] = {}
        for pair in pairs:
            made = products.merged(pair, decisions, self._sides.tensor)
            for name, tensor in made.tensors.items():
                digest = blake3(tensor.bits.view("u1").data).hexdigest()
                self._keeper.gather(self._keeper.keep(Target(name, tensor), digest))
                preparation.add(digest, tensor)
                lines.append(TensorLine(name, tensor.dtype, tensor.shape, digest))
                if not made.finite:
                    not_finite[name] = tensor.items
            if made.lost:
                lost[pair.first] = made.lost
        return lost

    def _keep(self, decision: Decision, merged: Merged) -> TensorLine:
        tensor = merged.tensor
        digest = blake3(tensor.bits.view("u1").data).hexdigest()
        target = Target(decision.name, tensor)
        proposal = self._as_combination(decision, merged)
        if proposal is None:
            payload = self._keeper.keep(target, digest)
        elif merged.linear and merged.linear.regular and tensor.bits.nbytes > SMALL_BYTES:
            payload = self._keeper.keep_computed(target, digest, proposal)
        else:  # small ones are predicted again and compared, as are those with entries of a special kind
            payload = self._keeper.keep(target, digest, proposal)
        self._keeper.gather(payload)
        return TensorLine(decision.name, tensor.dtype, tensor.shape, digest)

    def _as_combination(self, decision: Decision, merged: Merged) -> Proposal | None:
        """The update that is this linear combination of stored tensors; None where there is none."""
        combination, linear = decision.combination, merged.linear
        assert combination is not None
        if linear is None:
            return None
        sides = (0, *combination.sides)
        used = [
            (coefficient, decision.lines[side])
            for coefficient, side in zip(linear.coefficients, sides, strict=True)
            if coefficient
        ]
        bases = []
        for _, line in used:
            if not isinstance(line, TensorLine) or (line.dtype, line.shape) != decision.form:
                return None
            lines, tensor = self._sides.lines(line.digest), self._sides.tensor(line)
            bases.append(self._means.stock.bases.opened(line.name, line.digest, lines, tensor))
        values = {
            "arithmetic": linear.arithmetic,
            "coefficients": [coefficient for coefficient, _ in used],
        }
        return Proposal("combine", tuple(bases), Parameters(values)) if bases else None


def _copies(decisions: Sequence[Decision], lines: Sequence[TensorLine]) -> list[TensorLine]:
    """The tensors that are the same as others in the result."""
    same_as = {one.name: one.same_as for one in decisions if one.same_as}
    found = {line.name: line for line in lines}
    copies = []
    for name, source in same_as.items():
        while source in same_as:
            source = same_as[source]
        copies.append(replace(found[source], name=name))
    return copies


def _name(line: TensorLine | View) -> str:
    return line.name
