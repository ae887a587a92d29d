"""`git theta merge`: several branches at once, checkpoints tensor by tensor, all other files as Git does.

Everything is computed before anything is written: blobs and objects that nobody names yet, then a commit,
then one `git merge --ff-only`. Whatever stops it before that leaves the repository as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from git_theta.errors import ThetaError
from git_theta.git.favoured_side import Favoured
from git_theta.git.repository import Repository
from git_theta.merges.rule_sources import Layer
from git_theta.merges.rules import Rules
from git_theta.merging.chosen_base import chosen
from git_theta.merging.entries import Head
from git_theta.merging.heads import heads_to_merge, our_head
from git_theta.merging.merge import Merge
from git_theta.merging.move import commit_merge, fast_forward, stage_merge
from git_theta.merging.settings import rules_for
from git_theta.terminal.showing import Say, word

FastForward = Literal["allow", "no", "only"]
"""git's --ff, --no-ff and --ff-only. As with git's -s ours, a strategy that is typed is none to skip."""


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        revisions: what to merge.
        layer: strategy, options and rules of the command line.
        message: of the commit; "" for the usual one.
        favoured: the side to take where both have changed something, in all files.
        ff: whether a branch that contains ours is merged by moving to it; None as configured.
        base: the revision that the sides are compared with; "" for what history says.
        unrelated: whether there may be no common ancestor.
    """

    revisions: tuple[str, ...]
    layer: Layer
    device: str = "auto"
    message: str = ""
    commit: bool = True
    favoured: Favoured = ""
    ff: FastForward | None = None
    base: str = ""
    unrelated: bool = False

    @property
    def combines(self) -> bool:
        """Whether the user wants all tensors combined, also those that only one side changed."""
        typed = self.layer.strategy or self.layer.rules or self.layer.one_sided == "combine"
        return bool(typed) and not self.favoured and self.layer.one_sided != "take"


def merge(repository: Repository, request: Request, say: Say) -> int:
    """Merge. Returns git's exit code.

    Raises:
        ThetaError: it is not possible; nothing has been changed.
    """
    ours = our_head(repository)
    theirs = heads_to_merge(repository, ours, request.revisions, request.combines)
    if not theirs:
        say("Already up to date.")
        return 0
    ff = request.ff or _configured_ff(repository)
    contains_ours = len(theirs) == 1 and _is_ancestor(repository, ours, theirs[0])
    forward = contains_ours and request.commit and ff != "no" and not request.base
    if ff == "only" and not contains_ours and not request.combines:
        raise ThetaError(
            f"{' '.join(request.revisions)} cannot be merged by a fast-forward",
            f"git theta merge --no-ff {' '.join(map(word, request.revisions))}",
        )
    if forward and not request.combines:
        return fast_forward(repository, ours, theirs[0].name)
    with _planned(repository, ours, theirs, request) as planned:
        if forward and not planned.checkpoints:  # there is nothing that a strategy could combine
            return fast_forward(repository, ours, theirs[0].name)
        planned.check_rules(len(request.layer.rules))
        planned.check()
        planned.fetch(checked_out=True)
        results = planned.carry_out(say, checked_out=True)
        tree, record = planned.tree(results), planned.record()
        if request.commit:
            commit_merge(repository, ours, theirs, tree, request.message, record, planned.scratch)
        else:
            stage_merge(repository, ours, theirs, tree, request.message, record)
            say("The merge is staged, not committed: git commit, or git theta merge --abort")
    return 0


def _planned(repository: Repository, ours: Head, theirs: Sequence[Head], request: Request) -> Merge:
    base = chosen(repository, request.base, request.unrelated, [ours, *theirs])

    def rules_of(path: str) -> Rules:
        return base.rules(rules_for(repository, path, request.layer))

    return Merge(
        repository,
        ours,
        theirs,
        rules_of,
        request.device,
        request.favoured,
        combines=request.combines,
        layers_of={"": request.layer},
        base=base,
    )


def _configured_ff(repository: Repository) -> FastForward:
    """What merge.ff says, as git reads it."""
    if repository.config.get("merge.ff").lower() == "only":
        return "only"
    return "allow" if repository.config.boolean("merge.ff", True) else "no"


def dry_run(repository: Repository, request: Request, say: Say) -> int:
    """Show what `merge` would do. Returns 1 if it would stop."""
    from git_theta.commands.merge_preview import preview

    ours = our_head(repository)
    theirs = heads_to_merge(repository, ours, request.revisions, request.combines)
    if not theirs:
        say("Already up to date.")
        return 0
    with _planned(repository, ours, theirs, request) as planned:
        planned.check_rules(len(request.layer.rules))
        return preview(repository, planned, say)


def _is_ancestor(repository: Repository, one: Head, other: Head) -> bool:
    return repository.run("merge-base", "--is-ancestor", one.commit, other.commit).returncode == 0
