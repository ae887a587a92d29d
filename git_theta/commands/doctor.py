"""`git theta doctor`: what is not set up right, and what to type to mend it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from git_theta import __version__, search_path
from git_theta.checkpoints import registry as formats
from git_theta.errors import ThetaError
from git_theta.filters.stand_ins import parsed
from git_theta.git import attributes, version
from git_theta.git.blobs import find_manifests, in_index
from git_theta.git.overrides import files, overrides
from git_theta.git.repository import Repository
from git_theta.merges import registry as strategies
from git_theta.merging import conflicts
from git_theta.regular import open_regular
from git_theta.remotes import pushed
from git_theta.remotes import registry as transports
from git_theta.remotes.configured import open_remote
from git_theta.remotes.fetching import missing
from git_theta.setup import hook_files
from git_theta.setup.configuration import SETTINGS, GitConfig, configured
from git_theta.terminal.showing import operand, pathspec, word
from git_theta.terminal.units import counted, listed
from git_theta.updates import registry as kinds
from git_theta.versions import misplaced
from git_theta.versions.raw import raw_in_index
from git_theta.versions.recorded import ATTRIBUTED

_SHOWN = 5
Level = Literal["ok", "note", "wrong"]
_SCOPES = ("system", "global", "local")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: "note" is for what can be meant so.
        remedy: what to type.
    """

    level: Level
    text: str
    remedy: str = ""

    def record(self) -> dict[str, object]:
        """For --json."""
        return {"level": self.level, "text": self.text, "remedy": self.remedy}


def examine(commands: Sequence[str]) -> Iterator[Finding]:
    """Look at the machine and, if this is one, at the repository.

    Args:
        commands: the commands of this git-theta.
    """
    try:
        yield Finding("ok", f"git {version.check()}")
    except ThetaError as error:
        yield Finding("wrong", error.message, error.remedy)
        return
    yield from _programs()
    repository = Repository.here_if_any()
    if repository is None:
        yield from _plugins(())
        yield from _settings(None, commands)
        yield Finding("note", "this is not a repository; in one, doctor looks at it too")
        return
    yield from _plugins(() if repository.bare else _heads(repository))
    yield from _settings(repository, commands)
    yield from _hooks(repository)
    yield from _remotes(repository)
    yield from _leftovers(repository)
    if not repository.bare:
        for check in _IN_WORK_TREES:
            yield from check(repository)


def _programs() -> Iterator[Finding]:
    program = shutil.which("git-theta")
    if program is None:
        yield Finding(
            "wrong",
            "git-theta is not on the PATH, so git cannot start it",
            "activate the environment it is installed in, or: pipx install git-theta",
        )
    else:
        yield Finding("ok", f"git-theta {__version__} ({program})")
    yield from _folders()
    yield _loops()


def _folders() -> Iterator[Finding]:
    """PATH and PYTHONPATH, where they have entries that mean the current folder, whose files would be run."""
    for name, folders in search_path.BEFORE.items():
        kept = search_path.fixed(folders)
        if folders and kept != folders:
            yield Finding(
                "wrong",
                f"{name} has empty or relative entries: files of the folder one is in can be run as programs",
                f"export {name}={word(kept)}",
            )


def _loops() -> Finding:
    from git_theta import kernels

    if kernels.NATIVE:
        return Finding("ok", "the innermost loops are compiled")
    return Finding(
        "note",
        "the innermost loops are not compiled: most commands take several times as long",
        "install a C compiler and Python's headers, then: pip install --force-reinstall --no-deps git-theta",
    )


def _plugins(heads: Iterable[bytes]) -> Iterator[Finding]:
    """Plug-ins of other packages that cannot be used.

    Args:
        heads: of files; some formats fail only when they are asked about a file.
    """
    for error in (*formats.broken(heads), *kinds.broken(), *strategies.broken(), *transports.broken()):
        yield Finding("wrong", error.message, error.remedy)


def _heads(repository: Repository) -> Iterator[bytes]:
    """The first bytes of the tracked files."""
    for blob in in_index(repository, ATTRIBUTED, merged=True):
        with suppress(OSError), open(open_regular(repository.work_tree / blob.path), "rb") as file:
            yield file.read(formats.PROBE)


def _settings(repository: Repository | None, commands: Sequence[str]) -> Iterator[Finding]:
    scopes = _SCOPES if repository is not None else _SCOPES[:2]
    where = [scope for scope in scopes if configured(GitConfig(repository, scope))]
    if not where:
        yield Finding("wrong", "git does not know git-theta's filter", "git theta install")
        return
    others = []
    for setting in SETTINGS:
        values = [value for scope in scopes for value in GitConfig(repository, scope).all(setting.key)]
        if setting.command in commands and values[-1:] != [setting.value]:
            others.append(f"{setting.key} is {values[-1] if values else 'not set'}")
    if others:
        local = " --local" if where == ["local"] else ""
        yield Finding("wrong", "; ".join(others), f"git theta install --force{local}")
    else:
        yield Finding("ok", f"filter and drivers are set up ({', '.join(where)})")


def _hooks(repository: Repository) -> Iterator[Finding]:
    names = ("pre-push",) if repository.bare else hook_files.HOOKS
    hooks = hook_files.look(repository, names)
    if hooks.lacking:
        remedy = "\n".join(hooks.advice()) or "git theta install"
        yield Finding("wrong", f"{hooks.problem} (missing: {', '.join(hooks.lacking)})", remedy)
    else:
        yield Finding("ok", f"hooks are in place ({hooks.folder})")
    if not hook_files.look(repository, hook_files.ON_SERVERS).lacking:
        yield Finding("ok", "refs whose objects are not here are refused (pre-receive)")
    elif repository.bare:
        yield Finding(
            "note", "pushes into this repository are not checked for objects", "git theta install --server"
        )


def _remotes(repository: Repository) -> Iterator[Finding]:
    for name in repository.config.subsections("remote"):
        try:
            open_remote(repository, name)
        except ThetaError as error:
            yield Finding("wrong", f"remote {name}: {error.message}", error.remedy)
        else:
            yield Finding("ok", f"remote {name}: objects can go there")


def _leftovers(repository: Repository) -> Iterator[Finding]:
    if left := repository.store.clean_up():
        yield Finding("ok", f"removed {counted(left, 'temporary file')} that interrupted commands had left")


def _notes(repository: Repository) -> Iterator[Finding]:
    """Damaged records of git-theta's own that commands need: of open conflicts, and of what was pushed."""
    for error in conflicts.damaged(repository):
        yield Finding("wrong", error.message, error.remedy)
    try:
        pushed.check(repository)
    except ThetaError as error:
        yield Finding("wrong", error.message, error.remedy)


def _attributes(repository: Repository) -> Iterator[Finding]:
    stored = {blob.path for blob, _ in find_manifests(repository, in_index(repository, merged=True))}
    explained: set[str] = set()
    for override in overrides(repository, files(repository)):
        if not override.paths:
            continue
        # Where nothing is stored by git-theta, the line can be meant so.
        level: Level = "wrong" if stored & set(override.paths) else "note"
        yield Finding(level, override.text(), override.remedy())
        explained |= set(override.paths)
    for path in misplaced.strays(repository, sorted(stored - explained)):
        error = misplaced.stray_error(repository, path)
        yield Finding("wrong", error.message, error.remedy)
    paths = [blob.path for blob in in_index(repository, ATTRIBUTED, merged=True)]
    if not paths:
        yield Finding("note", "git-theta tracks no file here yet", 'git theta track "*.safetensors"')
        return
    yield Finding("ok", f"tracked files: {len(paths)}")
    for attribute, wrong in attributes.unfit(repository, paths).items():
        others = [path for path in wrong if path not in explained]
        if others:
            yield Finding(
                "wrong",
                f"{listed(others, _SHOWN)}: the attribute {attribute} is not as git-theta needs it "
                f"({attributes.NEEDED[attribute][0]})",
                f"git theta track {' '.join(operand(attributes.pattern_of(path)) for path in others)}",
            )


def _contents(repository: Repository) -> Iterator[Finding]:
    for blob, kind in misplaced.find(repository, in_index(repository, ATTRIBUTED, merged=True)):
        error = misplaced.error(repository, blob.path, kind)
        yield Finding("wrong", error.message, error.remedy)
    raw = [blob.path for blob in raw_in_index(repository)]
    if raw:
        yield Finding(
            "wrong",
            f"{listed(raw, _SHOWN)}: tracked, but committed as it is",
            f"git add --renormalize {_quoted(raw)}, and commit",
        )


def _data(repository: Repository) -> Iterator[Finding]:
    lacking = {}
    for blob, text in find_manifests(repository, in_index(repository, merged=True)):
        manifest = parsed(text)
        if manifest is None:
            error = misplaced.damage(repository, blob.path, text)
            yield Finding("wrong", error.message, error.remedy)
        elif absent := missing(repository, manifest.oids()):
            lacking[blob.path] = len(absent)
    if lacking:
        yield Finding(
            "wrong", f"objects are missing here, of {listed(list(lacking), _SHOWN)}", "git theta pull"
        )
    if repository.config.settings().skip_smudge:
        yield Finding(
            "note",
            "theta.skipSmudge is true: checkouts write manifests",
            "git config --unset theta.skipSmudge",
        )


_IN_WORK_TREES: Sequence[Callable[[Repository], Iterator[Finding]]] = (_attributes, _contents, _data, _notes)


def _quoted(paths: Sequence[str]) -> str:
    return " ".join(pathspec(path) for path in paths[:_SHOWN]) + (" ..." if len(paths) > _SHOWN else "")
