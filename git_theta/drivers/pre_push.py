"""The pre-push hook: what git says about a push, and what follows for objects."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from git_theta.errors import ThetaError
from git_theta.git.callers import calling_command
from git_theta.git.repository import Repository
from git_theta.remotes.configured import open_remote
from git_theta.remotes.push_plan import Push, plan, present, refs_of
from git_theta.remotes.pushed import record
from git_theta.remotes.pushing import prepare
from git_theta.terminal.showing import Say

_SHORT = "46dfnqtuv"  # git push's options of one letter that take no value, and can stand together


@dataclass(frozen=True)
class RefUpdate:
    """A line of pre-push's standard input (githooks(5)). A deleted ref has an oid of zeros."""

    local_ref: str
    local_oid: str
    remote_ref: str
    remote_oid: str


def parse_updates(text: str) -> list[RefUpdate]:
    """The ref updates of a push. None for a push that changes nothing."""
    return [RefUpdate(*line.rsplit(" ", 3)) for line in text.splitlines() if line]


def pre_push(repository: Repository, remote: str, url: str, updates: str, say: Say) -> None:
    """Upload the objects of a push.

    Args:
        remote: the remote's name; its url where git pushes by url.
        url: where git pushes to.
        updates: what git wrote to standard input.

    Raises:
        ThetaError: the push must not go on.
    """
    refs = parse_updates(updates)
    tips = list(dict.fromkeys(ref.local_oid for ref in refs if ref.local_oid.strip("0")))
    if not refs:
        tips = _agreed(repository, remote, url)
    if not tips:
        return  # only deletions, or nothing at all
    there = (ref.remote_oid for ref in refs if ref.remote_oid.strip("0"))
    command = calling_command()
    push = Push(
        remote,
        url,
        tips,
        present(repository, there) if refs else tips,
        retry=shlex.join(command or ["push"]),
        dry_run=_given(command, "dry-run"),
    )
    if not push.dry_run and (note := record(repository, tips)):
        say(f"git-theta: {note}")
    delivery = prepare(repository, plan(repository, push), push)
    for note in delivery.notes:
        say(f"git-theta: {note}")
    if delivery.problems:
        raise delivery.problems[0]
    if push.dry_run and (refs or delivery.objects):
        say(f"git-theta: {delivery.forecast()}")
    if not push.dry_run:
        quiet = _given(command, "quiet")
        if (sent := delivery.send(repository, quiet)) and not quiet:
            say(f"git-theta: {sent}")


def _agreed(repository: Repository, remote: str, url: str) -> list[str]:
    """The commits of refs that are the same here and on the remote, whose objects may still be missing there.

    Where they all are up to date, git pushes nothing, and tells of none; their objects can be missing there.
    """
    try:
        open_remote(repository, remote, url)
    except ThetaError:
        return []  # objects cannot be asked for
    listed = repository.git("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags")
    ours = set(listed.decode().split())
    return [oid for oid in refs_of(repository, Push(remote, url, ())) if oid in ours]


def _given(command: Sequence[str], option: str) -> bool:
    """Whether git push was given this option, in full, shortened, or as one of several letters."""
    letter = "n" if option == "dry-run" else option[0]
    cluster = re.compile(rf"-[{_SHORT}]*{letter}")
    return any(
        cluster.match(word) if word[:2] != "--" else len(word) > 3 and f"--{option}".startswith(word)
        for word in command
        if word.startswith("-")
    )
