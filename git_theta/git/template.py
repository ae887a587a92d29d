"""The template that gives new clones their hooks.

Filters never write hooks, and a clone starts without any. So `git theta install` sets `init.templateDir` to
a copy of git's own template with one hook more: post-index-change. It runs at the clone's first checkout,
removes itself and, if there are checkpoints, installs git-theta's hooks. A template of the user's own is
left alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from git_theta.errors import cannot_write
from git_theta.git.hook_files import TEXTS
from git_theta.git.setup import GitConfig

KEY = "init.templateDir"
HOOK = "post-index-change"
_STATE = ("HEAD", "config", "objects", "refs")  # what every repository has, whatever its template


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
    others = [value for value in config.all(KEY) if value != str(target)]
    if others:
        hook = Path(others[-1]) / "hooks" / HOOK
        if hook.expanduser().exists():
            return ""
        return (
            f"{KEY} is {others[-1]}; so that new clones get git-theta's hooks by themselves: "
            f"cp {TEXTS / HOOK} {hook}"
        )
    try:
        _make(target)
    except OSError as error:
        raise cannot_write(target, error) from None
    config.set(KEY, str(target))
    return ""


def uninstall(config: GitConfig) -> None:
    """Undo `install`."""
    target = folder(config.scope)
    config.unset(KEY, str(target))
    shutil.rmtree(target, ignore_errors=True)
    with suppress(OSError):
        target.parent.rmdir()


def _make(target: Path) -> None:
    """git's own template, and the hook."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".template-") as temporary:
        made = Path(temporary) / "template"
        pristine = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        pristine |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "HOME": temporary}
        subprocess.run(["git", "init", "-q", "--bare", str(made)], env=pristine, check=True)
        for name in _STATE:
            path = made / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (made / "hooks").mkdir(exist_ok=True)
        shutil.copy(TEXTS / HOOK, made / "hooks" / HOOK)
        (made / "hooks" / HOOK).chmod(0o755)
        made.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        made.replace(target)
