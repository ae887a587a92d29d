"""What a killed push leaves in a remote goes with the next command there; what a live one writes stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_repo import GitRepo, safetensors_bytes, version, weights

MODEL = "model.safetensors"
_PUSH = """
import sys
from pathlib import Path
from git_theta.objects.store import LocalStore
from git_theta.files import beside
with LocalStore(Path(sys.argv[1])).write() as (file, keep):
    file.write(b"half of an object")
    beside(Path(file.name)).write_bytes(b"half of another")
    print(file.name, flush=True)
    sys.stdin.read()
"""


def push(bare: GitRepo) -> subprocess.Popen[str]:
    """A push that is about to bring an object."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = subprocess.Popen([sys.executable, "-c", _PUSH, str(bare.path / "theta")], text=True, **pipes)
    assert started.stdout is not None
    assert Path(started.stdout.readline().strip()).exists()
    return started


def files(bare: GitRepo) -> int:
    return len(list((bare.path / "theta" / "tmp").iterdir()))


@pytest.fixture
def live(pushed: GitRepo) -> Iterator[subprocess.Popen[str]]:
    with push(pushed) as process:
        yield process
        process.kill()


def test_only_what_a_dead_push_has_left_is_removed(
    history: GitRepo, pushed: GitRepo, live: subprocess.Popen[str]
) -> None:
    history.write(MODEL, version(0))
    history.commit("once more")
    history.git("push", "-q", "origin", "main")
    pushed.theta("fsck")
    assert files(pushed) == 2
    live.kill()
    live.wait()
    said = pushed.theta("doctor", check=False).stdout
    assert "removed 2 temporary files" in said
    assert files(pushed) == 0


def test_any_command_that_comes_by_tidies_up(history: GitRepo, pushed: GitRepo) -> None:
    clone = pushed.clone("clone")
    history.write(MODEL, safetensors_bytes(weights(7, 1, (4, 4))))
    history.commit("another")
    for repo, command in ((pushed, ("theta", "fsck")), (history, ("push", "-q")), (clone, ("pull", "-q"))):
        with push(pushed) as dead:
            dead.kill()
        assert files(pushed) == 2
        repo.git(*command)
        assert files(pushed) == 0, command
    assert clone.digest(MODEL) == history.digest(MODEL)
