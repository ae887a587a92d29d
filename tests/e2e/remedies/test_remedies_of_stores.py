"""What is advised about objects that are missing, damaged or cannot be stored, done as it says."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from git_repo import GitRepo, digest, does, safetensors_bytes, version, weights
from lost_objects import LOST, Broken, check_done
from stores import MODEL, drop_objects, flip, object_of

CHANGED = "layer.1.weight"


def test_skipped_and_missing(bare_of_objects: GitRepo) -> None:
    clone = bare_of_objects
    said = clone.theta("status", check=False).stdout
    clone.remedy(said, "git theta fetch")
    assert len(clone.objects()) == 6
    clone.remedy(said, "git theta pull")
    assert clone.digest(MODEL) == digest(version(1))
    clone.git("config", "theta.skipSmudge", "true")
    drop_objects(clone)
    said = clone.theta("doctor", check=False).stdout
    clone.remedy(said, "git config --unset theta.skipSmudge")
    clone.remedy(said, "git theta pull")
    assert "wrong" not in clone.theta("doctor").stdout


def test_revision_that_only_the_remote_has(history: GitRepo, bare_of_objects: GitRepo) -> None:
    history.git("push", "-q", "origin", "v0:refs/heads/late")
    said = bare_of_objects.refused("git", "theta", "fetch", "origin", "late")
    bare_of_objects.remedy(said, "git fetch origin")
    bare_of_objects.theta("fetch", "origin", "late")
    assert bare_of_objects.objects()


def test_remote_that_lacks_objects(history: GitRepo, pushed: GitRepo, bare_of_objects: GitRepo) -> None:
    shutil.rmtree(pushed.path / "theta")
    said = bare_of_objects.refused("git", "theta", "pull")
    does(said, "in a clone that has them: git theta push --all")
    history.remedy(said, "git theta push --all")
    bare_of_objects.theta("pull")
    assert bare_of_objects.digest(MODEL) == digest(version(1))


def test_earlier_versions(clone: GitRepo) -> None:
    lost = object_of(clone, "v0", CHANGED)
    lost.unlink()
    clone.remedy(clone.theta("fsck").stdout, "git theta fetch --all")
    assert lost.exists()
    damaged = object_of(clone, "v0", "layer.2.weight")
    damaged.write_bytes(damaged.read_bytes())
    flip(damaged, damaged.stat().st_size // 2)
    said = clone.refused("git", "theta", "fsck")
    clone.remedy(said, f"rm -f {shlex.quote(str(damaged))}; git theta fetch --all")
    clone.theta("fsck")
    clone.git("remote", "rename", "origin", "elsewhere")
    clone.git("remote", "set-url", "elsewhere", "/nowhere")
    lost.unlink()
    said = clone.refused("git", "theta", "fsck")
    clone.git("remote", "set-url", "elsewhere", str(clone.path.parent / "origin.git"))
    clone.remedy(said, "git theta fetch --all")
    clone.theta("fsck")


def test_committing_what_is_not_here(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "other", "v0")
    history.write(MODEL, safetensors_bytes(weights(5)))
    history.git("add", MODEL)
    drop_objects(history)
    history.write("copy.safetensors", safetensors_bytes(weights(5)))
    history.git("add", "copy.safetensors")  # some of it is in other objects than before
    history.git("rm", "-q", "--cached", "copy.safetensors")
    said = history.refused("git", "commit", "-m", "lost")
    history.remedy(said, f"git add --renormalize {MODEL}")
    history.git("commit", "-q", "-m", "found")
    (history.path / MODEL).unlink()
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(safetensors_bytes(weights(5)))


def test_way_back_and_on(broken: Broken) -> None:
    repo = broken.repo
    target = repo.head("other")[:12]
    said = repo.refused("git", "checkout", "other")
    there, back = "git -c theta.skipSmudge=true checkout", "git -c theta.skipMissing=true checkout"
    does(said, f"to go back (uncommitted changes are lost): {there} -f --detach {target}; {back} -f -\n")
    repo.remedy(said, f"git -c theta.skipSmudge=true checkout -f --detach {target}")
    repo.remedy(said, "git -c theta.skipMissing=true checkout -f -")
    assert repo.status() == ["?? mine.txt"]
    broken.mend()
    repo.remedy(said, f"git theta fetch origin {target}; git checkout other")
    check_done(repo)


def test_several_remotes(broken: Broken) -> None:
    repo = broken.repo
    repo.git("remote", "add", "second", "/nowhere")
    said = repo.refused("git", "checkout", "other", "--", LOST)
    broken.mend()
    target = repo.head("other")[:12]
    repo.remedy(said, f"git theta fetch origin {target}; git checkout other -- {LOST}")
    does(said, "then type: ")
    assert (repo.path / LOST).stat().st_size > 1000


def test_half_done_clone(broken: Broken) -> None:
    folder = broken.repo.path.parent / "new"
    origin = str(broken.origin.path)
    said = broken.repo.refused("git", "clone", "-b", "other", origin, str(folder))
    broken.mend()
    target = broken.repo.head("other")[:12]
    broken.repo.remedy(said, f"cd {folder}; git theta fetch origin {target}; git reset --hard")
    clone = GitRepo(folder)
    clone.write("mine.txt", "")
    check_done(clone)


def test_rebase_that_is_interrupted(broken: Broken) -> None:
    repo = broken.repo
    repo.git("-c", "theta.skipMissing=true", "checkout", "-q", "other")
    said = repo.refused("git", "rebase", "main")
    does(said, "git -c theta.skipMissing=true rebase --abort")
    repo.follow(said, "to go back")
    assert repo.status() == ["?? mine.txt"]
    broken.mend()
    repo.follow(said, "to try again")
    check_done(repo)


def test_pull_of_several(broken: Broken) -> None:
    """What git was writing is not known; so it says that new files are in the way."""
    repo = broken.repo
    repo.git("checkout", "-q", "early")
    said = repo.refused(
        "git", "pull", "--no-rebase", "-q", "origin", "main", "other", GIT_THETA_MERGE="theirs"
    )
    if "to go back" in said and "remove the new files" in said:
        does(said, "and remove the new files that git status lists")
        for line in repo.status():
            if line.startswith("??") and "mine.txt" not in line:
                (repo.path / line[3:]).unlink()
        repo.remedy(said, "git reset --hard")
        assert repo.status() == ["?? mine.txt"]


def test_store_that_cannot_be_written(history: GitRepo) -> None:
    data = safetensors_bytes(weights(9))
    history.write(MODEL, data)
    objects = history.path / ".git" / "theta" / "objects"
    objects.rename(objects.with_name("kept"))
    objects.write_text("in the way")
    said = history.refused("git", "add", MODEL)
    does(said, "make room or mend the permissions there, then type the command again")
    objects.unlink()
    objects.with_name("kept").rename(objects)
    history.commit("stored")
    (history.path / MODEL).unlink()
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(data)


def test_damaged_repository(history: GitRepo) -> None:
    tree = history.head("v0^{tree}")
    kept = history.path / ".git" / "objects" / tree[:2] / tree[2:]
    kept.rename(kept.with_suffix(".kept"))
    said = history.refused("git", "theta", "fetch", "--all")
    assert tree in history.remedy(said, "git fsck", check=False).stdout
    kept.with_suffix(".kept").rename(kept)
    history.theta("fetch", "--all")


def test_remotes(history: GitRepo) -> None:
    history.git("remote", "add", "web", "https://example.invalid/m.git")
    said = history.refused("git", "theta", "push", "web")
    bare = history.add_remote("backup")
    history.git("remote", "remove", "backup")
    command = "git remote add objects /folder/of/a/clone"
    history.remedy(said, command, put={"/folder/of/a/clone": str(bare.path)})
    history.theta("push", "objects")
    assert bare.objects()
    moved = bare.path.rename(bare.path.with_name("moved.git"))
    said = history.refused("git", "theta", "push", "objects")
    command = "git remote set-url objects /folder/of/a/clone"
    history.remedy(said, command, put={"/folder/of/a/clone": str(moved)})
    history.theta("push", "objects")


def test_too_little_memory(history: GitRepo, tmp_path: Path) -> None:
    history.write(MODEL, safetensors_bytes(weights(9)))
    folder = tmp_path / "little"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'filter-process' in sys.argv:\n"
        "    from git_theta.filters.clean import Cleaner\n"
        "    def clean(*_): raise MemoryError\n"
        "    Cleaner.clean = clean\n"
    )
    said = history.refused("git", "add", MODEL, PYTHONPATH=str(folder))
    does(said, "close other programs, and try again")
    history.git("add", MODEL)
    assert history.staged() == [MODEL]


def test_patch_that_is_interrupted(broken: Broken) -> None:
    repo = broken.repo
    patch = repo.git("diff", "--no-ext-diff", "--no-textconv", "main", "other", "--", MODEL, LOST).stdout
    repo.write(".git/patch", patch)
    said = repo.refused("git", "apply", ".git/patch")
    does(said, "git checkout -f -- ")
    repo.follow(said, "to go back")
    assert repo.status() == ["?? mine.txt"]
    broken.mend()
    repo.follow(said, "to try again")
    assert repo.digest(MODEL) == digest(version(1))
    assert (repo.path / LOST).stat().st_size > 10_000


def test_damaged_manifest_that_is_pushed(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    data = safetensors_bytes(weights(9))
    history.write(MODEL, data)
    history.git("add", MODEL)
    damaged = history.blob(f":{MODEL}").replace(b'"size":', b'"size":1', 1)
    history.stage(damaged, MODEL)
    history.commit_index("damaged")
    said = history.refused("git", "push", "origin", "main")
    does(said, "in the commit itself (git commit --amend, or git rebase -i): ")
    does(said, "; or push it all the same: git -c theta.allowIncompletePush=true push origin main")
    history.remedy(said, f"git add {MODEL}")
    history.remedy(said, "git commit --amend", GIT_EDITOR=":")
    history.git("push", "-q", "origin", "main")
    assert bare.clone("clone", "-b", "main").digest(MODEL) == digest(data)
