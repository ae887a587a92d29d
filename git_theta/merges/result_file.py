"""Assembles the file of a merge: a side's skeleton with the new tensors, or a file written anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO, cast

from blake3 import blake3

from git_theta import manifest as manifests
from git_theta.checkpoints import registry
from git_theta.checkpoints.layout import Layout, Span
from git_theta.checkpoints.registry import OPAQUE
from git_theta.checkpoints.remainder import WHOLE, Divisible
from git_theta.dtypes import BYTES
from git_theta.errors import ThetaError
from git_theta.filters import skeleton
from git_theta.filters.clean import Cleaner, Request
from git_theta.filters.source import Content
from git_theta.manifest import SKELETON, Manifest, TensorLine, View
from git_theta.merges import remainders
from git_theta.merges.decisions import Decision, Plan
from git_theta.merges.sides import Sides
from git_theta.objects.reader import Objects
from git_theta.settings import Settings
from git_theta.storing.keeper import Keeper
from git_theta.storing.ledger import Ledger
from git_theta.storing.stock import Stock
from git_theta.tensors import ArrayTensor, Tensor
from git_theta.terminal.showing import printable
from git_theta.updates.interface import Target

_NOWHERE = -1


class Frame:
    """Makes the manifest of a result whose tensors are all stored."""

    def __init__(self, plan: Plan, sides: Sides, objects: Objects, stock: Stock, settings: Settings) -> None:
        self._plan = plan
        self._sides = sides
        self._objects = objects
        self._stock = stock
        self._ledger = stock.ledger
        self._settings = settings

    def taken(
        self, tensors: Sequence[TensorLine], views: Sequence[View], keeper: Keeper
    ) -> tuple[Manifest, bytes]:
        """The manifest that keeps a side's skeleton, possible where the result has that side's layout.

        Args:
            tensors, views: of the result, sorted by name.
            keeper: stores the skeleton, if it is another one.
        """
        side = self._side(self._plan.skeleton.side)
        old = {line.name: line.digest for line in side.tensors}
        changed = [line for line in tensors if line.digest != old[line.name]]
        digest = side.skeleton
        if changed and side.format != OPAQUE:
            digest = self._patched(side, changed, keeper)
        if digest == side.skeleton:
            self._ledger.take(digest, self._sides.lines(digest))
        identity = replace(side, tensors=tuple(tensors), views=tuple(views), skeleton=digest, storage={})
        return self._complete(manifests.with_root(identity), keeper.stored_anew)

    def written(
        self, tensors: Sequence[TensorLine], views: Sequence[View], pathname: str
    ) -> tuple[Manifest, bytes]:
        """The manifest of a file that is written anew, in the format of the plan's side.

        Args:
            tensors, views: of the result, sorted by name.
            pathname: of the file.

        Raises:
            ThetaError: the format cannot hold this.
        """
        side = self._side(self._plan.skeleton.side)
        checkpoint_format = registry.by_name(side.format)
        pieces, like = skeleton.pieces(side, skeleton.read(side, self._objects))
        opened = _Opened(tensors, self._ledger, self._objects)
        first = self._names_in_result([piece.tensor.name for piece in pieces if piece.tensor is not None])
        order = dict.fromkeys([*(name for name in first if name in opened), *opened])
        with self._objects.store.spool() as file:
            target = cast("BinaryIO", file)
            named = [(name, opened[name]) for name in order]
            if isinstance(checkpoint_format, Divisible):
                number = self._plan.skeleton.side
                several = self._skeletons(side.format)
                checkpoint_format.write_merged(target, named, several, number, self._chosen())
            else:
                checkpoint_format.write(target, named, bytes(like))
            file.flush()
            recorded = [(manifests.write(side), side) for side in self._sides.known]
            cleaner = Cleaner(self._objects, lambda _: self._stock, self._settings, _say_nothing)
            text = cleaner.clean(Content.of(file), Request(pathname, recorded, tuple, looks_only=False))
        manifest = manifests.parse(text)
        if (manifest.tensors, manifest.views) != (tuple(tensors), tuple(views)):
            raise ThetaError(
                f"{printable(pathname)}: a {side.format} file cannot be written with what the merge gives: "
                f"{_difference(manifest, tensors, views)}"
            )
        self._check_parts(manifest, pathname)
        return manifest, text

    def _skeletons(self, of_format: str) -> dict[int, bytes]:
        """The skeletons of all sides of a format."""
        return {
            number: bytes(skeleton.pieces(one, skeleton.read(one, self._objects))[1])
            for number, one in enumerate(self._sides.manifests)
            if one is not None and one.format == of_format
        }

    def _chosen(self) -> dict[str, int]:
        """By name of a tensor or part, the side that the result takes its description from."""
        chosen = {
            line.name: _NOWHERE for one in self._plan.decisions for line in one.lines if line is not None
        }
        for one in self._plan.decisions:
            if one.form is not None:
                chosen[one.name] = self._described_by(one)
        return chosen | {part.name: part.side for part in self._plan.parts}

    def _described_by(self, decision: Decision) -> int:
        """The side that has a tensor as the result has it, but perhaps for its bytes."""
        named = [side for side, line in enumerate(decision.lines) if line and line.name == decision.name]
        kinds = [isinstance(line, View) == decision.is_view for line in decision.lines]
        having = [side for side in named if kinds[side]] or named
        like = self._plan.skeleton.side
        wanted = (like, decision.side) if decision.action == "combine" else (decision.side, like)
        return next((side for side in wanted if side in having), having[-1])

    def _check_parts(self, manifest: Manifest, pathname: str) -> None:
        """Raises ThetaError where a file that was written does not hold what the plan says."""
        plan = self._plan
        parts = remainders.expected(plan.parts, plan.remainders)
        if WHOLE in parts:
            return
        found = remainders.read_remainder(manifest, self._objects)
        pairs = (
            (found.parts, parts),
            (found.bound, remainders.bound(plan.decisions, plan.remainders)),
        )
        for there, wanted in pairs:
            other = sorted(
                name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name)
            )
            if other:
                raise ThetaError(
                    f"{printable(pathname)}: a {manifest.format} file cannot be written with what the merge "
                    f"gives: {other[0]!r} would be another one"
                )

    def _side(self, number: int) -> Manifest:
        found = self._sides.manifests[number]
        assert found is not None
        return found

    def _patched(self, side: Manifest, changed: Sequence[TensorLine], keeper: Keeper) -> str:
        """The digest of the side's skeleton with checksums for other tensors, which is stored."""
        stored = skeleton.read(side, self._objects)
        pieces, between = skeleton.pieces(side, stored)
        opened = _Opened(changed, self._ledger, self._objects)
        checkpoint_format = registry.by_name(side.format)
        patched = checkpoint_format.patch(bytes(between), _layout(side, pieces), opened)
        if patched == between:
            return side.skeleton
        whole = stored[: len(stored) - len(between)] + patched
        digest = blake3(whole).hexdigest()
        target = Target(SKELETON, ArrayTensor(BYTES, (len(whole),), whole))
        keeper.gather(keeper.keep(target, digest))
        keeper.finish()
        return digest

    def _names_in_result(self, names: Sequence[str]) -> list[str]:
        """What the tensors of the plan's side are called in the result."""
        number = self._plan.skeleton.side
        own = ((decision.lines[number], decision.name) for decision in self._plan.decisions)
        found = {line.name: name for line, name in own if line is not None}
        return [found[name] for name in names]

    def _complete(self, identity: Manifest, stored_anew: bool) -> tuple[Manifest, bytes]:
        """Add storage lines to an identity; where a side has the same identity, its manifest as it is."""
        for recorded in self._sides.known:
            if recorded.root == identity.root and recorded.storage and not stored_anew:
                return recorded, manifests.write(recorded)
        storage = self._ledger.storage(identity.digests())
        self._ledger.record(storage)
        text = manifests.write(identity.with_storage(storage))
        return manifests.parse(text), text


class _Opened(Mapping[str, Tensor]):
    """The tensors of a result by name, opened when they are asked for."""

    def __init__(self, lines: Sequence[TensorLine], ledger: Ledger, objects: Objects) -> None:
        self._lines = {line.name: line for line in lines}
        self._ledger = ledger
        self._objects = objects

    def __getitem__(self, name: str) -> Tensor:
        line = self._lines[name]
        storage = self._ledger.storage([line.digest])
        return self._objects.tensor(line.digest, storage, line.dtype, line.shape)

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def _layout(manifest: Manifest, pieces: Sequence[skeleton.Piece]) -> Layout:
    """Where the tensors lie in the file of a manifest; without views."""
    spans: list[Span] = []
    offset = 0
    for piece in pieces:
        line = piece.tensor
        if line is None:
            offset += piece.stop - piece.start
        else:
            spans.append(Span(line.name, line.dtype, line.shape, offset))
            offset += line.nbytes
    return Layout(manifest.format, tuple(spans))


def _difference(found: Manifest, tensors: Sequence[TensorLine], views: Sequence[View]) -> str:
    """The first tensor that a written file would hold otherwise than planned, in words."""
    there: set[TensorLine | View] = {*found.tensors, *found.views}
    wanted: set[TensorLine | View] = {*tensors, *views}
    name = min(line.name for line in there ^ wanted)
    return f"tensor {name!r} would be another one"


def _say_nothing(line: str) -> None:
    """Drop warnings of cleaning: they are for people who add a file, and a merge writes this one."""
