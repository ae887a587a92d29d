"""Conflict records: which tensors of a merged checkpoint somebody still has to decide on.

Git leaves no markers in a checkpoint, so a `git commit -a` would silently take ours. The merge driver
therefore writes down what it left open, and the hooks refuse to commit a manifest that still is what the
driver wrote. A record is void once HEAD has moved, or Git has forgotten the conflict (`git merge --abort`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from git_theta.errors import ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git import operation
from git_theta.git.plumbing import IndexEntry, Which, literally
from git_theta.git.repository import Repository
from git_theta.merging.records import Records
from git_theta.terminal.showing import operand, pathspec, printable
from git_theta.terminal.units import counted, joined, listed
from git_theta.versions.recorded import root_of

if TYPE_CHECKING:
    from git_theta.merges.decisions import Help, Plan

Stages = Mapping[int, tuple[str, str]]
"""Mode and oid of a path with a conflict by stage: 1 base, 2 ours, 3 theirs."""

_NAMED = 3  # so many open tensors are named, more of them counted

Settings = tuple[tuple[str, str], ...]
"""What is said about the merge of a file: keys and values; see Rules.settings."""


@dataclass(frozen=True)
class Conflict:
    """What a merge left open in one file.

    Attributes:
        head: commit that HEAD is on while the conflict lasts.
        path: of the file, from the top of the work tree.
        base, ours, theirs: oids of the three versions' blobs; base is "" where there is none.
        ours_name, theirs_name: how the sides are called (a branch, a commit).
        root: of the manifest that was left for the work tree; "" where ours has none.
        tensors: names of the open tensors.
        parts: the same of what is no tensor; neither where the file as a whole could not be merged.
        merged: oid of the manifest of what could be merged; "" where that is nothing.
        applies: whether a change was applied, rather than two lines of work joined.
        settings: what was said about the merge, as Rules.settings gives it, with what was resolved since.
        helps: what settles the open tensors, or some of them.
        before: the roots of what was left for the work tree before, while its file is being written.
    """

    head: str
    path: str
    base: str
    ours: str
    theirs: str
    ours_name: str
    theirs_name: str
    root: str
    tensors: tuple[str, ...] = ()
    merged: str = ""
    applies: bool = False
    parts: tuple[str, ...] = ()
    settings: Settings = ()
    helps: Help = "strategy"
    before: tuple[str, ...] = ()

    @property
    def left(self) -> set[str]:
        """The roots of all manifests that the merge has put into the work tree for this file."""
        return {self.root, *self.before}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all open tensors and parts."""
        return self.tensors + self.parts


_records = Records("conflicts", Conflict)
write, find, everything, clear = _records.write, _records.find, _records.everything, _records.clear


def stages(repository: Repository, path: str) -> Stages:
    """The versions of a path (from the top) that has a conflict in the index; none where it has none."""
    return _by_stage(_listed(repository, "--unmerged", path))


def resolved_stages(repository: Repository, path: str) -> Stages:
    """Those of a path whose conflict was ended by `git add` or `git theta resolve`, as Git remembers them."""
    return _by_stage(_listed(repository, "--resolve-undo", path))


def applies(repository: Repository, path: str) -> bool:
    """Whether a change is being applied where a path has a conflict, rather than two lines of work joined."""
    record = find(repository, path)
    return record.applies if record is not None else operation.applies(repository)


def staged(repository: Repository, path: str) -> IndexEntry | None:
    """What the index has for a path (from the top) without a conflict."""
    return next((entry for entry in _listed(repository, "--stage", path) if entry.stage == 0), None)


def unsettled(repository: Repository) -> list[Conflict]:
    """The records of files that are staged just as the driver has left them."""
    return [conflict for conflict in everything(repository) if as_left(repository, conflict)]


def as_left(repository: Repository, conflict: Conflict) -> bool:
    """Whether a file is staged as the driver has left it, with its conflict."""
    entry = staged(repository, conflict.path)
    root = root_of(repository, entry.oid) if entry is not None else None
    if root not in conflict.left:
        return False
    if root_of(repository, f"{conflict.head}:{conflict.path}") != root:
        return True
    # Nothing could be merged, so this is also how the file was before.
    undone = resolved_stages(repository, conflict.path)
    sides = [undone.get(stage, ("", ""))[1] for stage in (2, 3)]
    return sides == [conflict.ours, conflict.theirs]


def damaged(repository: Repository) -> list[ThetaError]:
    """Errors for files in conflict whose record is damaged, so that nobody knows what is still open."""
    return [
        ThetaError(
            f"{printable(path)}: git-theta's record of what its merge has left open is damaged",
            f"git checkout -m -- {pathspec(path)}\n"
            f"  or, if it is as it should be: rm -f {operand(str(file.absolute()))}",
        )
        for path, file in _records.damaged(repository, lambda: _remembered(repository)).items()
    ]


def _remembered(repository: Repository) -> list[str]:
    """The paths that have a conflict in the index, or had one, as far as Git remembers it."""
    found = set()
    options: tuple[Which, ...] = "--unmerged", "--resolve-undo"
    for option in options:
        found |= {entry.path for entry in repository.index_entries(which=option)}
    return sorted(found)


def refusal(conflict: Conflict, finish: str) -> ThetaError:
    """The error for committing a file with open tensors.

    Args:
        finish: the command that ends the merge.
    """
    return ThetaError(
        f"{printable(conflict.path)}: {_what(conflict)}", f"{how_to_resolve(conflict)}, then {finish}"
    )


def how_to_resolve(conflict: Conflict) -> str:
    """What to type to decide on what is open. Who applies a change wants it or not, and no mean of both."""
    path = operand(conflict.path)
    if conflict.applies:
        return f"git theta resolve {path} --theirs (with the change), or --ours (without it)"
    apart = f"; or one by one: git theta mergetool {path}" if conflict.parts else ""
    if conflict.helps == "side":
        return f"git theta resolve {path} --ours (or --theirs{apart})"
    if conflict.helps == "rows":
        return f"git theta resolve {path} --strategy average -o rows=pad (or --ours, or --theirs{apart})"
    return f"git theta resolve {path} --strategy average (or --ours, or --theirs{apart})"


def take_a_side(path: str) -> str:
    """What to type where a file can only be taken as one side has it."""
    return f"git theta resolve {operand(path)} --ours, or --theirs"


def warning(repository: Repository, path: str, text: bytes) -> str:
    """What to tell somebody who stages a file with a conflict as it was left; "" if that is not so."""
    conflict = find(repository, path)
    manifest = parsed(text) if conflict is not None else None
    if conflict is None or manifest is None or manifest.root not in conflict.left:
        return ""
    if not stages(repository, path):
        return ""
    return (
        f"{printable(path)}: {_what(conflict)}, and this takes ours; rather type: {how_to_resolve(conflict)}"
    )


def _what(conflict: Conflict) -> str:
    if not conflict.names:
        return "it is not merged yet"
    return f"{_counted(conflict)} not merged yet"


def _counted(conflict: Conflict) -> str:
    names = conflict.names
    if len(names) > _NAMED:
        return is_open(conflict.tensors, conflict.parts)
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"


def open_count(tensors: Sized, parts: Sized) -> str:
    """How much is open: "2 tensors and 1 other value"."""
    words = [counted(len(tensors), "tensor")] if tensors or not parts else []
    words += [counted(len(parts), "other value")] if parts else []
    return joined(words)


def is_open(tensors: Sized, parts: Sized) -> str:
    """How much is open, with a verb: "1 tensor is"."""
    return f"{open_count(tensors, parts)} {'is' if len(tensors) + len(parts) == 1 else 'are'}"


def still_open(record: Conflict, plan: Plan, root: str, merged: str) -> Conflict:
    """The record with what a plan leaves open.

    Args:
        root: of what could be merged, and is left for the work tree.
        merged: oid of its manifest.
    """
    tensors = tuple(decision.name for decision in plan.open_tensors())
    parts = tuple(part.name for part in plan.open_parts())
    return replace(record, tensors=tensors, parts=parts, helps=plan.helps, root=root, merged=merged)


def leave(repository: Repository, old: Conflict, left: Conflict, write_file: Callable[[], object]) -> None:
    """Write a file that has something open, and its record.

    Whatever stops us in between, neither what was left before nor what is left now can be committed.
    """
    before = tuple(root for root in (*old.before, old.root) if root)
    write(repository, replace(left, before=before))
    write_file()
    write(repository, left)


def _listed(repository: Repository, which: Which, path: str) -> list[IndexEntry]:
    entries = repository.index_entries(literally(path), which=which)
    return [entry for entry in entries if entry.path == path]


def _by_stage(entries: Sequence[IndexEntry]) -> Stages:
    return {entry.stage: (entry.mode, entry.oid) for entry in entries}
