"""The last steps of a merge: the commit with its hooks, and the move of branch, index and work tree to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from git_theta import files
from git_theta.errors import ThetaError
from git_theta.git import operation
from git_theta.git.repository import Repository
from git_theta.merging import half_merged
from git_theta.merging.conflicts import clear, everything
from git_theta.merging.entries import Head
from git_theta.merging.trailers import with_trailers
from git_theta.terminal.interrupts import held_back

_MESSAGE, _HEAD, _MODE = "MERGE_MSG", "MERGE_HEAD", "MERGE_MODE"


def commit_merge(
    repository: Repository,
    ours: Head,
    theirs: Sequence[Head],
    tree: str,
    message: str,
    record: list[str],
    scratch: Path,
) -> None:
    """Commit a merged tree, and move to it as a fast-forward does.

    The hooks pre-merge-commit, prepare-commit-msg, commit-msg and post-merge run as for git merge.

    Args:
        message: "" for the usual one.
        record: trailers.
        scratch: an existing folder, for an index and the message.

    Raises:
        ThetaError: a hook refused, or local changes would be overwritten. Nothing has been changed.
    """
    file = scratch.absolute() / _MESSAGE  # in Git's own place, a later commit would get what a kill has left
    files.replace(file, _bytes(_message(repository, theirs, message, record)))
    index = {"GIT_INDEX_FILE": str(scratch.absolute() / "index")}
    staged = repository.with_environment(index)
    staged.git("read-tree", tree)
    _hook(staged, "pre-merge-commit")
    _hook(staged, "prepare-commit-msg", str(file), "merge")
    _hook(staged, "commit-msg", str(file))
    cleaned = repository.git("stripspace", stdin=file.read_bytes())
    sign = ["-S"] if repository.config.boolean("commit.gpgSign", False) else []
    parents = [word for head in (ours, *theirs) for word in ("-p", head.commit)]
    commit = repository.git("commit-tree", *sign, *parents, tree, stdin=cleaned).decode().strip()
    names = " ".join(head.name for head in theirs)
    moving = repository.with_environment({"GIT_REFLOG_ACTION": f"merge {names}"})
    if fast_forward(moving, ours, commit, "-q", "--no-verify-signatures", "--no-autostash"):
        raise ThetaError(
            "the merge is complete, but git could not move to it; your branch is as it was",
            f"mend what git says, then: git merge --ff-only {commit[:12]}",
        )
    if repository.config.boolean("merge.stat", True):
        shown = ["--no-pager", "diff", "--stat", "--summary", ours.commit, commit]
        repository.popen(shown).wait()


def fast_forward(repository: Repository, ours: Head, target: str, *options: str) -> int:
    """Move to a commit that contains ours. Returns git's exit code.

    Raises:
        KeyboardInterrupt: somebody typed Ctrl-C. Git would stop with some files written, and others not;
            so it goes on to the end, and then back.
    """
    with held_back() as held:
        repository = repository.out_of_reach()
        code = repository.popen(["merge", "--ff-only", *options, target]).wait()
        if held.came and not code:
            repository.git("reset", "-q", "--keep", ours.commit)
    return code


def stage_merge(
    repository: Repository,
    ours: Head,
    theirs: Sequence[Head],
    tree: str,
    message: str,
    record: list[str],
) -> None:
    """Put a merged tree into index and work tree, for `git commit` to commit.

    Raises:
        ThetaError: local changes would be overwritten. Nothing has been changed.
        KeyboardInterrupt: somebody typed Ctrl-C; everything is as it was.
    """
    text = _message(repository, theirs, message, record)
    with held_back() as held:
        repository = repository.out_of_reach()
        _stage(repository, ours, theirs, tree, text)
        if held.came:
            repository.git("merge", "--abort")


def _stage(repository: Repository, ours: Head, theirs: Sequence[Head], tree: str, message: str) -> None:
    repository.git("update-index", "-q", "--refresh", check=False)
    exclude = "--exclude-per-directory=.gitignore"
    half_merged.begin(repository, ours.commit, tree)
    done = repository.run("read-tree", "-m", "-u", exclude, ours.commit, tree)
    if done.returncode:
        half_merged.end(repository)
        said = done.stderr.decode(errors="replace").strip().removeprefix("error: ")
        raise ThetaError(said, "git commit or git stash, then merge again")
    folder = repository.git_dir
    repository.git("update-ref", "ORIG_HEAD", ours.commit)
    files.replace(folder / _MESSAGE, _bytes(message))
    files.replace(folder / _MODE, b"no-ff")
    files.replace(folder / _HEAD, _bytes("".join(f"{head.commit}\n" for head in theirs)))
    half_merged.end(repository)


def abort(repository: Repository) -> None:
    """Undo a merge that was not committed. Raises ThetaError if there is none."""
    records = everything(repository)
    undo = ("reset", "-q", "--merge") if half_merged.is_half_merged(repository) else ("merge", "--abort")
    with held_back():
        done = repository.out_of_reach().run(*undo)
        for record in () if done.returncode else records:
            clear(repository, record.path)
        half_merged.end(repository)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        other = operation.under_way(repository) and not (repository.git_dir / _HEAD).exists()
        raise ThetaError(said, operation.how_to_abort(repository) if other else "git status")


def _message(repository: Repository, theirs: Sequence[Head], message: str, record: list[str]) -> str:
    return with_trailers(repository, message or _usual_message(repository, theirs), record)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _usual_message(repository: Repository, theirs: Sequence[Head]) -> str:
    """What git merge would say."""
    rows = []
    for head in theirs:
        full = os.fsdecode(repository.run("rev-parse", "--symbolic-full-name", head.name).stdout).rstrip("\n")
        for prefix, kind in _KINDS.items():
            if full.startswith(prefix):
                rows.append(f"{head.commit}\t\t{kind} '{full.removeprefix(prefix)}' of .\n")
                break
        else:
            rows.append(f"{head.commit}\t\tcommit '{head.name}' of .\n")
    return repository.git("fmt-merge-msg", stdin="".join(rows).encode(errors="surrogateescape")).decode(
        errors="surrogateescape"
    )


def _hook(repository: Repository, name: str, *arguments: str) -> None:
    done = repository.popen(["hook", "run", "--ignore-missing", name, "--", *arguments]).wait()
    if done:
        raise ThetaError(f"the hook {name} refused the merge; nothing was changed", "see what it says above")


_KINDS = {"refs/heads/": "branch", "refs/remotes/": "remote-tracking branch", "refs/tags/": "tag"}
