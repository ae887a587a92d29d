"""Objects that are nowhere: what is new is refused, what the remote's refs reach already is only said."""

from __future__ import annotations

import pytest
from git_repo import GitRepo, does, safetensors_bytes, version, weights

NEW = safetensors_bytes(weights(50))


@pytest.fixture
def orphan(history: GitRepo) -> tuple[GitRepo, GitRepo]:
    """A clone whose remote was pushed to without hooks: the objects are in `history` alone."""
    bare = history.add_remote("origin")
    history.git("push", "-q", "--no-verify", "origin", "main", "--tags")
    clone = history.clone("clone", "--no-checkout", source=str(bare.path))
    clone.git("reset", "-q")
    clone.theta("install")
    return clone, bare


def test_what_the_remotes_refs_lack_already_is_said(
    orphan: tuple[GitRepo, GitRepo], history: GitRepo
) -> None:
    clone, bare = orphan
    clone.write("other.safetensors", NEW)
    clone.commit("another model", "other.safetensors")
    for refspec in ("HEAD:refs/heads/main", "HEAD:refs/heads/new"):  # git tells what main is at, not of new
        said = clone.git("push", "origin", refspec).stderr
        assert "objects of commits that it has, and they are nowhere else" in said
        assert f"commit {history.head('v0')[:7]}, model.safetensors, tensor bias and 4 more" in said
    assert bare.objects()
    assert history.remedy(said, f"git theta push --all {bare.path}").returncode == 0
    assert bare.theta("fsck", "--fast").returncode == 0
    assert "lacks" not in clone.git("push", "origin", "HEAD:refs/heads/newer").stderr


def test_what_is_new_is_refused_until_the_objects_come(
    orphan: tuple[GitRepo, GitRepo], history: GitRepo
) -> None:
    clone, bare = orphan
    backup = clone.add_remote("backup")
    refused = clone.git("push", "backup", "origin/main:refs/heads/main", check=False)
    assert refused.returncode == 1
    assert "so no refs are pushed" in refused.stderr
    assert f"commit {clone.head('v0')[:7]}, model.safetensors, tensor bias and 4 more" in refused.stderr
    does(refused.stderr, "push from the clone where the files were added, or bring the objects from there:")
    assert backup.git("for-each-ref").stdout == ""
    history.remedy(refused.stderr, f"git theta push --all {backup.path}")
    clone.git("push", "-q", "backup", "origin/main:refs/heads/main")
    assert (backup.clone("later").path / "model.safetensors").read_bytes() == version(1)
    assert not bare.objects()


def test_refs_of_a_new_remote_that_has_other_refs_do_not_excuse(orphan: tuple[GitRepo, GitRepo]) -> None:
    """A tracking branch says that main is there; the server that is asked has never heard of it."""
    clone, _ = orphan
    other = clone.add_remote("other")
    clone.git("remote", "remove", "other")
    clone.git("remote", "set-url", "origin", str(other.path))
    assert clone.git("push", "origin", "HEAD:refs/heads/new", check=False).returncode == 1
    assert other.git("for-each-ref").stdout == ""


def test_what_another_clone_has_is_brought_from_there(
    orphan: tuple[GitRepo, GitRepo], history: GitRepo
) -> None:
    clone, _ = orphan
    backup = clone.add_remote("backup")
    refused = clone.git("push", "backup", "origin/main:refs/heads/main", check=False)
    does(refused.stderr, "push from the clone where the files were added, or bring the objects from there:")
    put = {"PATH-OF-THAT-CLONE": str(history.path)}
    clone.remedy(refused.stderr, "git theta fetch --all PATH-OF-THAT-CLONE", put=put)
    clone.git("push", "-q", "backup", "origin/main:refs/heads/main")
    assert (backup.clone("later").path / "model.safetensors").read_bytes() == version(1)


def test_way_on_for_git_push(orphan: tuple[GitRepo, GitRepo]) -> None:
    clone, _ = orphan
    backup = clone.add_remote("backup")
    refused = clone.git("push", "backup", "origin/main:refs/heads/main", check=False)
    does(refused.stderr, "or go on without them, and nobody can check these commits out: ")
    command = "git -c theta.allowIncompletePush=true push backup origin/main:refs/heads/main"
    does(refused.stderr, "or go on without them, and nobody can check these commits out: git")
    went = clone.remedy(refused.stderr, command)
    assert "theta.allowIncompletePush is true" in went.stderr
    assert backup.head("main") == clone.head("origin/main")


@pytest.mark.parametrize("everything", [True, False])
def test_way_on_for_git_theta_push(orphan: tuple[GitRepo, GitRepo], everything: bool) -> None:
    clone, bare = orphan
    clone.write("other.safetensors", NEW)
    clone.commit("another model", "other.safetensors")
    words = ["push", *(["--all"] if everything else []), "origin"]
    refused = clone.theta(*words, check=False)
    assert refused.returncode == 1
    assert "so the others alone are brought" in refused.stderr
    assert bare.objects()
    went = clone.remedy(refused.stderr, f"git -c theta.allowIncompletePush=true theta {' '.join(words)}")
    assert went.returncode == 0
    assert "theta.allowIncompletePush is true" in went.stdout
    assert "all objects already" not in went.stdout


def test_way_on_for_a_damaged_manifest(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    good = history.blob("HEAD:model.safetensors")
    history.stage(good.replace(b'"size":', b'"size":1', 1), "model.safetensors")
    tree = history.git("write-tree").stdout.strip()
    commit = history.git("commit-tree", "-p", "HEAD", "-m", "damaged", tree).stdout.strip()
    history.git("update-ref", "refs/heads/main", commit)
    refused = history.git("push", "origin", "main", check=False)
    assert refused.returncode == 1
    history.remedy(refused.stderr, "git -c theta.allowIncompletePush=true push origin main")
    assert bare.head("main") == commit


def test_a_damaged_manifest_is_mended_in_its_commit(history: GitRepo) -> None:
    history.add_remote("origin")
    good = history.blob("HEAD:model.safetensors")
    history.stage(good.replace(b'"size":', b'"size":1', 1), "model.safetensors")
    history.commit_index("damaged")
    refused = history.git("push", "origin", "main", check=False)
    does(refused.stderr, "in the commit itself (git commit --amend, or git rebase -i): ")
    history.remedy(refused.stderr, "git add model.safetensors")
    history.git("commit", "-q", "--amend", "--no-edit", "--allow-empty")
    history.git("push", "-q", "origin", "main")


def test_what_was_pushed_damaged_does_not_stop_every_push(history: GitRepo) -> None:
    history.add_remote("origin")
    good = history.blob("HEAD:model.safetensors")
    history.stage(good.replace(b'"size":', b'"size":1', 1), "model.safetensors")
    history.commit_index("damaged")
    history.git("-c", "theta.allowIncompletePush=true", "push", "-q", "origin", "main")
    history.git("checkout", "-q", "-f", "HEAD~1", "--", "model.safetensors")
    history.commit("whole again")
    history.git("push", "-q", "origin", "main")  # what was pushed before does not stop every push


def test_remote_that_cannot_be_asked(history: GitRepo, pushed: GitRepo) -> None:
    """git theta push has nothing else to do, so it never ends quietly there."""
    done = history.theta("push", "https://example.invalid/m.git", check=False)
    assert done.returncode == 1
    assert "later version" in done.stderr
    allowed = history.git(
        "-c", "theta.allowIncompletePush=true", "theta", "push", "https://example.invalid/m.git", check=False
    )
    assert allowed.returncode == 1
