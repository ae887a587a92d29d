"""Which remotes a repository has, and what git-theta talks to behind each of them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.remotes.interface import Remote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNNAMED = "git-theta-url"
_HELPER = re.compile(r"[A-Za-z0-9]+::")


def fetch_order(repository: Repository) -> list[str]:
    """The remotes to ask for an object, best first: the branch's, `origin`, then every other."""
    names = repository.config.subsections("remote")
    first = [repository.config.get(f"branch.{current_branch(repository)}.remote"), "origin"]
    return [name for name in dict.fromkeys([*first, *names]) if name in names]


def push_default(repository: Repository) -> str:
    """The remote that `git push` without arguments goes to."""
    branch, config = current_branch(repository), repository.config
    for key in (f"branch.{branch}.pushRemote", "remote.pushDefault", f"branch.{branch}.remote"):
        if name := config.get(key):
            return name
    names = config.subsections("remote")
    return names[0] if len(names) == 1 else "origin"


def push_urls(repository: Repository, name: str) -> list[str]:
    """Where `git push NAME` goes: each push url of a remote, or the url that is given instead of a name."""
    configured = repository.run("remote", "get-url", "--push", "--all", name)
    if configured.returncode == 0:
        return os.fsdecode(configured.stdout).splitlines()
    # get-url knows the remotes of this repository's own configuration; git remote -v all, and any url.
    known = name in repository.config.subsections("remote")
    title, option = (name, ()) if known else (_UNNAMED, ("-c", f"remote.{_UNNAMED}.url={name}"))
    rows = os.fsdecode(repository.git(*option, "remote", "-v")).splitlines()
    found = [row.split("\t")[1].removesuffix(" (push)") for row in rows if _is_push(row, title)]
    return found or [name]


def _is_push(row: str, name: str) -> bool:
    """Whether a line of `git remote -v` says where pushes to that remote go."""
    return row.startswith(f"{name}\t") and row.endswith(" (push)")


def current_branch(repository: Repository) -> str:
    """The name of the branch that is checked out; empty if there is none."""
    return repository.run("symbolic-ref", "-q", "--short", "HEAD").stdout.decode().strip()


def open_remote(repository: Repository, name: str, url: str = "") -> Remote:
    """The remote of that name, or at that url, as git understands it.

    Args:
        name: a configured remote, a path or a url.
        url: where it is, if that is known: a push can go elsewhere than a fetch.

    Raises:
        ThetaError: there is no repository there, or it is behind a protocol that git-theta does not speak.
    """
    if not url:
        url = repository.git("ls-remote", "--get-url", name).decode().rstrip("\n")
    top = repository.git_dir if repository.bare else repository.work_tree
    path = local_path(url, top.absolute())
    if path is None:
        raise ThetaError(
            f"git-theta cannot bring objects to or from {url} yet: only to folders and file:// urls; "
            "other protocols come in a later version",
            "use a remote on this machine or on a mounted disk: git remote add NAME /path/to/repository.git",
        )
    from git_theta.remotes.directory import DirectoryRemote

    return DirectoryRemote(name, _repository_at(path, url).store)


def local_path(url: str, top: Path) -> Path | None:
    """The path that a url means, by git's rules (git-fetch(1), "Git URLs"); None if it is no path.

    Args:
        top: the folder that relative paths start from.
    """
    if url.startswith("file://"):
        path = unquote(url.removeprefix("file://"))
        return Path(path if path.startswith("/") else f"//{path}")
    before, colon, _ = url.partition(":")
    if _SCHEME.match(url) or _HELPER.match(url):
        return None
    if colon and "/" not in before and not (top / url).exists():
        return None  # the short form of ssh, host:path
    return Path(url).expanduser() if url.startswith("~") else top / url


def _repository_at(path: Path, url: str) -> Repository:
    for folder in (path / ".git", path, Path(f"{path}.git") / ".git", Path(f"{path}.git")):
        if folder.exists():
            with suppress(ThetaError):
                return Repository.with_git_dir(folder)
    raise ThetaError(f"there is no repository at {path}", f"git ls-remote {url}")
