"""Which commits must stay as they are: those that others have, or that something other than a branch names.

Rewriting moves branches and lightweight tags along. What else names a commit (a signed tag, a note, another
work tree, the superproject) would go on naming the old one, so that commit and its ancestors stay.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from git_theta.git.operation import HEADS
from git_theta.git.repository import Repository
from git_theta.remotes.pushed import check, pushed
from git_theta.versions.rewriting import BACKUP

_REBASES = ("rebase-merge/orig-head", "rebase-merge/onto", "rebase-apply/orig-head", "rebase-apply/onto")
_REPLACED = "refs/replace/"


@dataclass(frozen=True)
class Pin:
    """Something that names an object of Git's, and how messages call it."""

    oid: str
    name: str


def pins(repository: Repository) -> list[Pin]:
    """Everything that refers to objects by oid, so that these must not be rewritten.

    Raises:
        ThetaError: the record of what was pushed is damaged.
    """
    check(repository)
    found = [
        *_refs(repository),
        *_notes(repository),
        *_replaced(repository),
        *_work_trees(repository),
        *_superproject(repository),
        *(Pin(oid, "what was pushed") for oid in pushed(repository)),
    ]
    answers = _names_of(repository, [pin.oid for pin in found])
    return [pin for pin, answer in zip(found, answers, strict=True) if answer == pin.oid]


def naming(repository: Repository, found: Sequence[Pin], commits: Collection[str]) -> list[str]:
    """The names of the pins that hold some of these commits in place, also by way of a tag or a stash."""
    concerned = set(commits)
    answers = _names_of(repository, [pin.oid + way for pin in found for way in ("^{commit}", "^{commit}^")])
    named = (found[place // 2].name for place, answer in enumerate(answers) if answer in concerned)
    return list(dict.fromkeys(named))


def _names_of(repository: Repository, asked: Sequence[str]) -> list[str]:
    """Resolve expressions to oids, in order, by one git; what cannot be resolved gives another text."""
    lines = "".join(f"{expression}\n" for expression in asked).encode()
    answered = repository.git("cat-file", "--batch-check=%(objectname)", stdin=lines) if lines else b""
    return answered.decode(errors="replace").splitlines()


def _refs(repository: Repository) -> Iterator[Pin]:
    """Remote-tracking branches, annotated tags, the stash, and whatever else is no branch."""
    listed = repository.git("for-each-ref", "--format=%(objectname) %(objecttype) %(refname)")
    for row in listed.decode(errors="surrogateescape").splitlines():
        oid, kind, name = row.split(" ", 2)
        moves = name.startswith("refs/heads/") or (name.startswith("refs/tags/") and kind == "commit")
        if not moves and not name.startswith((BACKUP, _REPLACED)):
            yield Pin(oid, name)


def _names(repository: Repository, prefix: str) -> list[str]:
    """The refs that begin like this."""
    listed = repository.git("for-each-ref", "--format=%(refname)", prefix)
    return [os.fsdecode(name) for name in listed.splitlines()]


def _notes(repository: Repository) -> Iterator[Pin]:
    """Objects that have notes, which would be lost with a new oid."""
    for ref in _names(repository, "refs/notes/"):
        for row in repository.git("notes", "--ref", ref, "list").decode().splitlines():
            yield Pin(row.split()[1], f"a note in {ref}")


def _replaced(repository: Repository) -> Iterator[Pin]:
    """Objects that git-replace(1) or a graft shows as something else, by their oid."""
    for name in _names(repository, _REPLACED):
        yield Pin(name.removeprefix(_REPLACED), name)
    with suppress(OSError):
        for line in (repository.common_dir / "info" / "grafts").read_text(errors="replace").splitlines():
            if line and not line.startswith("#"):
                yield Pin(line.split()[0], "info/grafts")


def _work_trees(repository: Repository) -> Iterator[Pin]:
    """Where other work trees are, and what is under way in them."""
    own = repository.git_dir.resolve()
    places = {
        f"worktrees/{folder.name}/": folder for folder in (repository.common_dir / "worktrees").glob("*")
    }
    if not repository.config.boolean("core.bare", False):
        places["main-worktree/"] = repository.common_dir
    for prefix, folder in places.items():
        if folder.resolve() == own:
            continue
        name = f"the work tree of {_path_of(folder)}"
        for head in ("HEAD", *HEADS):
            if oid := repository.oid(f"{prefix}{head}"):
                yield Pin(oid, name)
        for file in _REBASES:
            with suppress(OSError):
                yield Pin(
                    (folder / file).read_text(errors="replace").strip(), f"a rebase in {_path_of(folder)}"
                )


def _path_of(folder: Path) -> Path:
    """The work tree of a git directory."""
    with suppress(OSError):
        return Path((folder / "gitdir").read_text(errors="surrogateescape").strip()).parent
    return folder.parent


def _superproject(repository: Repository) -> Iterator[Pin]:
    """The commits that a superproject has recorded of this submodule."""
    told = repository.run("rev-parse", "--show-superproject-working-tree").stdout
    top = Path(os.fsdecode(told.removesuffix(b"\n")))
    if not told:
        return
    outer = Repository.elsewhere(top)
    path = repository.work_tree.resolve().relative_to(top.resolve()).as_posix()
    for name in (f":{path}", f"HEAD:{path}"):
        if oid := outer.oid(name):
            yield Pin(oid, f"the superproject {top}")
