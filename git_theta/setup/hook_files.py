"""git-theta's hooks in a repository: which are in place; installing them beside other tools'; removing them.

A hook that is there already is never lost: it is kept as NAME.theta-chained, runs before ours, and comes back
on removal. A folder of hooks in the work tree, which others can share, is not written to.

What comes from the template of new repositories (see template) counts as ours; `install` replaces it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from git_theta import files
from git_theta.errors import ThetaError, cannot_write
from git_theta.git.repository import Repository
from git_theta.regular import open_regular
from git_theta.terminal.showing import Say

HOOKS = (
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "pre-applypatch",
    "pre-push",
    "post-checkout",
    "post-commit",
    "post-merge",
)
ON_SERVERS = ("pre-receive",)
"""In repositories that others push to, where they are asked for."""
WAKING = "post-index-change"
"""Of the template: it installs the others where git-theta has stored or written something."""
CHAINED = ".theta-chained"
TEXTS = Path(__file__).parent.parent / "hooks"
"""The scripts; beside the package in the source tree, inside of it in a wheel."""

_OURS = b"# git-theta hook"
LEFT_BEHIND = "this repository has no hooks of git-theta: git push would leave data behind"
_HUSKY = "_"  # husky's own folder below the one that its user writes hooks in
_READ = 1 << 16
_EXECUTABLE = 0o777  # but for what the umask says


@dataclass(frozen=True)
class Hooks:
    """The hooks of a repository.

    Attributes:
        names: those that are asked about.
        folder: where git looks for them.
        ours: names of hooks that are git-theta's script.
        called: names of other hooks that call git-theta.
        foreign: names of other hooks.
        shared: why git-theta does not write to the folder, of which that goes on to tell; "" where it does.
        disabled: whether `folder` cannot be one: core.hooksPath=/dev/null.
    """

    names: tuple[str, ...]
    folder: Path
    ours: tuple[str, ...]
    called: tuple[str, ...]
    foreign: tuple[str, ...]
    shared: str
    disabled: bool

    @property
    def lacking(self) -> tuple[str, ...]:
        """The hooks that do not call git-theta."""
        return tuple(name for name in self.names if name not in self.ours + self.called)

    @property
    def problem(self) -> str:
        """What is wrong with that, in a sentence; empty if all is well."""
        if "pre-push" in self.lacking:
            return LEFT_BEHIND
        return "not all of git-theta's hooks are in place" if self.lacking else ""

    def advice(self) -> list[str]:
        """What the user has to do by hand, in lines; nothing where git-theta can do it."""
        if self.disabled and self.lacking:
            return [
                f"{self.folder} is no folder, so no hooks run; before each git push, type: git theta push"
            ]
        husky = is_husky(self.folder)
        names = [name for name in self.names if name not in self.called] if husky else self.lacking
        if not names or not (husky or self.shared):
            return []
        folder = self.folder.parent if husky else self.folder
        why = "husky writes its own folder anew with each npm install" if husky else f"it {self.shared}"
        lines = [f"git-theta does not change the hooks in {folder} ({why}); add these lines there:"]
        return lines + [f'  {folder / name}:  git theta hook {name} "$@"' for name in names]


def is_husky(folder: Path) -> bool:
    """Whether husky manages this folder: it writes it anew with every npm install."""
    return folder.name == _HUSKY and ((folder / "h").exists() or (folder / "husky.sh").exists())


def look(repository: Repository, names: tuple[str, ...] = HOOKS) -> Hooks:
    """The state of a repository's hooks."""
    folder = _folder(repository)
    kinds = {name: _kind(folder, name) for name in names}
    disabled = folder.exists() and not folder.is_dir()
    return Hooks(
        names,
        folder,
        ours=tuple(name for name in names if kinds[name] == "ours"),
        called=tuple(name for name in names if kinds[name] == "called"),
        foreign=tuple(name for name in names if kinds[name] == "foreign"),
        shared="" if disabled else _shared(repository, folder),
        disabled=disabled,
    )


def warning(repository: Repository) -> str:
    """For a repository whose pushes would leave objects behind: that, and what to type. Else empty."""
    folder = _folder(repository)
    if _kind(folder, "pre-push") in ("ours", "called") or _kind(folder, WAKING) == "ours":
        return ""
    return f"{LEFT_BEHIND}\n  git theta install"


def install(repository: Repository, names: tuple[str, ...] = HOOKS) -> Hooks:
    """Put the hooks in place, and return how they are then.

    Everything is checked before anything is written.

    Raises:
        ThetaError: the folder cannot be written, or a hook would be lost.
    """
    hooks = look(repository, names)
    if hooks.disabled or hooks.shared:
        return hooks
    folder = hooks.folder
    for name in hooks.lacking:
        _check_room(folder, name)
    try:
        for name in (*hooks.lacking, *hooks.ours):
            text = (TEXTS / name).read_bytes()
            target = folder / name
            if name in hooks.ours and target.read_bytes() == text:
                continue
            if name in hooks.foreign:
                files.name_too(target, folder / (name + CHAINED))
            files.replace(target, text, _EXECUTABLE)
        if names == HOOKS and _kind(folder, WAKING) == "ours":
            files.remove(folder / WAKING)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return look(repository, names)


def complete(repository: Repository, say: Say) -> None:
    """A repository that was made without git-theta's template gets its hooks with the first command."""
    if warning(repository):
        hooks = install(repository)
        say(LEFT_BEHIND + ("" if hooks.lacking else "; it has them now"))
        for line in hooks.advice():
            say(line)


def uninstall(repository: Repository, names: tuple[str, ...] = (*HOOKS, *ON_SERVERS, WAKING)) -> list[str]:
    """Remove git-theta's hooks and put back those that were there before.

    Returns:
        Names of hooks that still call git-theta, because someone else wrote them.
    """
    hooks = look(repository, names)
    for name in hooks.ours:
        path, chained = hooks.folder / name, hooks.folder / (name + CHAINED)
        try:
            if chained.exists():
                files.move(chained, path)
            else:
                files.remove(path)
        except OSError as error:
            raise cannot_write(hooks.folder, error) from None
    return list(hooks.called)


def _folder(repository: Repository) -> Path:
    configured = repository.config.get("core.hooksPath")
    if not configured:
        return repository.common_dir / "hooks"
    top = repository.git_dir if repository.bare else repository.work_tree
    return top / Path(configured).expanduser()


def _kind(folder: Path, name: str) -> str:
    text = _text(folder / name)
    if text is None:
        return ""
    if _OURS in text:
        return "ours"
    callers = [text]
    if is_husky(folder):
        callers.append(_text(folder.parent / name) or b"")
    call = re.compile(rb"^[^#\n]*\bgit[ -]theta hook\b.*\b" + name.encode() + rb"\b", re.MULTILINE)
    if any(call.search(caller) for caller in callers):
        return "called"
    # The pre-commit framework moves ours aside, and runs it.
    moved = b"pre-commit" in text and _OURS in (_text(folder / f"{name}.legacy") or b"")
    return "called" if moved else "foreign"


def _text(path: Path) -> bytes | None:
    """The beginning of a file; None if there is none."""
    try:
        with open(open_regular(path, follow=True), "rb") as file:
            return file.read(_READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return b""


def _shared(repository: Repository, folder: Path) -> str:
    """Why a folder is not git-theta's to write to; "" where it is.

    What is in the work tree comes with the repository, or goes with it. So does a link there, wherever it
    leads, and what is beyond it can be anybody's.
    """
    if repository.bare:
        return ""
    ours = folder.absolute().is_relative_to(repository.common_dir.absolute())
    if not ours and files.is_beyond_link(folder, repository.work_tree):
        return "is reached by a symbolic link of the work tree"
    resolved = folder.resolve()
    inside = resolved.is_relative_to(repository.work_tree.resolve())
    if not inside or resolved.is_relative_to(repository.common_dir.resolve()):
        return ""
    ignored = repository.run("check-ignore", "-q", "--", str(resolved / HOOKS[0])).returncode == 0
    return "" if ignored else "is in the work tree, and git does not ignore it"


def _check_room(folder: Path, name: str) -> None:
    """Refuse to put a hook aside where one is kept already."""
    there, kept = _text(folder / name), _text(folder / (name + CHAINED))
    if there is not None and kept is not None and there != kept:
        raise ThetaError(
            f"cannot install {folder / name}: there is a hook of that name, and {name}{CHAINED} beside it",
            "put what both should do into one of them, remove the other, then: git theta install",
        )
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        raise ThetaError(f"cannot write hooks to {folder}: permission denied", f"chmod u+w {place}")
