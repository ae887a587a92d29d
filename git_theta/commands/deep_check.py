"""`git theta doctor --deep`: whether all data are whole here, and remotes have what their refs need."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from git_theta.commands.doctor import Finding
from git_theta.commands.fsck import fsck
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.remotes.configured import open_remote, push_urls
from git_theta.remotes.push_plan import Push, naming, plan, refs_of
from git_theta.terminal.showing import printable
from git_theta.terminal.units import counted, human_size


def examine_data(repository: Repository) -> Iterator[Finding]:
    """Verify every object of every version that is here, and ask each remote for those of its own refs."""
    report = fsck(repository, fast=False)
    for problem in report.problems:
        yield Finding("wrong", problem.message, problem.remedy)
    for note in report.notes:
        yield Finding("note", note)
    if not report.problems:
        yield Finding("ok", f"manifests: {report.manifests}, with {_objects(report.objects)}")
    for name in repository.config.subsections("remote"):
        for url in push_urls(repository, name):
            yield _examine_remote(repository, name, url)


def _examine_remote(repository: Repository, name: str, url: str) -> Finding:
    """Whether the objects are at a url that the refs there need, as far as those are known here."""
    push = Push(name, url, (), refs_follow=False)
    push = Push(name, url, refs_of(repository, push), refs_follow=False)
    try:
        needed = plan(repository, push).objects
        there = open_remote(repository, name, url).has(needed) if needed else set()
    except ThetaError as error:
        return Finding("wrong", f"remote {push.title}: {error.message}", error.remedy)
    lacking = {oid: size for oid, size in needed.items() if oid not in there}
    if not lacking:
        return Finding("ok", f"remote {push.title} has all that its refs need: {_objects(needed)}")
    paths = ", ".join(sorted({printable(blob.path) for blob, _ in naming(repository, push.tips, lacking)}))
    return Finding(
        "wrong",
        f"remote {push.title} lacks {_objects(lacking)} that its refs need, of {paths}",
        f"git theta push --all {shlex.quote(url)}",
    )


def _objects(sizes: Mapping[str, int]) -> str:
    return f"{counted(len(sizes), 'object')} ({human_size(sum(sizes.values()))})"
