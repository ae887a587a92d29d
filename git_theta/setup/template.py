"""The template that gives new repositories their first hooks.

Filters never write hooks, and a clone starts without any. So `git theta install` sets `init.templateDir` to
a copy of git's own template with three hooks more. post-index-change sleeps until git-theta has stored or
written something, and then installs git-theta's hooks. pre-push and post-checkout are hooks proper: they
guard where nothing of ours has run yet, as in a mirror, or in a clone that pushes branches which it never
had checked out. A template of the user's own is left alone.

Most repositories have no checkpoints, so these hooks must not be in the way of others' there. Git LFS
replaces a hook whose first 1,024 bytes are blank, and the pre-commit framework one that names the hash of
its own; both would otherwise complain, or keep it for good. Git runs a script without `#!/bin/sh` with that
shell as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from git_theta import files
from git_theta.errors import cannot_write
from git_theta.setup.configuration import GitConfig
from git_theta.setup.hook_files import TEXTS, WAKING

KEY = "init.templateDir"
_IN_PLACE = ("pre-push", "post-checkout")
_HOOKS = (WAKING, *_IN_PLACE)
_EVERYBODY = 0o755  # may read it: the template can be that of a machine
_STATE = ("HEAD", "config", "objects", "refs")  # what every repository has, whatever its template
_GIVES_WAY = f"{'':1024}\n# 138fd403232d2ddd5efb44317e38bf03 lets pre-commit replace this file.\n".encode()


def folder(scope: str) -> Path:
    """Where the template lies."""
    if scope == "system":
        return Path(sys.prefix) / "share" / "git-theta" / "template"
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "git-theta" / "template"


def install(config: GitConfig) -> str:
    """Set the template up, for the scopes global and system.

    Returns:
        Advice, where the user has a template of their own.
    """
    target = folder(config.scope)
    try:
        _make(target)
    except OSError as error:
        raise cannot_write(target, error) from None
    others = [value for value in config.all(KEY) if value != str(target)]
    if others:
        theirs = Path(others[-1]) / "hooks"
        lacking = [target / "hooks" / name for name in _HOOKS if not (theirs.expanduser() / name).exists()]
        if not lacking:
            return ""
        return (
            f"{KEY} is {others[-1]}; so that new clones get git-theta's hooks by themselves:\n"
            f"  mkdir -p {theirs}; cp {' '.join(map(str, lacking))} {theirs}"
        )
    config.set(KEY, str(target))
    return ""


def uninstall(config: GitConfig) -> None:
    """Undo `install`."""
    target = folder(config.scope)
    config.unset(KEY, str(target))
    with suppress(OSError):
        files.remove_folder(target)
        target.parent.rmdir()


def _make(target: Path) -> None:
    """git's own template, and the hooks."""
    files.make_folder(target.parent)
    with TemporaryDirectory(dir=target.parent, prefix=".template-") as temporary:
        made = Path(temporary) / "template"
        pristine = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        pristine |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": temporary}
        subprocess.run(["git", "init", "-q", "--bare", str(made)], env=pristine, check=True)
        for name in _STATE:
            path = made / name
            files.remove_folder(path) if path.is_dir() else files.remove(path)
        for name in _HOOKS:
            gives_way = _GIVES_WAY if name in _IN_PLACE else b""
            files.replace(made / "hooks" / name, gives_way + (TEXTS / name).read_bytes())
            files.permit(made / "hooks" / name, _EVERYBODY)
        files.permit(made, _EVERYBODY)
        old = Path(temporary) / "old"
        if target.exists():
            files.move(target, old)
        files.move(made, target)
