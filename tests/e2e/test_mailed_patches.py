"""`git am` and `git apply`: patches with manifests whose objects are not here, and with raw checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

MODEL, NEW = "model.safetensors", "new.safetensors"
SOMEWHERE = "/folder/of/a/clone"
THEIRS, ADDED = safetensors_bytes(changed(weights(0), "layer.2.weight")), safetensors_bytes(weights(9))


@pytest.fixture
def patches(history: GitRepo, pushed: GitRepo) -> str:
    """Two patches on top of main: one changes model and notes, the other adds a checkpoint and a text."""
    history.git("config", "theta.report", "false")
    history.git("switch", "-q", "-c", "t")
    history.write(MODEL, THEIRS)
    history.write("notes.txt", "of t\n")
    history.commit("t1")
    history.write(NEW, ADDED)
    history.write("a.txt", "new\n")
    history.commit("t2")
    folder = history.path.parent / "patches"
    history.git("format-patch", "-q", "--binary", "-o", str(folder), "main")
    assert all(len(path.read_bytes()) < 20_000 for path in folder.iterdir())
    return str(folder)


@pytest.fixture
def clone(pushed: GitRepo) -> GitRepo:
    clone = pushed.clone("clone")
    clone.git("config", "theta.report", "false")
    return clone


def check(clone: GitRepo) -> None:
    assert clone.digest(MODEL) == digest(THEIRS)
    assert clone.digest(NEW) == digest(ADDED)
    assert clone.status() == []


def numbered(patches: str) -> list[str]:
    return sorted(str(path) for path in Path(patches).iterdir())


def test_patches_of_what_a_remote_has(history: GitRepo, clone: GitRepo, patches: str) -> None:
    history.git("push", "-q", "origin", "t")
    clone.git("am", "-q", *numbered(patches))
    check(clone)


@pytest.mark.parametrize("options", [[], ["-3"]])
def test_patches_of_what_is_nowhere(
    history: GitRepo, clone: GitRepo, patches: str, options: list[str]
) -> None:
    head = clone.head()
    said = clone.refused("git", "am", *options, *numbered(patches))
    assert f"git-theta: {MODEL}: " in said
    clone.follow(said, "to go back")
    assert (clone.head(), clone.status()) == (head, [])
    assert clone.digest(MODEL) == digest(version(1))
    history.remedy(said, f"git theta push --all {clone.git('remote', 'get-url', 'origin').stdout.strip()}")
    clone.follow(said, "to try again")
    check(clone)


def test_a_patch_with_a_new_file_of_what_is_nowhere(history: GitRepo, clone: GitRepo, patches: str) -> None:
    """Git leaves the files that it has made, the index knows none of them, and they are in its way then."""
    clone.git("remote", "remove", "origin")
    _, second = numbered(patches)
    clone.write("mine.txt", "never added\n")
    said = clone.refused("git", "am", second)
    assert (clone.path / "a.txt").exists()
    clone.follow(said, "to go back")
    assert clone.status() == ["?? mine.txt"]
    clone.remedy(said, f"git remote add objects {SOMEWHERE}", put={SOMEWHERE: str(history.path)})
    clone.git("am", "-q", second)
    assert clone.digest(NEW) == digest(ADDED)
    assert clone.status() == ["?? mine.txt"]


def test_patches_through_a_pipe(history: GitRepo, clone: GitRepo, patches: str) -> None:
    text = b"".join(Path(path).read_bytes() for path in numbered(patches))
    failed = clone.git("am", "-q", stdin=text, check=False)
    assert failed.returncode
    clone.follow(failed.stderr, "to go back")
    (clone.path.parent / "mbox").write_bytes(text)
    history.git("push", "-q", "origin", "t")
    clone.remedy(failed.stderr, "git am -q < PATCHES", put={"PATCHES": "../mbox"})
    check(clone)


def test_apply(history: GitRepo, clone: GitRepo, patches: str) -> None:
    patch = clone.path.parent / "patch"
    shown = history.git("diff", "--no-ext-diff", "--no-textconv", "--binary", "main", "t").stdout
    patch.write_text(shown)
    clone.write("mine.txt", "never added\n")
    for options in ([], ["--index"]):
        said = clone.refused("git", "apply", *options, str(patch))
        clone.follow(said, "to go back")
        assert clone.status() == ["?? mine.txt"]
        assert clone.digest(MODEL) == digest(version(1))
    history.git("push", "-q", "origin", "t")
    clone.follow(said, "to try again")
    (clone.path / "mine.txt").unlink()
    clone.commit("applied")
    check(clone)


def raw_patch(history: GitRepo, *files: tuple[str, bytes]) -> str:
    """A patch of a repository that knows nothing of git-theta."""
    raw = GitRepo(history.path.parent / "raw")
    raw.path.mkdir()
    raw.git("init", "-q")
    for name, data in files:
        raw.write(name, data)
        raw.commit(name)
    return raw.git("format-patch", "-q", "--binary", "--root", "--stdout", "HEAD").stdout


@pytest.mark.parametrize("command", [["am"], ["am", "-3"]])
def test_patch_of_a_new_raw_checkpoint(history: GitRepo, command: list[str]) -> None:
    """It is not committed as it is."""
    text = raw_patch(history, ("raw.safetensors", ADDED), ("b.txt", b"more\n"))
    failed = history.git(*command, stdin=text.encode(), check=False)
    assert failed.returncode
    assert "raw.safetensors: staged as it is" in failed.stderr
    history.remedy(failed.stderr, "git add --renormalize raw.safetensors")
    history.remedy(failed.stderr, "git am --continue")
    assert history.blob("HEAD~1:raw.safetensors").startswith(b'{"git-theta":')
    assert history.digest("raw.safetensors") == digest(ADDED)
    assert (history.path / "b.txt").exists()
    assert history.status() == []


def test_patch_of_a_raw_checkpoint_that_changes(history: GitRepo, tmp_path: Path) -> None:
    """Git itself refuses: what it changes is not what is recorded here. Nothing is lost."""
    head = history.head()
    raw = GitRepo(tmp_path / "raw")
    raw.path.mkdir()
    raw.git("init", "-q")
    for number in (1, 0):
        raw.write(MODEL, version(number))
        raw.commit(str(number))
    text = raw.git("format-patch", "-q", "--binary", "--stdout", "HEAD~1").stdout.encode()
    for options in ([], ["-3"]):
        assert history.git("am", *options, stdin=text, check=False).returncode
        history.git("am", "--abort")
        assert (history.head(), history.status()) == (head, [])
        assert history.digest(MODEL) == digest(version(1))


def test_patch_of_a_manifest_for_a_raw_checkpoint(history: GitRepo, patches: str, tmp_path: Path) -> None:
    raw = GitRepo(tmp_path / "raw")
    raw.path.mkdir()
    raw.git("init", "-q")
    raw.write(MODEL, version(1))
    raw.write("notes.txt", "version 1\n")
    raw.commit("raw")
    for options in ([], ["-3"]):
        assert raw.git("am", *options, numbered(patches)[0], check=False).returncode
        raw.git("am", "--abort")
        assert raw.status() == []
        assert raw.digest(MODEL) == digest(version(1))


def test_patches_are_applied_without_the_data(history: GitRepo, clone: GitRepo, patches: str) -> None:
    """What nobody has is not committed then: it would be lost for all who get the commit."""
    clone.git("config", "theta.skipSmudge", "true")
    said = clone.refused("git", "am", *numbered(patches))
    assert f"{MODEL}: 1 of its 6 objects is neither here nor on a remote" in said
    clone.remedy(said, f"git theta fetch {SOMEWHERE}", put={SOMEWHERE: str(history.path)})
    said = clone.refused("git", "am", "--continue")
    clone.remedy(said, f"git theta fetch {SOMEWHERE}", put={SOMEWHERE: str(history.path)})
    clone.remedy(said, "git am --continue")
    shutil.rmtree(history.path)
    clone.theta("pull")
    check(clone)
