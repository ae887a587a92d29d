"""git theta doctor --deep: what a team can rely on, in a repository and on its remotes."""

from __future__ import annotations

import shutil

from git_repo import GitRepo

MODEL = "model.safetensors"


def wrong(repo: GitRepo) -> list[str]:
    """What is found to be wrong, and what to type."""
    lines = repo.theta("doctor", "--deep", check=False).stdout.splitlines()
    return [line for line in lines if line.startswith(("wrong", "       type:"))]


def test_all_is_well(history: GitRepo, pushed: GitRepo) -> None:
    done = history.theta("doctor", "--deep")
    assert "manifests: 2, with " in done.stdout
    assert f"remote origin ({pushed.path}) has all " in done.stdout
    assert wrong(history) == []


def test_objects_that_a_remote_has_lost(history: GitRepo, pushed: GitRepo) -> None:
    shutil.rmtree(pushed.path / "theta")
    said = "\n".join(wrong(history))
    assert f"remote origin ({pushed.path}) lacks " in said
    assert f"need, of {MODEL}" in said
    assert history.theta("doctor", "--deep", check=False).returncode == 1
    history.remedy(said, f"git theta push --all {pushed.path}")
    assert wrong(history) == []
    pushed.clone("clone")


def test_each_push_url_is_asked(history: GitRepo, pushed: GitRepo) -> None:
    other = GitRepo(history.path.parent / "other.git")
    history.git("clone", "-q", "--bare", str(pushed.path), str(other.path))
    for url in (pushed.path, other.path):
        history.git("remote", "set-url", "--add", "--push", "origin", str(url))
    (said, remedy) = wrong(history)
    assert f"remote origin ({other.path}) lacks " in said
    history.remedy(remedy, f"git theta push --all {other.path}")
    assert wrong(history) == []


def test_a_damaged_object(history: GitRepo, pushed: GitRepo) -> None:
    path = history.objects()[0]
    data = path.read_bytes()
    path.unlink()  # the remote's is the same file
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    said = "\n".join(wrong(history))
    assert "is damaged" in said
    history.remedy(said, f"rm -f {path}; git theta fetch --all")
    assert wrong(history) == []


def test_a_remote_that_is_gone(history: GitRepo, pushed: GitRepo) -> None:
    pushed.path.rename(pushed.path.with_name("moved.git"))
    assert any("remote origin" in line for line in wrong(history))


def test_outside_of_a_repository(installed: object, tmp_path_factory: object) -> None:
    folder = GitRepo(tmp_path_factory.mktemp("nowhere"))  # type: ignore[attr-defined]
    done = folder.theta("doctor", "--deep", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
