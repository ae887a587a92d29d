"""Runs a hook: the one that was there before, then git-theta's own part."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from git_theta import search_path
from git_theta.errors import ThetaError
from git_theta.git.repository import Repository
from git_theta.setup import hook_files
from git_theta.terminal import interrupts
from git_theta.terminal.showing import Say

_NESTED = "GIT_THETA_HOOK"
_LFS_HOOKS = ("pre-push", "post-checkout", "post-commit", "post-merge")
_READ_INPUT = ("pre-push", "pre-receive")
_SHELL = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+)?((?:ba|da|z|k)?sh)((?:\s+-\S+)*)\s*\n")


def run(name: str, script: str, arguments: Sequence[str], say: Say) -> int:
    """Run the hook `name`, and return its exit code.

    Args:
        script: the file that git has started; empty where a line in a hook of the user's calls us.
        arguments: as git gives them to the hook.
        say: shows a line to the user.

    Raises:
        ThetaError: git must not go on.
    """
    given = sys.stdin.buffer.read() if name in _READ_INPUT else None
    repository = Repository.here()
    call = _fingerprint(repository, name, arguments, given)
    if os.environ.get(_NESTED) == call:
        return 0  # the hook that was there before calls us too
    code = _run_others(repository, name, script, arguments, given, call)
    if name.startswith("post-"):
        try:
            _OWN[name](repository, arguments, b"", say)
        except ThetaError as error:
            say(f"git-theta: {error}")
        return code
    if code == 0:
        _OWN[name](repository, arguments, given or b"", say)
    return code


def _check(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.commit_check import check_commit

    check_commit(repository)


def _prepare_message(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.commit_check import staged
    from git_theta.merging import provenance

    _check(repository, arguments, given, say)
    for line in provenance.damaged(repository, lambda: [entry.path for entry in staged(repository)]):
        say(f"git-theta: {line}")
    if arguments:
        provenance.complete(repository, Path(arguments[0]))


def _check_patch(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.commit_check import check_commit
    from git_theta.git.operation import how_to_finish

    try:
        check_commit(repository)
    except ThetaError as error:
        error.remedy += f"\n  then: {how_to_finish(repository)}"
        raise


def _push(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.pre_push import pre_push

    remote, url = [*arguments, "", ""][:2]
    pre_push(repository, remote, url, os.fsdecode(given), say)


def _report(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.commit_report import after_commit
    from git_theta.merging.records import forget_void

    forget_void(repository)  # while there is one, each commit has to look
    for line in after_commit(repository):
        say(line)


def _receive(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.pre_receive import pre_receive

    pre_receive(repository, os.fsdecode(given))


def _look_at_checkout(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.unfiltered import check

    before, after = [*arguments, "", ""][:2]
    check(repository, before, after)


def _report_merge(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    from git_theta.drivers.commit_report import after_merge
    from git_theta.drivers.unfiltered import check
    from git_theta.merging.records import forget_void

    for line in after_merge(repository):
        say(line)
    forget_void(repository)
    if arguments[:1] != ["1"]:  # a squash, which has not moved HEAD
        check(repository, "ORIG_HEAD", "HEAD")


def _complete_clone(repository: Repository, arguments: Sequence[str], given: bytes, say: Say) -> None:
    for line in hook_files.install(repository).advice():
        say(f"git-theta: {line}")


_OWN: Mapping[str, Callable[[Repository, Sequence[str], bytes, Say], None]] = {
    "pre-commit": _check,
    "pre-merge-commit": _check,
    "prepare-commit-msg": _prepare_message,
    "pre-applypatch": _check_patch,
    "pre-push": _push,
    "pre-receive": _receive,
    "post-checkout": _look_at_checkout,
    "post-commit": _report,
    "post-merge": _report_merge,
    "post-index-change": _complete_clone,
}
NAMES = tuple(_OWN)


def _fingerprint(repository: Repository, name: str, arguments: Sequence[str], given: bytes | None) -> str:
    """Identifies one run of a hook, so that the same hook run again inside of it is told from another one."""
    git_dir = str(repository.git_dir.resolve())
    return sha256(json.dumps([name, git_dir, *arguments]).encode() + (given or b"")).hexdigest()


def _run_others(
    repository: Repository, name: str, script: str, arguments: Sequence[str], given: bytes | None, call: str
) -> int:
    """Run the hook that was there before ours; if none was, the one that Git LFS could not install."""
    chained = Path(script).with_name(name + hook_files.CHAINED) if script else None
    if chained is None or _runs_us(chained, script, name):
        return 0
    before: Mapping[str, str] = {}
    if os.access(chained, os.X_OK):
        command, before = [*_start(chained, script, name), *arguments], search_path.BEFORE
    elif name in _LFS_HOOKS and shutil.which("git-lfs") and (repository.common_dir / "lfs").is_dir():
        command = ["git", "lfs", name, *arguments]
    else:
        return 0
    with interrupts.held_back():  # it may have hidden changes, and be about to bring them back
        return subprocess.run(command, input=given, env={**os.environ, **before, _NESTED: call}).returncode


def _runs_us(chained: Path, script: str, name: str) -> bool:
    """Whether the hook to run next is what runs us: a tool has moved our script aside, and calls it."""
    current = Path(script).with_name(name)
    if Path(script).name == name or not chained.exists() or not current.exists():
        return False
    return current.read_bytes() == chained.read_bytes()


def _start(chained: Path, script: str, name: str) -> list[str]:
    """The command line of a hook that was moved aside.

    Shell scripts find the name in $0 that they had, because some (husky's) look at it.
    """
    original = str(chained)[: -len(hook_files.CHAINED)]
    with chained.open("rb") as file:
        shell = _SHELL.match(file.readline())
    if shell is None:
        return [str(chained)]
    options = os.fsdecode(shell.group(2)).split()
    return [os.fsdecode(shell.group(1)), *options, "-c", f'. "$0{hook_files.CHAINED}"', original]
