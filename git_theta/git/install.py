"""`git theta install` and its inverse: configuration, hooks, and the template of new clones."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from git_theta.errors import ThetaError
from git_theta.git import hook_files, setup, template
from git_theta.git.repository import Repository
from git_theta.git.setup import GitConfig


def install(scope: str, commands: Collection[str], force: bool) -> list[str]:
    """Set git up for git-theta.

    Args:
        scope: global, system, local or worktree.
        commands: the commands that there are: only their drivers are set up.
        force: overwrite values that git-theta did not write.

    Returns:
        What to tell the user, in lines.

    Raises:
        ThetaError: something of the user's would be lost, or cannot be written.
    """
    repository = _repository(scope)
    config = GitConfig(repository, scope)
    setup.configure(config, commands, force)
    said = [f"git-theta is set up ({_WHERE[scope]})."]
    if scope in ("global", "system") and (advice := template.install(config)):
        said.append(advice)
    if repository is not None:
        said += hooks_line(hook_files.install(repository))
    return said


def uninstall(scope: str) -> list[str]:
    """Undo `install`, and return what to tell the user."""
    repository = _repository(scope)
    config = GitConfig(repository, scope)
    setup.unconfigure(config)
    if scope in ("global", "system"):
        template.uninstall(config)
    said = [f"git-theta is not set up any more ({_WHERE[scope]})."]
    if repository is not None:
        left = hook_files.uninstall(repository)
        said += [f"{hook_files.look(repository).folder / name} still calls git-theta" for name in left]
    return said


def hooks_line(hooks: hook_files.Hooks) -> list[str]:
    """What to say about hooks after they were installed."""
    chained = [name for name in hooks.ours if (hooks.folder / (name + hook_files.CHAINED)).exists()]
    said = [f"Hooks are in place: {hooks.folder}"] if not hooks.lacking else []
    if chained:
        said.append(f"Hooks that were there run first: {', '.join(chained)}")
    return said + hooks.advice()


def _repository(scope: str) -> Repository | None:
    if scope in ("local", "worktree"):
        return Repository.here()
    with suppress(ThetaError):
        return Repository.here()
    return None


_WHERE = {
    "global": "for all your repositories",
    "system": "for all users of this machine",
    "local": "for this repository",
    "worktree": "for this work tree",
}
