"""The repository, asked through git: odd names, damaged objects, other repositories."""

from __future__ import annotations

import gc
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from git_theta import manifest as manifests
from git_theta.errors import ThetaError
from git_theta.git.plumbing import literally
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest
from git_theta.versions.recorded import Related, recorded

ODD = [
    "a b",
    "-dash",
    "line\nbreak",
    "ü",
    '"quoted"',
    "x blob",
    "x blob 12",
    "a\\b",
    ":(top)x",
    "*",
    "missing",
]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A User")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "user@example.com")


def git(folder: Path, *arguments: str | bytes) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str = "commit") -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    return folder


@pytest.fixture
def repository(folder: Path) -> Repository:
    return Repository(folder)


def test_where_things_are(folder: Path, repository: Repository) -> None:
    assert repository.git_dir.resolve() == (folder / ".git").resolve()
    assert repository.theta.resolve() == (folder / ".git" / "theta").resolve()
    assert repository.work_tree.resolve() == folder.resolve()
    assert not repository.bare
    repository.close()


@pytest.mark.parametrize("name", ["wörk tree", b"\xff\xfe"])
def test_linked_work_trees_share_the_store(folder: Path, tmp_path: Path, name: str | bytes) -> None:
    (folder / "file").write_text("x")
    commit(folder)
    path = tmp_path / os.fsdecode(name)
    git(folder, "worktree", "add", "-q", "--detach", str(path))
    linked = Repository(path)
    assert linked.theta.resolve() == (folder / ".git" / "theta").resolve()
    assert linked.git_dir.resolve() != linked.common_dir.resolve()
    assert linked.work_tree.resolve() == path.resolve()


def test_a_folder_whose_name_has_a_line_break(tmp_path: Path) -> None:
    folder = tmp_path / "line\nbreak"
    git(tmp_path, "init", "-q", str(folder))
    (folder / "sub").mkdir()
    found = Repository(folder / "sub")
    assert found.git_dir.resolve() == (folder / ".git").resolve()
    assert found.work_tree.resolve() == folder.resolve()


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ThetaError, match="not a git repository"):
        Repository(tmp_path)


def test_blobs_by_odd_names(folder: Path, repository: Repository) -> None:
    for number, name in enumerate(ODD):
        (folder / name).write_text(f"{number}")
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_text("in it")
    commit(folder)
    for number, name in enumerate(ODD):
        assert repository.blob(f"HEAD:{name}") == f"{number}".encode()
        (entry,) = repository.index_entries(literally(name))
        assert (entry.path, entry.stage, entry.mode) == (name, 0, "100644")
        assert repository.blob(entry.oid) == f"{number}".encode()
    names = ["HEAD:folder", "HEAD", "HEAD:none", "none:a b", "HEAD:x  blob 7", "", "HEAD:folder/file"]
    assert repository.blobs(names) == [None] * 6 + [b"in it"]
    assert {entry.path for entry in repository.index_entries()} == {*ODD, "folder/file"}
    repository.close()
    assert repository.blob("HEAD:a b") == b"0", "the helper is started again when it is needed"
    repository.close()


def test_names_that_are_no_utf8(folder: Path, repository: Repository) -> None:
    name = os.fsdecode(b"caf\xe9.pt")
    (folder / name).write_text("x")
    commit(folder)
    assert [entry.path for entry in repository.index_entries(literally(name))] == [name]
    assert repository.blob(f"HEAD:{name}") == b"x"
    repository.close()


def test_a_forgotten_repository_leaves_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = Repository.popen
    monkeypatch.setattr(
        Repository, "popen", lambda *given, **pipes: started.append(popen(*given, **pipes)) or started[-1]
    )
    gc.collect()
    recwarn.clear()  # what tests before have left
    assert Repository(folder).blob("HEAD:none") is None
    gc.collect()
    (process,) = started
    assert process.returncode is not None
    assert process.stdin
    assert process.stdin.closed
    assert not recwarn.list


def test_manifests_of_other_checkpoints_are_read_once(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    blobs = Repository.blobs
    monkeypatch.setattr(
        Repository, "blobs", lambda self, names, most: read.extend(names) or blobs(self, names, most)
    )
    identity = manifests.with_root(Manifest("opaque", 0, "", (), (), "0" * 64, 16))

    def stage(name: str, root: str) -> str:
        (folder / name).write_bytes(manifests.write(replace(identity, size=int(root))))
        git(folder, "-c", "filter.theta.clean=cat", "-c", "filter.theta.process=", "add", name)
        return git(folder, "rev-parse", f":{name}").strip()

    (folder / ".gitattributes").write_text("*.pt filter=theta\n")
    first = stage("a.pt", "0")
    related = Related(repository, "HEAD:base")
    related()
    assert read == ["HEAD:base", first]
    read.clear()
    second = stage("b.pt", "1")
    related()
    assert read == ["HEAD:base", second], "what is named by a revision can be another one by now"


def test_large_blobs_are_passed_over(folder: Path, repository: Repository) -> None:
    (folder / "large").write_bytes(bytes(3 << 20))
    (folder / "small").write_bytes(b"small")
    commit(folder)
    assert repository.blobs(["HEAD:large", "HEAD:small"], 1000) == [None, b"small"]
    assert repository.blobs(["HEAD:small"], 5) == [b"small"]
    assert repository.blobs(["HEAD:small"], 4) == [None]
    repository.close()


def test_a_damaged_object_of_git_does_not_stop_the_others(folder: Path, repository: Repository) -> None:
    (folder / "damaged").write_text("damaged")
    (folder / "whole").write_text("whole")
    commit(folder)
    oid = git(folder, "rev-parse", "HEAD:damaged")
    path = folder / ".git" / "objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"not an object")
    assert repository.blobs(["HEAD:whole", "HEAD:damaged", "HEAD:whole"]) == [b"whole", None, b"whole"]
    repository.close()


def test_threads_ask_in_turn(folder: Path, repository: Repository) -> None:
    for number in range(8):
        (folder / str(number)).write_text(str(number) * 10_000)
    commit(folder)
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            if repository.blob(f"HEAD:{number}") != (str(number) * 10_000).encode():
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repository.close()
    assert not wrong


def test_the_index_is_read_anew_each_time(folder: Path, repository: Repository) -> None:
    assert repository.index_entries(literally("file")) == []
    for text in ("one", "two"):
        (folder / "file").write_text(text)
        git(folder, "add", "file")
        (entry,) = repository.index_entries(literally("file"))
        assert repository.blob(entry.oid) == text.encode()
    repository.close()


def test_conflicts_have_stages(folder: Path, repository: Repository) -> None:
    (folder / "file").write_text("base")
    commit(folder)
    git(folder, "checkout", "-q", "-b", "side")
    (folder / "file").write_text("theirs")
    commit(folder)
    git(folder, "checkout", "-q", "main")
    (folder / "file").write_text("ours")
    commit(folder)
    subprocess.run(["git", "merge", "side"], cwd=folder, capture_output=True, check=False)
    found = {entry.stage: repository.blob(entry.oid) for entry in repository.index_entries(literally("file"))}
    assert found == {1: b"base", 2: b"ours", 3: b"theirs"}
    repository.close()


def test_git_must_not_read_what_is_meant_for_us(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our standard input is a pipe that git talks to us through."""
    read, write = os.pipe()
    os.write(write, b"for us")
    kept = os.dup(0)
    os.dup2(read, 0)
    try:
        assert Repository(folder).git("hash-object", "--stdin").startswith(b"e69de29bb2d1d643"), "nothing"
        assert os.read(0, 100) == b"for us"
    finally:
        os.dup2(kept, 0)
        for descriptor in (read, write, kept):
            os.close(descriptor)


def test_what_git_says_is_in_the_error(repository: Repository) -> None:
    with pytest.raises(ThetaError, match="git rev-parse --verify nothing failed: fatal"):
        repository.git("rev-parse", "--verify", "nothing")
    assert repository.git("rev-parse", "--verify", "nothing", check=False) == b""


def test_without_git(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ThetaError, match="git is not installed") as caught:
        repository.git("status")
    assert "install Git" in caught.value.remedy


def test_borrowed_stores_are_found_through_borrowed_stores(folder: Path, tmp_path: Path) -> None:
    (folder / "file").write_text("x")
    commit(folder)
    git(tmp_path, "clone", "-q", "--shared", str(folder), "first")
    git(tmp_path, "clone", "-q", "--shared", "first", "second")
    oid = "ab" * 32
    place = folder / ".git" / "theta" / "objects" / "ab" / "ab" / oid
    place.parent.mkdir(parents=True)
    place.write_bytes(b"object")
    for name in ("first", "second"):
        found = Repository(tmp_path / name).store.find(oid)
        assert found is not None
        assert found.resolve() == place.resolve()
    circle = tmp_path / "first" / ".git" / "objects" / "info" / "alternates"
    circle.write_text(f"# comment\n\n{tmp_path}/first/.git/objects\n{tmp_path}/gone/.git/objects\n")
    assert Repository(tmp_path / "first").store.find(oid) is None


def test_another_repository_is_asked_without_what_git_set_for_this_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert Repository.elsewhere(other).git_dir.resolve() == (other / ".git").resolve()
    assert Repository.with_git_dir(other / ".git").git_dir.resolve() == (other / ".git").resolve()


def test_recorded_manifests_of_nothing(folder: Path, repository: Repository, tmp_path: Path) -> None:
    for name in ("model.pt", "a\nb", "-x", "folder/"):
        assert recorded(repository, name) == []
    assert Related(repository, "")() == []
    (folder / "model.pt").write_bytes(b'{"git-theta":1, damaged')
    (folder / ".gitattributes").write_text("*.pt filter=theta\n")
    git(folder, "-c", "filter.theta.required=false", "add", ".")
    assert recorded(repository, "model.pt") == [], "what does not parse is not believed"
    assert Related(repository, "HEAD:nothing")() == []
    repository.close()
    git(tmp_path, "clone", "-q", "--bare", str(folder), "bare")
    bare = Repository(tmp_path / "bare")
    assert bare.bare
    assert recorded(bare, "model.pt") == []
    bare.close()
