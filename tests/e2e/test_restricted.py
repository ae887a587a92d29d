"""Repositories that cannot be written, and machines without git-theta."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"


def run_read_only(repo: GitRepo, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where nothing of the repository can be written, not even by root."""
    where = shlex.quote(str(repo.path))
    if os.geteuid():
        repo.run("chmod", "-R", "a-w", ".")
        try:
            return repo.run(*command, check=False)
        finally:
            repo.run("chmod", "-R", "u+w", ".")
    mount = f"mount --bind {where} {where} && mount -o remount,ro,bind {where} && cd {where}"
    if repo.run("unshare", "--mount", "sh", "-c", mount, check=False).returncode:
        pytest.skip("root, and the kernel does not allow mounts: nothing is read-only for us")
    return repo.run("unshare", "--mount", "sh", "-c", f"{mount} && {shlex.join(command)}", check=False)


def test_reading_a_read_only_repository(history: GitRepo) -> None:
    os.utime(history.path / MODEL, (1, 1))
    status = run_read_only(history, "git", "status", "--short")
    assert (status.returncode, status.stdout) == (0, "")
    history.write(MODEL, version(0))
    assert run_read_only(history, "git", "status", "--short").stdout == f" M {MODEL}\n"
    shown = run_read_only(history, "git", "diff", "--stat")
    assert shown.returncode == 0
    assert MODEL in shown.stdout
    target = history.path.parent / "elsewhere.tar"
    packed = run_read_only(history, "git", "archive", "-o", str(target), "v1", MODEL)
    assert packed.returncode == 0, packed.stderr
    unpacked = history.run("tar", "-xOf", str(target))
    assert len(unpacked.stdout) > 0
    for command in (["ls-files", "-l"], ["status"], ["fsck"]):
        assert run_read_only(history, "git", "theta", *command).returncode == 0, command


def test_cloning_a_read_only_repository(history: GitRepo) -> None:
    target = history.path.parent / "clone"
    cloned = run_read_only(history, "git", "clone", "-q", str(history.path), str(target))
    assert cloned.returncode == 0, cloned.stderr
    assert GitRepo(target).digest(MODEL) == digest(version(1))


def test_adding_to_a_read_only_repository_fails_and_says_why(history: GitRepo) -> None:
    history.write(MODEL, safetensors_bytes(weights(9)))
    before = history.objects()
    added = run_read_only(history, "git", "add", MODEL)
    assert added.returncode != 0
    assert history.objects() == before
    assert history.status() == [f" M {MODEL}"]
    history.git("add", MODEL)


def test_storing_in_a_read_only_store_names_the_folder(history: GitRepo) -> None:
    """git itself can write, git-theta cannot: the error is ours."""
    history.write(MODEL, safetensors_bytes(weights(9)))
    store = GitRepo(history.path / ".git" / "theta")
    command = ["git", "-C", str(history.path), "add", MODEL]
    added = run_read_only(store, *command)
    assert added.returncode != 0
    assert "cannot write" in added.stderr
    assert str(Path(".git/theta")) in added.stderr
    assert "unexpected" not in added.stderr
    assert history.staged() == []


@pytest.fixture
def path_without_git_theta(tmp_path: Path) -> str:
    """A PATH as on a machine on which git-theta was never installed."""
    folders = [
        folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "git-theta").exists()
    ]
    found = os.pathsep.join(folders)
    if shutil.which("git", path=found) is None:
        pytest.skip("git lies in the same folder as git-theta")
    return found


def test_without_git_theta_nothing_is_stored_raw(history: GitRepo, path_without_git_theta: str) -> None:
    """The settings are there, the program is not: `required` makes every storing command fail."""
    history.write(MODEL, version(0))
    for command in (["add", MODEL], ["commit", "-a", "-m", "raw"], ["stash"]):
        refused = history.git(*command, check=False, PATH=path_without_git_theta)
        assert refused.returncode != 0, command
        assert "git-theta: not found" in refused.stderr.replace("command ", "")
    assert history.digest(MODEL) == digest(version(0))
    assert history.head() == history.head("v1")
    history.git("commit", "-q", "-a", "-m", "with git-theta")


def test_without_git_theta_no_manifest_passes_for_a_model(
    history: GitRepo, path_without_git_theta: str
) -> None:
    refused = history.git("checkout", "v0", check=False, PATH=path_without_git_theta)
    assert refused.returncode != 0
    assert "git-theta: not found" in refused.stderr.replace("command ", "")
    history.git("reset", "-q", "--hard")
    history.git("checkout", "-q", "v0")
    assert history.digest(MODEL) == digest(version(0))


def test_machine_that_knows_nothing_of_git_theta(
    history: GitRepo, pushed: GitRepo, path_without_git_theta: str, home: Path
) -> None:
    """No settings either: git shows the manifest, and stores it again as it is."""
    (home / ".gitconfig").write_text("[user]\n\tname = B\n\temail = b@example.com\n")
    os.environ["PATH"], kept = path_without_git_theta, os.environ["PATH"]
    try:
        clone = pushed.clone("clone")
        assert (clone.path / MODEL).read_bytes() == clone.blob(f"HEAD:{MODEL}")
        assert (clone.path / MODEL).read_text().startswith('{"git-theta":2,"format":"safetensors"')
        assert clone.status() == []
        clone.git("mv", MODEL, "moved.safetensors")
        clone.git("commit", "-q", "-m", "moved without git-theta")
        clone.git("push", "-q", "origin", "HEAD:refs/heads/moved")
    finally:
        os.environ["PATH"] = kept
    clone.theta("install")
    clone.git("checkout", "-q", "main~1")
    clone.git("checkout", "-q", "main")
    assert clone.digest("moved.safetensors") == digest(version(1))


def test_raw_checkpoint_is_reported_before_it_is_pushed(
    repo: GitRepo, remote: GitRepo, path_without_git_theta: str, home: Path
) -> None:
    settings = (home / ".gitconfig").read_text()
    (home / ".gitconfig").write_text("[user]\n\tname = B\n\temail = b@example.com\n")
    repo.write(MODEL, version(0))
    repo.git("add", MODEL, PATH=path_without_git_theta)
    repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "raw", PATH=path_without_git_theta)
    assert repo.blob(f"HEAD:{MODEL}") == version(0)
    (home / ".gitconfig").write_text(settings)
    said = repo.git("push", "--dry-run", "origin", "main").stderr
    assert MODEL in said
    assert "git add --renormalize" in said
    repo.git("add", "--renormalize", ".")
    repo.git("commit", "-q", "--amend", "-m", "converted")
    assert repo.blob(f"HEAD:{MODEL}").startswith(b'{"git-theta":')
    repo.git("push", "-q", "origin", "main")
    assert remote.clone("clone").digest(MODEL) == digest(version(0))
