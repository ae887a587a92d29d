"""`git theta push`: brings the objects of refs to a remote, without the refs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.remotes.configured import meant, push_default, push_urls
from git_theta.remotes.push_plan import Push, plan
from git_theta.remotes.pushed import record
from git_theta.remotes.pushing import prepare
from git_theta.setup import hook_files
from git_theta.terminal.showing import Say


def push(
    repository: Repository, remote: str, refs: Sequence[str], everything: bool, dry_run: bool, say: Say
) -> None:
    """Bring the objects of refs to a remote, without the refs; to each of its push urls.

    Args:
        remote: a name or a url; if empty, the one that git push goes to.
        refs: revisions; unless given, HEAD.
        everything: all that any ref reaches.

    Raises:
        ThetaError: some objects are not here, or could not be brought there.
    """
    hook_files.complete(repository, say)
    name = remote or push_default(repository)
    if everything:
        tips = repository.git("for-each-ref", "--format=%(objectname)").decode().split()
    else:
        tips = [meant(repository, ref, name) for ref in refs or ["HEAD"]]
    retry = ["theta", "push", *(["--all"] if everything else []), *([name] if remote else []), *refs]
    failures = []
    for url in push_urls(repository, name):
        push = Push(name, url, list(dict.fromkeys(tips)), (), shlex.join(retry), False, dry_run)
        try:
            _push(repository, push, say)
        except ThetaError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _push(repository: Repository, push: Push, say: Say) -> None:
    if not push.dry_run and (note := record(repository, push.tips)):
        say(note)
    delivery = prepare(repository, plan(repository, push), push)
    for note in delivery.notes:
        say(note)
    if not delivery.objects and not delivery.problems and not delivery.lacking:
        say(f"{push.title} has all objects already.")
    elif push.dry_run:
        say(delivery.forecast())
    else:
        if sent := delivery.send(repository):
            say(sent)
    if delivery.problems:
        raise delivery.problems[0]
