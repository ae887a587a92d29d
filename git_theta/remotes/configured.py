"""Which remotes a repository has, and what git-theta talks to behind each of them."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import unquote

from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.remotes.interface import Remote
from git_theta.remotes.registry import open_by_transport

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNNAMED = "git-theta-url"
_HELPER = re.compile(r"[A-Za-z0-9]+::")
_ERE_SPECIAL, _ESCAPED = re.compile(r"[][\\.*^$+?(){}|]"), r"\\\g<0>"
SOMEWHERE = "/folder/of/a/clone"
"""What the user has to fill in."""
_FETCHED = re.compile(r"[0-9a-f]{40,64}\t(?:not-for-merge)?\t(?:(?:[a-z-]+ )*'[^ ]*' of )?(.+)")
"""A line of FETCH_HEAD: "OID TAB TAB branch 'main' of URL", or the url alone for its HEAD."""


class Unusable(ThetaError):
    """A remote that neither has nor takes objects.

    Attributes:
        source: from where objects can be fetched once the remedy is typed.
    """

    def __init__(self, message: str, remedy: str, source: str) -> None:
        super().__init__(message, remedy)
        self.source = source


def fetch_order(repository: Repository) -> list[str]:
    """The remotes to ask for an object, best first: the branch's, `origin`, every other, where pushes go."""
    names = repository.config.subsections("remote")
    own = repository.config.get(f"branch.{repository.branch}.remote")
    first = [name for name in (own, "origin") if name in names or _is_url(name)]
    pushed = [url for name in names for url in _pushed_elsewhere(repository, name)]
    return list(dict.fromkeys([*first, *names, *pushed]))


def fetched_urls(repository: Repository) -> list[str]:
    """Where the last `git fetch URL` or `git pull URL` of each work tree has been (gitrepository-layout(5)).

    A new work tree is filled before it has fetched anything.
    """
    found: list[str] = []
    linked = sorted((repository.common_dir / "worktrees").glob("*"))
    for folder in (repository.git_dir, repository.common_dir, *linked):
        with suppress(OSError):
            lines = (folder / "FETCH_HEAD").read_text(errors="surrogateescape").split("\n")
            found += [match[1] for line in lines if (match := _FETCHED.fullmatch(line))]
    names = repository.config.subsections("remote")
    known = {_abbreviated(repository.config.get(f"remote.{name}.url")) for name in names}
    return [url for url in dict.fromkeys(found) if url not in (".", *known)]


def _pushed_elsewhere(repository: Repository, name: str) -> list[str]:
    """Where pushes to a remote go, where that is not where fetches come from."""
    fetched = os.fsdecode(repository.git("ls-remote", "--get-url", name)).rstrip("\n")
    return [url for url in push_urls(repository, name) if url != fetched]


def _abbreviated(url: str) -> str:
    """A url as git writes it into FETCH_HEAD."""
    return url.rstrip("/").removesuffix(".git")


def _is_url(name: str) -> bool:
    """Whether what stands in place of a remote's name says where it is; `.` is this repository."""
    return "/" in name or ":" in name


def push_default(repository: Repository) -> str:
    """The remote that `git push` without arguments goes to."""
    branch, config = repository.branch, repository.config
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


def open_remote(repository: Repository, name: str, url: str = "") -> Remote:
    """The remote of that name, or at that url, as git understands it.

    Args:
        name: a configured remote, a path or a url.
        url: where a push to it goes; unless given, what fetches come from.

    Raises:
        Unusable: there is no repository there, or it is behind a protocol that git-theta does not speak.
    """
    pushed = url
    url = url or os.fsdecode(repository.git("ls-remote", "--get-url", name)).rstrip("\n")
    top = repository.git_dir if repository.bare else repository.work_tree
    path = local_path(url, top.absolute())
    if path is None:
        try:
            if remote := open_by_transport(titled(name, pushed), url):
                return remote
        except ThetaError as error:
            raise Unusable(error.message, error.remedy, name) from error
        raise _unusable(
            repository,
            f"git-theta cannot bring objects to or from {url} yet: only to folders and file:// urls; "
            "other protocols need a plug-in, or a later version",
        )
    from git_theta.remotes.directory import DirectoryRemote

    hardlinks = repository.config.settings().hardlinks
    try:
        return DirectoryRemote(titled(name, pushed), _repository_at(path).store, hardlinks)
    except ThetaError as error:
        if repository.run("remote", "get-url", name).returncode == 0:
            raise Unusable(error.message, _moving(repository, name, pushed), name) from None
        raise _unusable(repository, error.message) from None


def titled(name: str, pushed: str) -> str:
    """What messages call a remote, where pushes to it can go to several places."""
    return name if pushed in ("", name) or not name else f"{name} ({pushed})"


def _moving(repository: Repository, name: str, pushed: str) -> str:
    """The command that gives a remote of this repository another url, in place of the one that is of no use.

    Args:
        pushed: where a push goes; "" if it is about the url that fetches come from.
    """
    command = f"git remote set-url {shlex.quote(name)} {SOMEWHERE}"
    urls = push_urls(repository, name)
    if pushed not in urls:
        return command
    written = repository.config.all(f"remote.{name}.pushurl")
    if written or pushed not in repository.config.all(f"remote.{name}.url"):
        command = command.replace("set-url", "set-url --push")
    if len(urls) == 1 or len(written) == 1:
        return command
    old = (written or urls)[urls.index(pushed)]
    return f"{command} {shlex.quote(f'^{_ERE_SPECIAL.sub(_ESCAPED, old)}$')}"


def _unusable(repository: Repository, message: str) -> Unusable:
    """The error for a remote that has to stay as it is."""
    name = free_name(repository)
    return Unusable(message, f"git remote add {name} {SOMEWHERE}", name)


def free_name(repository: Repository) -> str:
    """A name for a new remote, beside those that only Git can use."""
    taken = repository.config.subsections("remote")
    names = ("objects" if number == 1 else f"objects{number}" for number in count(1))
    return next(name for name in names if name not in taken)


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


def _repository_at(path: Path) -> Repository:
    try:
        for folder in (path / ".git", path, Path(f"{path}.git") / ".git", Path(f"{path}.git")):
            if folder.exists():
                with suppress(ThetaError):
                    return Repository.with_git_dir(folder)
        for file in (path, Path(f"{path}.bundle")):
            if file.is_file() and _is_bundle(file):
                raise ThetaError(f"{file} is a bundle: it has Git's objects, but none of git-theta's")
    except OSError as error:
        raise ThetaError(f"{path} cannot be read: {error.strerror}") from None
    raise ThetaError(f"there is no repository at {path}")


def _is_bundle(file: Path) -> bool:
    with file.open("rb") as opened:
        return re.match(rb"# v[0-9]+ git bundle\n", opened.read(64)) is not None


def meant(repository: Repository, ref: str, remote: str) -> str:
    """The oid that a revision means, be it of a branch that only the remote has.

    Raises:
        ThetaError: there is no such revision.
    """
    for name in (ref, f"{remote}/{ref}"):
        if oid := repository.oid(f"{name}^{{}}"):
            return oid
    if remote in repository.config.subsections("remote"):
        how = f"git fetch {shlex.quote(remote)}"
    else:  # a url: git keeps what it has fetched from there under this name
        where = shlex.quote(remote)
        how = f"git fetch {where} {shlex.quote(ref)}; git theta fetch {where} FETCH_HEAD"
    raise ThetaError(f"{ref} is not a revision of this repository", how)
