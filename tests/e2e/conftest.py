"""Fixtures of the end-to-end tests: real git, temporary repositories, a home of their own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import adapters
import numpy as np
import pytest
from git_repo import GitRepo, Once, safetensors_bytes, version, weights
from lost_objects import Broken, build
from merge_cases import BASE, COUNTS, OURS, THEIRS, diverge, model

_CONFIG = """\
[user]
	name = A User
	email = user@example.com
[init]
	defaultBranch = main
[protocol "file"]
	allow = always
[advice]
	detachedHead = false
"""


def _isolate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    for name in os.environ:
        if name.startswith(("GIT_", "XDG_", "THETA")):
            monkeypatch.delenv(name)
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv(
        "GIT_PROGRESS_DELAY", "3600"
    )  # else what a busy machine shows on a terminal is another
    (folder / ".gitconfig").write_text(_CONFIG)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an environment in which git sees nothing of this machine's configuration."""
    _isolate(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `repo` and `history` are copies of: made once, because it takes a second or two.

    `home` after `git theta install`; `repo`, which tracks checkpoints; `history`, that with two versions.
    """
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _isolate(folder / "home", monkeypatch)
        repo = GitRepo(folder / "repo")
        repo.path.mkdir()
        repo.git("init", "-q")
        repo.theta("install")
        repo.theta("track", "*.safetensors", "*.pt")
        repo.commit("track checkpoints")
        shutil.copytree(repo.path, folder / "history")
        history = GitRepo(folder / "history")
        history.git("config", "theta.report", "false")
        for number in range(2):
            history.write("model.safetensors", version(number))
            history.write("notes.txt", f"version {number}\n")
            history.commit(f"version {number}")
            history.git("tag", f"v{number}")
        history.git("config", "--unset", "theta.report")
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> GitRepo:
    """An empty repository; git-theta is not installed for it."""
    folder = tmp_path / "repo"
    folder.mkdir()
    repo = GitRepo(folder)
    repo.git("init", "-q")
    return repo


@pytest.fixture
def installed(prepared: Path, home: Path) -> Path:
    """The home of a user who has typed `git theta install`."""
    shutil.copytree(prepared / "home", home, dirs_exist_ok=True)
    config = home / ".gitconfig"
    config.write_text(config.read_text().replace(str(prepared / "home"), str(home)))
    return home


@pytest.fixture
def repo(installed: Path, prepared: Path) -> GitRepo:
    """A repository with git-theta installed, in which *.safetensors and *.pt are tracked and committed."""
    return GitRepo(shutil.copytree(prepared / "repo", installed.parent / "repo"))


@pytest.fixture
def history(installed: Path, prepared: Path) -> GitRepo:
    """Such a repository with two versions of model.safetensors (see git_repo.version) and of notes.txt.

    They have the tags v0 and v1, which is main.
    """
    return GitRepo(shutil.copytree(prepared / "history", installed.parent / "history"))


@pytest.fixture
def remote(repo: GitRepo) -> GitRepo:
    """A bare repository, which is `repo`'s remote `origin`."""
    return repo.add_remote("origin")


@pytest.fixture
def pushed(history: GitRepo) -> GitRepo:
    """A bare repository, `history`'s remote `origin`, to which main and the tags are pushed."""
    bare = history.add_remote("origin")
    history.git("push", "-q", "-u", "origin", "main", "--tags")
    return bare


MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def make_checkpoint(repo: GitRepo) -> MakeCheckpoint:
    """Writes a safetensors file into `repo`: make_checkpoint(name, tensors or seed, metadata)."""

    def make(
        name: str = "model.safetensors",
        tensors: Mapping[str, np.ndarray] | int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        values = weights(tensors) if isinstance(tensors, int) else tensors
        return repo.write(name, safetensors_bytes(values, metadata))

    return make


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def once(repo: GitRepo, kept: Path) -> Once:
    """Makes of `repo` what a function does: by calling it the first time, then by copying what came of it."""

    def made(make: Callable[[GitRepo], object]) -> GitRepo:
        place = kept / f"{make.__module__}.{make.__qualname__}"
        if place.exists():
            shutil.rmtree(repo.path)
            shutil.copytree(place, repo.path)
        else:
            make(repo)
            shutil.copytree(repo.path, place)
        return repo

    return made


@pytest.fixture
def diverged(once: Once) -> GitRepo:
    """The branches main (OURS, checked out) and theirs (THEIRS), and the tag base (BASE)."""
    return once(_diverged)


@pytest.fixture
def counted(once: Once) -> GitRepo:
    """The same branches with integers (COUNTS), to which no change can be applied."""
    return once(_counted)


@pytest.fixture
def conflict(once: Once) -> GitRepo:
    """`diverged` after `git merge theirs` has stopped: `a` and `b` are open, `c` is theirs, `d` ours."""
    return once(_conflict)


@pytest.fixture
def disjoint(once: Once) -> GitRepo:
    """The branches main and theirs: ours has changed `a`, theirs `b` (together merge_cases.BOTH)."""
    return once(_disjoint)


def _diverged(repo: GitRepo) -> None:
    diverge(repo, BASE, OURS, THEIRS)


def _counted(repo: GitRepo) -> None:
    diverge(repo, *COUNTS)


def _conflict(repo: GitRepo) -> None:
    _diverged(repo)
    repo.refused("git", "merge", "theirs")


def _disjoint(repo: GitRepo) -> None:
    diverge(repo, model(a=1, b=2, c=3), model(a=10, b=2, c=3), model(a=1, b=20, c=3))


@pytest.fixture
def no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git takes its messages as it proposes them."""
    monkeypatch.setenv("GIT_EDITOR", ":")


@pytest.fixture
def clone(history: GitRepo, pushed: GitRepo) -> GitRepo:
    """A clone with the objects of both versions of its own: not even hard links."""
    clone = pushed.clone("my clone")
    clone.git("worktree", "add", "-q", "--detach", "../linked", "v1")
    clone.theta("fetch", "--all")
    for path in clone.objects():
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    return clone


@pytest.fixture
def bare_of_objects(history: GitRepo, pushed: GitRepo) -> GitRepo:
    """A clone that has refs and manifests only."""
    clone = GitRepo(history.path.parent / "clone")
    history.git("clone", "-q", str(pushed.path), str(clone.path), GIT_THETA_SKIP_SMUDGE="1")
    assert not clone.objects()
    assert (clone.path / "model.safetensors").read_bytes().startswith(b'{"git-theta":')
    return clone


@pytest.fixture(scope="session")
def built(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `broken` is a copy of."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(prepared / "home"))
        build(folder, prepared / "history")
    return folder


@pytest.fixture
def broken(built: Path, installed: Path, tmp_path: Path) -> Iterator[Broken]:
    """A clone, some of whose objects are lost, on a branch that does not need them."""
    for name in ("origin.git", "clone", "lost"):
        shutil.copytree(built / name, tmp_path / name)
    repo, origin = GitRepo(tmp_path / "clone"), GitRepo(tmp_path / "origin.git")
    repo.git("remote", "set-url", "origin", str(origin.path))
    repo.git("reset", "-q", "--hard")
    repo.git("branch", "-q", "other", "origin/other")
    repo.write("mine.txt", "never added\n")
    yield Broken(repo, origin, tmp_path / "lost")
    assert (repo.path / "mine.txt").read_text() == "never added\n"


@pytest.fixture
def adapted(repo: GitRepo, tmp_path: Path) -> tuple[GitRepo, Path]:
    """A committed base, and a LoRA adapter beside the repository."""
    repo.write("model.safetensors", safetensors_bytes(adapters.model()))
    repo.commit("base")
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(adapters.lora()))
    (folder / "adapter_config.json").write_text(
        json.dumps({"r": adapters.RANK, "lora_alpha": 8, "peft_type": "LORA"})
    )
    return repo, folder / "adapter_model.safetensors"
