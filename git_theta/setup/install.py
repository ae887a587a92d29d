"""`git theta install` and its inverse: configuration, hooks, and the template of new clones."""

from __future__ import annotations

from collections.abc import Collection

from git_theta.errors import ThetaError
from git_theta.git import version
from git_theta.git.repository import Repository
from git_theta.setup import configuration, hook_files, template
from git_theta.setup.configuration import GitConfig
from git_theta.terminal.showing import word


def install(scope: str, commands: Collection[str], force: bool) -> list[str]:
    """Set git up for git-theta.

    Args:
        scope: global, system, local or worktree.
        commands: the commands that there are: only their drivers are set up.
        force: overwrite values that git-theta did not write.

    Returns:
        What to tell the user, in lines.

    Raises:
        ThetaError: git is too old, something of the user's would be lost, or cannot be written.
    """
    version.check()
    repository = _repository(scope)
    config = GitConfig(repository, scope)
    configuration.configure(config, commands, force)
    said = [f"git-theta is set up ({_WHERE[scope]})."]
    if scope in ("global", "system") and (advice := template.install(config)):
        said.append(advice)
    if repository is not None:
        said += hooks_line(hook_files.install(repository))
    return said


def install_on_server() -> list[str]:
    """Let the repository here refuse refs whose objects it lacks, and return what to tell the user.

    Raises:
        ThetaError: the hook that does so cannot be written.
    """
    repository = Repository.here()
    hooks = hook_files.install(repository, hook_files.ON_SERVERS)
    (name,) = hook_files.ON_SERVERS
    if hooks.lacking:
        why = "is no folder" if hooks.disabled else hooks.shared
        raise ThetaError(
            f"{hooks.folder}, where git looks for hooks, {why}, so {name} cannot be installed there",
            f'add this line to {name} there: git theta hook {name} "$@"; '
            "or use the repository's own folder: git config --local core.hooksPath "
            + word(str(repository.common_dir.absolute() / "hooks")),
        )
    said = [f"Refs whose objects are not here are refused from now on: {hooks.folder / name}"]
    return said + _chained(hooks)


def uninstall_on_server() -> list[str]:
    """Undo `install_on_server`."""
    repository = Repository.here()
    left = hook_files.uninstall(repository, hook_files.ON_SERVERS)
    return _left(repository, left) or ["Refs are not checked any more."]


def uninstall(scope: str) -> list[str]:
    """Undo `install`, and return what to tell the user."""
    repository = _repository(scope)
    config = GitConfig(repository, scope)
    configuration.unconfigure(config)
    if scope in ("global", "system"):
        template.uninstall(config)
    said = [f"git-theta is not set up any more ({_WHERE[scope]})."]
    if repository is not None:
        said += _left(repository, hook_files.uninstall(repository))
    return said


def hooks_line(hooks: hook_files.Hooks) -> list[str]:
    """What to say about hooks after they were installed."""
    said = [f"Hooks are in place: {hooks.folder}"] if not hooks.lacking else []
    return said + _chained(hooks) + hooks.advice()


def _chained(hooks: hook_files.Hooks) -> list[str]:
    chained = [name for name in hooks.ours if (hooks.folder / (name + hook_files.CHAINED)).exists()]
    return [f"Hooks that were there run first: {', '.join(chained)}"] if chained else []


def _left(repository: Repository, names: Collection[str]) -> list[str]:
    return [f"{hook_files.look(repository).folder / name} still calls git-theta" for name in names]


def _repository(scope: str) -> Repository | None:
    return Repository.here() if scope in ("local", "worktree") else Repository.here_if_any()


_WHERE = {
    "global": "for all your repositories",
    "system": "for all users of this machine",
    "local": "for this repository",
    "worktree": "for this work tree",
}
