"""Full disks, killed filters, two processes at once: nothing is lost, nothing half-written is found."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, does, safetensors_bytes, version, weights
from merge_cases import diverge

MODEL = "model.safetensors"


def check_objects(repo: GitRepo) -> None:
    """Whatever has a final name is whole."""
    for path in repo.objects():
        assert sha256(path.read_bytes()).hexdigest() == path.name


def temporary_files(repo: GitRepo) -> list[Path]:
    return list((repo.path / ".git" / "theta" / "tmp").glob("*"))


def check_full_disk(repo: GitRepo, failed: subprocess.CompletedProcess[str], data: bytes) -> None:
    assert failed.returncode != 0
    assert f"git-theta: {MODEL}: " in failed.stderr
    assert "cannot write" in failed.stderr
    assert "did not expect" not in failed.stderr
    assert repo.digest(MODEL) == digest(data)
    check_objects(repo)
    assert temporary_files(repo) == []
    repo.theta("fsck")
    repo.git("add", MODEL)
    assert repo.staged() == [MODEL]
    repo.git("commit", "-q", "-m", "when there is room again")
    (repo.path / MODEL).unlink()
    repo.git("checkout", "--", MODEL)
    assert repo.digest(MODEL) == digest(data)


def test_full_disk(history: GitRepo) -> None:
    """The store lies on a file system that is too small for the new version."""
    data = safetensors_bytes(weights(20))
    history.write(MODEL, data)
    store = shlex.quote(str(history.path / ".git" / "theta"))
    full = (
        f"mv {store} {store}.kept && mkdir {store} && mount -t tmpfs -o size=600k tmpfs {store} && "
        f"cp -a {store}.kept/. {store} && cd {shlex.quote(str(history.path))} && git add {MODEL}; code=$?; "
        f"cp -a {store}/. {store}.kept; umount {store}; rmdir {store}; mv {store}.kept {store}; exit $code"
    )
    if history.run("unshare", "--mount", "true", check=False).returncode:
        pytest.skip("mounting needs root")
    check_full_disk(history, history.run("unshare", "--mount", "sh", "-c", full, check=False), data)


def test_limit_of_file_size(history: GitRepo) -> None:
    """Writing fails in the middle of an object; also without root."""
    data = safetensors_bytes(weights(20))
    history.write(MODEL, data)
    failed = history.run("sh", "-c", f"ulimit -f 64; exec git add {MODEL}", check=False)
    check_full_disk(history, failed, data)


def filter_of(add: subprocess.Popen[bytes]) -> int:
    """The filter process that a git add has started, perhaps through a shell; 0 while there is none."""
    parents, filters = {}, []
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        parents[folder.name] = fields[1]
        if b"filter-process" in arguments and not arguments[0].endswith(b"sh"):
            filters.append(folder.name)
    for number in filters:
        above = parents[number]
        if str(add.pid) in (above, parents.get(above)):
            return int(number)
    return 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the filter is found through /proc")
def test_filter_is_killed_at_random_moments(repo: GitRepo) -> None:
    moments = random.Random(20)
    tensors = weights(30, count=12, shape=(256, 512))
    repo.write(MODEL, safetensors_bytes(tensors))
    started = time.monotonic()
    repo.git("add", MODEL)
    duration = time.monotonic() - started
    repo.git("commit", "-q", "-m", "first")
    killed = 0
    for number in range(20):
        data = safetensors_bytes(changed(tensors, seed=100 + number))
        repo.write(MODEL, data)
        add = subprocess.Popen(["git", "add", MODEL], cwd=repo.path, stderr=subprocess.DEVNULL)
        victim = 0
        while not victim and add.poll() is None:
            victim = filter_of(add)
        time.sleep(moments.uniform(0, duration) if number else 0)  # the first one dies at once
        if victim and add.poll() is None:
            os.kill(victim, signal.SIGKILL)
            killed += add.wait() != 0
        else:
            assert add.wait() == 0
        assert repo.digest(MODEL) == digest(data)
        check_objects(repo)
    assert killed
    repo.theta("fsck")
    repo.git("add", MODEL)
    assert temporary_files(repo) == []
    repo.git("commit", "-q", "-m", "after all that")
    repo.theta("fsck")
    (repo.path / MODEL).unlink()
    repo.git("checkout", "--", MODEL)
    assert repo.digest(MODEL) == digest(data)


@pytest.mark.parametrize("same", [True, False], ids=["same model", "two models"])
def test_two_adds_at_once_in_two_work_trees(history: GitRepo, same: bool) -> None:
    history.git("worktree", "add", "-q", "-b", "second", "../linked", "v1")
    linked = GitRepo(history.path.parent / "linked")
    models = [safetensors_bytes(weights(seed, shape=(512, 256))) for seed in (40, 40 if same else 41)]
    trees = (history, linked)
    for tree, data in zip(trees, models, strict=True):
        tree.write(MODEL, data)
    adds = [subprocess.Popen(["git", "add", MODEL], cwd=tree.path) for tree in trees]
    assert [add.wait() for add in adds] == [0, 0]
    check_objects(history)
    assert temporary_files(history) == []
    for tree, data in zip(trees, models, strict=True):
        tree.git("commit", "-q", "-m", "at once")
        (tree.path / MODEL).unlink()
        tree.git("checkout", "--", MODEL)
        assert tree.digest(MODEL) == digest(data)
    history.theta("fsck")


def test_full_disk_while_a_file_is_written_back(history: GitRepo) -> None:
    """git itself has no room for the file: its error, and another checkout later gives the file."""
    if history.run("unshare", "--mount", "true", check=False).returncode:
        pytest.skip("mounting needs root")
    where = shlex.quote(str(history.path))
    command = (
        f"cp -a {where}/.git {where}.git && mkdir {where}.tree && "
        f"mount -t tmpfs -o size=100k tmpfs {where}.tree && "
        f"git --git-dir={where}.git --work-tree={where}.tree checkout -f v0 -- {MODEL}"
    )
    failed = history.run("unshare", "--mount", "sh", "-c", command, check=False)
    assert failed.returncode != 0
    assert "did not expect" not in failed.stderr
    history.git("checkout", "-q", "v0")
    assert history.digest(MODEL) == digest(version(0))


def test_too_little_memory_for_a_merge(repo: GitRepo) -> None:
    """A gigabyte of addresses holds torch and its threads, but not what larger tensors are merged in."""
    pytest.importorskip("torch")
    diverge(repo, *(safetensors_bytes(weights(seed, 1, (8192, 4096))) for seed in (0, 1, 2)))
    before = repo.digest(MODEL)
    merge = "ulimit -v 1048576; git theta merge theirs --strategy ties -m merged"
    done = repo.run("bash", "-c", merge, check=False)
    assert done.returncode == 1
    does(done.stderr, "close other programs, and try again")
    assert "not enough memory" in done.stderr
    assert repo.digest(MODEL) == before
    assert repo.status() == []
    repo.git("theta", "merge", "theirs", "--strategy", "ties", "-m", "merged")
    assert repo.git("log", "-1", "--format=%s").stdout.strip() == "merged"
