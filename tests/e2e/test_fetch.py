"""Objects come here when they are needed, from wherever they are."""

from pathlib import Path

import pytest
from git_repo import GitRepo, safetensors_bytes, version, weights
from stores import drop_objects


def test_pull_writes_what_was_skipped(bare_of_objects: GitRepo) -> None:
    clone = bare_of_objects
    before = clone.theta("status", check=False)
    assert before.returncode == 1
    assert "model.safetensors: 6 objects" in before.stdout
    said = clone.theta("pull")
    assert said.stderr == ""
    assert "Fetched 6 objects, 372 KB." in said.stdout
    assert "Wrote model.safetensors" in said.stdout
    assert (clone.path / "model.safetensors").read_bytes() == version(1)
    assert clone.status() == []
    assert clone.theta("status").returncode == 0


def test_pull_goes_before_the_configuration(bare_of_objects: GitRepo) -> None:
    clone = bare_of_objects
    clone.git("config", "theta.skipSmudge", "true")
    clone.theta("pull", GIT_THETA_SKIP_SMUDGE="1")
    assert (clone.path / "model.safetensors").read_bytes() == version(1)


def test_pull_leaves_changed_files_alone(bare_of_objects: GitRepo) -> None:
    clone = bare_of_objects
    clone.write("model.safetensors", safetensors_bytes(weights(4)))
    clone.theta("pull")
    assert (clone.path / "model.safetensors").read_bytes() == safetensors_bytes(weights(4))


def test_pull_in_a_folder(bare_of_objects: GitRepo) -> None:
    folder = bare_of_objects.path / "folder"
    folder.mkdir()
    GitRepo(folder).theta("pull")
    assert (bare_of_objects.path / "model.safetensors").read_bytes() == version(1)


def test_pull_writes_what_it_can(bare_of_objects: GitRepo, history: GitRepo, pushed: GitRepo) -> None:
    history.write("other.safetensors", safetensors_bytes(weights(4)))
    history.commit()
    history.git("push", "-q", "origin", "main")
    clone = bare_of_objects
    clone.git("pull", "-q", GIT_THETA_SKIP_SMUDGE="1")
    lost = history.blob("HEAD:other.safetensors").decode()
    for path in pushed.objects():
        if path.name in lost and path.name not in history.blob("HEAD:model.safetensors").decode():
            path.unlink()
    done = clone.theta("pull", check=False)
    assert done.returncode == 1
    assert "other.safetensors" in done.stderr
    assert "origin does not have it" in done.stderr
    assert (clone.path / "model.safetensors").read_bytes() == version(1)
    assert (clone.path / "other.safetensors").read_bytes() == clone.blob("HEAD:other.safetensors")


def test_pull_writes_the_others_when_one_is_damaged(
    bare_of_objects: GitRepo, history: GitRepo, pushed: GitRepo
) -> None:
    history.write("other.safetensors", safetensors_bytes(weights(4)))
    history.commit()
    history.git("push", "-q", "origin", "main")
    clone = bare_of_objects
    clone.git("pull", "-q", GIT_THETA_SKIP_SMUDGE="1")
    clone.theta("fetch")
    lost = clone.blob("HEAD:other.safetensors").decode()
    others = clone.blob("HEAD:model.safetensors").decode()
    damaged = next(path for path in clone.objects() if path.name in lost and path.name not in others)
    damaged.chmod(0o644)
    damaged.write_bytes(bytes(damaged.stat().st_size))
    said = clone.refused("git", "theta", "pull")
    assert "error: other.safetensors: " in said
    assert (clone.path / "model.safetensors").read_bytes() == version(1)
    listed = clone.git("diff-files", "--name-only").stdout.split()
    assert "model.safetensors" not in listed
    clone.remedy(said, f"rm -f {damaged}; git theta fetch --all")
    clone.theta("pull")
    assert clone.status() == []


def test_fetch_leaves_the_work_tree(bare_of_objects: GitRepo) -> None:
    clone = bare_of_objects
    clone.theta("fetch")
    assert len(clone.objects()) == 6
    assert "here already" in clone.theta("fetch").stdout
    assert (clone.path / "model.safetensors").read_bytes() == clone.blob("HEAD:model.safetensors")


@pytest.mark.parametrize("arguments", [["origin", "v0"], ["origin", "main~1"], ["origin", "v0", "v0"]])
def test_fetch_of_a_revision(bare_of_objects: GitRepo, arguments: list[str]) -> None:
    clone = bare_of_objects
    clone.theta("fetch", *arguments)
    named = clone.blob("v0:model.safetensors").decode()
    assert clone.objects()
    assert all(path.name in named for path in clone.objects())


def test_fetch_of_a_branch_that_only_the_remote_has(history: GitRepo, bare_of_objects: GitRepo) -> None:
    history.git("push", "-q", "origin", "v0:refs/heads/old")
    bare_of_objects.remedy(
        bare_of_objects.refused("git", "theta", "fetch", "origin", "old"), "git fetch origin"
    )
    bare_of_objects.theta("fetch", "origin", "old")
    assert bare_of_objects.objects()
    done = bare_of_objects.theta("fetch", "origin", "never", check=False)
    assert done.returncode == 1
    assert "never" in done.stderr


def test_fetch_of_a_branch_of_a_url(history: GitRepo, bare_of_objects: GitRepo) -> None:
    history.git("branch", "other", "v0")
    said = bare_of_objects.refused("git", "theta", "fetch", "../history", "other")
    bare_of_objects.remedy(said, "git fetch ../history other; git theta fetch ../history FETCH_HEAD")
    assert bare_of_objects.objects()


def test_fetch_of_everything(history: GitRepo, pushed: GitRepo, bare_of_objects: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    history.write("model.safetensors", safetensors_bytes(weights(8)))
    history.commit()
    history.git("push", "-q", "origin", "side")
    clone = bare_of_objects
    clone.git("fetch", "-q")
    clone.theta("fetch", "--all")
    assert {path.name for path in clone.objects()} == {path.name for path in pushed.objects()}
    assert clone.theta("fsck").returncode == 0


def test_damaged_object_is_replaced_by_the_next_fetch(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("clone", source=f"file://{pushed.path}")
    victim = clone.objects()[0]
    size = victim.stat().st_size
    victim.unlink()
    victim.write_bytes(b"x" * size)
    done = clone.theta("fsck", check=False)
    assert done.returncode == 1
    remedy = next(line for line in done.stdout.splitlines() if "rm -f" in line).removeprefix("hint: ")
    clone.run("sh", "-c", remedy)
    assert clone.theta("fsck").returncode == 0


def test_remote_is_chosen_in_order(history: GitRepo, pushed: GitRepo) -> None:
    """The branch's remote, origin, then every other."""
    clone = history.clone("clone", "-o", "upstream", source=str(pushed.path))
    drop_objects(clone)
    empty = clone.add_remote("empty")
    clone.git("remote", "rename", "empty", "origin")
    clone.theta("fetch")
    assert len(clone.objects()) == 6
    drop_objects(clone)
    clone.git("config", "branch.main.remote", "origin")
    clone.theta("fetch")
    assert len(clone.objects()) == 6
    drop_objects(clone)
    done = clone.theta("fetch", "origin", check=False)
    assert done.returncode == 1
    assert "origin does not have it" in done.stderr
    assert empty.objects() == []


def test_reasons_of_all_remotes_are_told(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("clone", source=str(pushed.path))
    drop_objects(clone)
    drop_objects(pushed)
    clone.git("remote", "add", "web", "https://example.invalid/m.git")
    clone.git("remote", "add", "moved", "../nowhere")
    done = clone.theta("fetch", check=False)
    assert done.returncode == 1
    assert "origin does not have it" in done.stderr
    assert "https://example.invalid/m.git" in done.stderr
    assert "no repository at" in done.stderr
    clone.git("remote", "remove", "origin")
    clone.git("remote", "remove", "web")
    clone.git("remote", "remove", "moved")
    done = clone.theta("fetch", check=False)
    assert "no remote is configured" in done.stderr


@pytest.mark.parametrize(
    "url", ["{path}", "file://{path}", "{parent}/origin", "../origin.git", "short:origin.git"]
)
def test_urls_of_remotes(history: GitRepo, pushed: GitRepo, url: str) -> None:
    clone = history.clone("clone", source=str(pushed.path))
    drop_objects(clone)
    clone.git("config", f"url.{pushed.path.parent}/.insteadOf", "short:")
    clone.git("remote", "set-url", "origin", url.format(path=pushed.path, parent=pushed.path.parent))
    (clone.path / "folder").mkdir()
    GitRepo(clone.path / "folder").theta("fetch")
    assert len(clone.objects()) == 6


def test_remote_that_is_a_work_tree_or_a_linked_one(history: GitRepo) -> None:
    history.git("worktree", "add", "-q", "../tree")
    for number, source in enumerate((history.path, history.path.parent / "tree")):
        clone = history.clone(f"clone-{number}", source=str(source))
        assert (clone.path / "model.safetensors").read_bytes() == version(1)


def test_borrowed_objects_are_not_copied(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("clone", "--reference", str(history.path), source=str(pushed.path))
    assert clone.objects() == []
    assert (clone.path / "model.safetensors").read_bytes() == version(1)
    assert clone.theta("fsck").returncode == 0


def test_remote_that_borrows_its_objects(history: GitRepo) -> None:
    lender = history.clone("lender.git", "--bare", "--shared")
    clone = history.clone("clone", source=str(lender.path))
    assert (clone.path / "model.safetensors").read_bytes() == version(1)


def test_fetch_in_a_bare_repository(history: GitRepo, pushed: GitRepo) -> None:
    mirror = history.clone("mirror.git", "--mirror", source=str(pushed.path))
    mirror.theta("fetch", "--all")
    assert len(mirror.objects()) == len(pushed.objects())
    other = mirror.add_remote("other")
    mirror.theta("push", "--all", "other")
    assert len(other.objects()) == len(pushed.objects())


def test_outside_of_a_repository(home: Path) -> None:
    for command in ("fetch", "pull", "push", "status", "fsck", "ls-files", "track", "diff"):
        done = GitRepo(home).theta(command, check=False)
        assert done.returncode == 1, command
        assert done.stderr.startswith("error: not a git repository")
        assert done.stderr.endswith("hint: cd to a repository, or make one: git init\n")


def test_commands_that_need_a_work_tree_say_so(history: GitRepo, pushed: GitRepo) -> None:
    for command in (["status"], ["track"], ["track", "*.pt"], ["pull"]):
        done = pushed.theta(*command, check=False)
        assert done.returncode == 1, command
        assert done.stderr.splitlines()[-2].startswith("error: a bare repository has no ")
        assert done.stderr.splitlines()[-1] == "hint: the same in a clone of it"
    assert not (pushed.path / ".gitattributes").exists()
