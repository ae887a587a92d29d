"""Objects that are damaged or missing, and manifests that name wrong ones."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from git_repo import GitRepo, digest, version
from stores import MODEL, flip, object_of

from git_theta.manifest import parse, write

CHANGED = "layer.1.weight"


@pytest.mark.parametrize("where", ["data", "directory"])
def test_flipped_bit_is_noticed_and_mended(clone: GitRepo, where: str) -> None:
    damaged = object_of(clone, "v0", CHANGED)
    size = damaged.stat().st_size
    flip(damaged, size // 2 if where == "data" else size - 40)
    failed = clone.git("checkout", "v0", check=False)
    assert failed.returncode != 0
    assert f"git-theta: {MODEL}: tensor '{CHANGED}': " in failed.stderr
    assert damaged.name[:12] in failed.stderr
    checked = clone.theta("fsck", check=False)
    assert checked.returncode != 0
    assert damaged.name[:12] in checked.stdout + checked.stderr
    remedy = re.search(r"(rm -f .*)$", checked.stdout + checked.stderr, re.MULTILINE)
    assert remedy is not None
    clone.run("sh", "-e", "-c", remedy[1])
    clone.theta("fsck")
    clone.git("reset", "-q", "--hard")
    clone.git("checkout", "-q", "v0")
    assert clone.digest(MODEL) == digest(version(0))


def test_remedy_in_a_linked_work_tree_names_the_whole_path(clone: GitRepo) -> None:
    damaged = object_of(clone, "v1", CHANGED)
    flip(damaged, damaged.stat().st_size // 2)
    linked = GitRepo(clone.path.parent / "linked")
    (linked.path / MODEL).unlink()
    failed = linked.git("checkout", "--", MODEL, check=False)
    assert f"rm -f '{damaged}'" in failed.stderr
    linked.follow(failed.stderr, "then type")
    assert linked.digest(MODEL) == digest(version(1))


def test_checkout_says_how_to_mend_an_object(clone: GitRepo) -> None:
    damaged = object_of(clone, "v0", CHANGED)
    flip(damaged, damaged.stat().st_size // 2)
    said = clone.git("checkout", "v0", check=False).stderr
    clone.follow(said, "to go back")  # also if that version needs the object as well
    assert clone.status() == []
    clone.follow(said, "to try again")
    assert clone.digest(MODEL) == digest(version(0))
    assert clone.head() == clone.head("v0")


def test_damaged_object_is_never_pushed(history: GitRepo) -> None:
    damaged = object_of(history, "v1", CHANGED)
    flip(damaged, damaged.stat().st_size // 2)
    bare = history.add_remote("origin")
    refused = history.git("push", "origin", "main", check=False)
    assert refused.returncode != 0
    assert damaged.name[:12] in refused.stderr
    assert bare.git("for-each-ref").stdout == ""
    assert damaged.name not in [path.name for path in bare.objects()]


def test_damaged_object_of_the_remote_is_not_taken(history: GitRepo, pushed: GitRepo) -> None:
    damaged = next(path for path in pushed.objects() if path.name == object_of(history, "v1", CHANGED).name)
    data = damaged.read_bytes()
    damaged.unlink()  # it may be a hard link
    damaged.write_bytes(data)
    flip(damaged, len(data) // 2)
    folder = pushed.path.parent / "clone"
    failed = pushed.git("clone", str(pushed.path), str(folder), check=False)
    assert failed.returncode != 0
    assert f"{MODEL}: " in failed.stderr
    assert CHANGED in failed.stderr
    assert "damaged" in failed.stderr
    clone = GitRepo(folder)
    assert damaged.name not in [path.name for path in clone.objects()]
    # Whoever has the object brings it again.
    damaged.unlink()
    history.theta("push", "--all")
    clone.theta("fetch")
    clone.git("reset", "-q", "--hard")
    assert clone.digest(MODEL) == digest(version(1))


def test_missing_object_is_named_and_fetched_again(clone: GitRepo) -> None:
    lost = object_of(clone, "v0", CHANGED)
    lost.unlink()
    clone.git("checkout", "-q", "v0")  # from the remote, without a word
    assert clone.digest(MODEL) == digest(version(0))
    assert lost.exists()


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_lost_base_is_reported_as_such(clone: GitRepo, pushed: GitRepo, fault: str) -> None:
    """Which tensor needs it, which object it is, and which remotes were asked."""
    base = object_of(clone, "v0", CHANGED)
    assert base != object_of(clone, "v1", CHANGED)
    remote = next(path for path in pushed.objects() if path.name == base.name)
    remote.unlink()
    if fault == "damaged":
        flip(base, base.stat().st_size // 2)
    else:
        base.unlink()
    (clone.path / MODEL).unlink()
    failed = clone.git("checkout", "--", MODEL, check=False)
    assert failed.returncode != 0
    assert f"git-theta: {MODEL}: " in failed.stderr
    assert CHANGED in failed.stderr
    assert base.name in failed.stderr
    if fault == "missing":
        assert "origin does not have it" in failed.stderr
        assert f"{CHANGED} (as a base of its delta)" in failed.stderr
    checked = clone.theta("fsck", check=False).stdout
    assert f", tensor {CHANGED}: object {base.name[:12]}" in checked
    assert f"is {fault}" in checked


def test_missing_object_without_a_remote(history: GitRepo) -> None:
    history.git("checkout", "-q", "v0")
    lost = object_of(history, "v1", CHANGED)
    kept = lost.read_bytes()
    lost.unlink()
    failed = history.git("checkout", "v1", check=False)
    assert failed.returncode != 0
    assert f"git-theta: {MODEL}: " in failed.stderr
    assert CHANGED in failed.stderr
    assert lost.name in failed.stderr
    assert "no remote is configured" in failed.stderr
    assert "git theta fetch" in failed.stderr
    checked = history.theta("fsck", check=False)
    assert checked.returncode != 0
    assert lost.name[:12] in checked.stdout + checked.stderr
    lost.write_bytes(kept)
    history.theta("fsck")


def test_missing_object_comes_back_with_the_file(history: GitRepo) -> None:
    """Whoever still has the file has the data: adding it stores what is lost, whatever is recorded."""
    lost = object_of(history, "v1", CHANGED)
    lost.unlink()
    history.write("copy.safetensors", version(1))
    history.git("add", "copy.safetensors")
    history.git("commit", "-q", "-m", "a copy")
    (history.path / "copy.safetensors").unlink()
    history.git("checkout", "--", "copy.safetensors")
    assert history.digest("copy.safetensors") == digest(version(1))


def kept_elsewhere(repo: GitRepo, oid: str, other: str) -> bytes:
    """The manifest of v1, with one object in place of another one."""
    manifest = parse(repo.blob(f"v1:{MODEL}"))
    sizes = manifest.oids()
    storage = {
        key: replace(line, oid=other, size=sizes.get(other, line.size)) if line.oid == oid else line
        for key, line in manifest.storage.items()
    }
    return write(manifest.with_storage(storage))


def test_manifest_with_a_wrong_oid(history: GitRepo) -> None:
    """One of an object that nobody has."""
    wrong = "0123" * 16
    history.write(MODEL, kept_elsewhere(history, object_of(history, "v1", CHANGED).name, wrong))
    history.git("add", MODEL)
    refused = history.git("commit", "-m", "wrong", check=False)
    assert refused.returncode == 1
    assert f"{MODEL}: " in refused.stderr
    assert CHANGED in refused.stderr
    assert f"or leave it out: git restore --staged {MODEL}" in refused.stderr
    commit_anyway(history)
    checked = history.theta("fsck", check=False)
    assert checked.returncode != 0
    assert wrong[:12] in checked.stdout + checked.stderr
    assert MODEL in checked.stdout + checked.stderr
    bare = history.add_remote("origin")
    pushed = history.git("push", "origin", "main", check=False)
    assert pushed.returncode != 0
    assert wrong[:12] in pushed.stderr
    assert bare.git("for-each-ref").stdout == ""


def commit_anyway(repo: GitRepo) -> None:
    """Commit what is staged past all hooks."""
    repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "past the hooks", check=False)


def test_manifest_with_the_oid_of_another_object(history: GitRepo) -> None:
    oid, other = (object_of(history, "v1", name).name for name in (CHANGED, "layer.2.weight"))
    history.stage(kept_elsewhere(history, oid, other), MODEL)
    commit_anyway(history)
    checked = history.theta("fsck", check=False)
    assert checked.returncode != 0
    assert CHANGED in checked.stdout + checked.stderr
    (history.path / MODEL).unlink()
    failed = history.git("checkout", "--", MODEL, check=False)
    assert failed.returncode != 0
    assert f"git-theta: {MODEL}: tensor '{CHANGED}': " in failed.stderr
    assert not (history.path / MODEL).exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"update":"delta"', b'"update":"magic"'),
        (b'"object":"', b'"object":"../../../../'),
        (b'.0"', b'.9"'),
        (b'"shape":[160,128]', b'"shape":[160,129]'),
    ],
    ids=["update", "path", "member", "shape"],
)
def test_forged_manifests(history: GitRepo, old: bytes, new: bytes) -> None:
    """None of them becomes a file, and fsck finds every one."""
    forged = history.blob(f"v1:{MODEL}").replace(old, new, 1)
    history.stage(forged, MODEL)
    commit_anyway(history)
    (history.path / MODEL).unlink()
    failed = history.git("checkout", "--", MODEL, check=False)
    assert failed.returncode != 0
    assert f"git-theta: {MODEL}: " in failed.stderr
    assert "did not expect" not in failed.stderr
    if old == b'.0"':
        checked = history.remedy(failed.stderr, "git theta fsck", check=False)
    else:
        checked = history.theta("fsck", check=False)
    assert checked.returncode == 1
    assert MODEL in checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("old", "new"), [(b'"size":', b'"size":1'), (b'"format":"safetensors"', b'"format":"safetensers"')]
)
def test_a_forged_first_line_gives_the_file_of_the_others_and_fsck_finds_it(
    history: GitRepo, old: bytes, new: bytes
) -> None:
    """As of a manifest that was put together from hunks, the lines of tensors are what counts."""
    forged = history.blob(f"v1:{MODEL}").replace(old, new, 1)
    history.stage(forged, MODEL)
    commit_anyway(history)
    (history.path / MODEL).unlink()
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(version(1))
    checked = history.theta("fsck", check=False)
    assert checked.returncode == 1
    assert MODEL in checked.stdout + checked.stderr
