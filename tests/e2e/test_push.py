"""Objects are at the remote before refs are, whatever is pushed and however."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, version, weights
from stores import MODEL, restorable


def model(seed: int, *names: str) -> bytes:
    """A version of the model in which these tensors differ from version 0."""
    return safetensors_bytes(changed(weights(0), *names, seed=seed))


@pytest.fixture
def second(history: GitRepo, pushed: GitRepo) -> GitRepo:
    """A clone of another user."""
    return history.clone("second", source=str(pushed.path))


def test_first_push_and_one_that_changes_nothing(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    done = history.git("push", "origin", "main")
    assert f"git-theta: Uploaded 6 objects, 372 KB, to origin ({bare.path})." in done.stderr
    assert len(bare.objects()) == len(history.objects())
    assert "Uploaded" not in history.git("push", "origin", "main").stderr
    assert restorable(bare, "main") == [version(1)]


def test_new_branch_of_a_fresh_clone(second: GitRepo, pushed: GitRepo) -> None:
    second.git("switch", "-q", "-c", "work")
    second.write("model.safetensors", model(5, "layer.2.weight"))
    second.commit("work")
    second.git("push", "-q", "origin", "work")
    assert restorable(pushed, "work") == [model(5, "layer.2.weight")]


def test_merge_commit(history: GitRepo, second: GitRepo, pushed: GitRepo) -> None:
    history.write("other.safetensors", model(3, "bias"))
    history.commit("a model")
    history.git("push", "-q", "origin", "main")
    second.write("third.safetensors", model(4, "bias"))
    second.commit("another model")
    refused = second.git("push", "origin", "main", check=False)
    assert refused.returncode != 0
    second.git("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    second.git("push", "-q", "origin", "main")
    clone = pushed.clone("clone")
    assert (clone.path / "other.safetensors").read_bytes() == model(3, "bias")
    assert (clone.path / "third.safetensors").read_bytes() == model(4, "bias")


def test_remote_oid_that_is_not_known_here(history: GitRepo, second: GitRepo, pushed: GitRepo) -> None:
    history.write("notes.txt", "meanwhile")
    history.commit()
    history.git("push", "-q", "origin", "main")
    second.write("model.safetensors", model(6, "layer.0.weight"))
    second.commit()
    second.git("push", "-q", "--force", "origin", "main")
    assert restorable(pushed, "main") == [model(6, "layer.0.weight")]


def test_rewritten_history(history: GitRepo, pushed: GitRepo) -> None:
    history.git("reset", "-q", "--hard", "v0")
    history.write("model.safetensors", model(7, "layer.3.weight"))
    history.commit()
    history.git("push", "-q", "--force-with-lease", "origin", "main")
    assert restorable(pushed, "main") == [model(7, "layer.3.weight")]


@pytest.mark.parametrize("annotated", [True, False])
def test_tags(history: GitRepo, pushed: GitRepo, annotated: bool) -> None:
    history.git("switch", "-q", "--detach")
    history.write("model.safetensors", model(8, "bias"))
    history.commit()
    history.git("tag", *(["-a", "-m", "release"] if annotated else []), "release")
    history.git("push", "-q", "origin", "release")
    assert restorable(pushed, "release") == [model(8, "bias")]


def test_several_refs_at_once(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    for number in range(3):
        history.git("switch", "-q", "-c", f"branch-{number}", "v0")
        history.write("model.safetensors", model(number + 10, "layer.1.weight"))
        history.commit()
    history.git("push", "-q", "--all", "origin")
    for number in range(3):
        assert restorable(bare, f"branch-{number}") == [model(number + 10, "layer.1.weight")]


def test_deletions_and_nothing(history: GitRepo, pushed: GitRepo) -> None:
    history.git("push", "-q", "origin", "main:gone")
    history.git("push", "-q", "origin", "--delete", "gone", "v0")
    assert history.run("git-theta", "hook", "pre-push", "origin", str(pushed.path), stdin=b"").returncode == 0


@pytest.mark.parametrize("form", ["{path}", "file://{path}", "../{name}"])
def test_push_by_url(history: GitRepo, form: str) -> None:
    bare = GitRepo(history.path.parent / "a remote.git")
    bare.path.mkdir()
    bare.git("init", "-q", "--bare")
    url = form.format(path=str(bare.path).replace(" ", "%20" if "file" in form else " "), name=bare.path.name)
    history.git("push", "-q", url, "main")
    assert restorable(bare, "main") == [version(1)]


def test_push_url_that_differs_from_the_fetch_url(history: GitRepo, pushed: GitRepo) -> None:
    other = history.add_remote("other")
    history.git("remote", "remove", "other")
    history.git("remote", "set-url", "--push", "origin", str(other.path))
    history.write("model.safetensors", model(9, "bias"))
    history.commit()
    history.git("push", "-q", "origin", "main")
    assert restorable(other, "main") == [model(9, "bias")]


def test_push_to_a_repository_with_a_work_tree(history: GitRepo, second: GitRepo) -> None:
    second.write("model.safetensors", model(9, "bias"))
    second.commit()
    second.git("push", "-q", str(history.path), "main:refs/heads/offer")
    history.git("merge", "-q", "--ff-only", "offer")
    assert (history.path / "model.safetensors").read_bytes() == model(9, "bias")


def test_dry_run_brings_nothing(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    done = history.git("push", "--dry-run", "origin", "main")
    assert "would upload" in done.stderr
    assert not bare.objects()


def test_failed_upload_stops_the_push(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    (bare.path / "theta").write_text("no folder can be here")
    done = history.git("push", "origin", "main", check=False)
    assert done.returncode != 0
    assert f"cannot write to {bare.path}/theta" in done.stderr
    assert bare.git("for-each-ref").stdout == ""


def test_object_that_is_lost_is_named_before_anything_is_pushed(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    listed = history.theta("ls-files", "--json", "-l").stdout
    assert "layer.1.weight" in listed
    new = set(history.objects()) - set(_objects_of(history, "v0"))
    (new.pop()).unlink()
    done = history.git("push", "origin", "main", check=False)
    assert done.returncode != 0
    assert "model.safetensors, tensor layer.1.weight" in done.stderr
    assert f"commit {history.head()[:7]}" in done.stderr
    assert bare.git("for-each-ref").stdout == ""
    assert bare.objects() == []


def _objects_of(repo: GitRepo, revision: str) -> list[Path]:
    named = repo.blob(f"{revision}:model.safetensors").decode()
    return [path for path in repo.objects() if path.name in named]


def test_object_that_only_the_remote_has_is_fine(second: GitRepo, pushed: GitRepo) -> None:
    for path in second.objects():
        path.unlink()
    second.git("switch", "-q", "-c", "again", "v0")
    second.git("cherry-pick", "v1")
    second.git("push", "-q", "origin", "again")
    assert restorable(pushed, "again") == [version(1)]


def test_object_that_another_remote_has_is_brought_on(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("clone", "--no-checkout", source=str(pushed.path))
    clone.git("checkout", "-q", "main", GIT_THETA_SKIP_SMUDGE="1")
    backup = clone.add_remote("backup")
    assert not clone.objects()
    clone.git("push", "-q", "backup", "main")
    pushed.path.rename(pushed.path.with_name("gone"))
    assert restorable(backup, "main") == [version(1)]


def test_refs_that_were_pushed_without_objects_are_made_whole(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    history.write("model.safetensors", safetensors_bytes(weights(99)))
    history.commit("trained anew")
    history.git("push", "-q", "--no-verify", "origin", "main")
    assert not bare.objects()
    history.write("notes.txt", "no model changes here")
    history.commit()
    history.git("push", "-q", "origin", "main")
    assert restorable(bare, "main") == [safetensors_bytes(weights(99))]
    assert bare.theta("fsck").returncode == 0
    assert restorable(bare, history.head("v0")) == [version(0)]


def test_push_command(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    assert "would upload" in history.theta("push", "--dry-run").stdout
    assert not bare.objects()
    assert "Uploaded 6 objects" in history.theta("push", "origin", "main").stdout
    assert len(bare.objects()) == len(history.objects())
    assert "all objects already" in history.theta("push").stdout
    assert bare.git("for-each-ref").stdout == ""
    done = history.theta("push", "origin", "no-such-branch", check=False)
    assert done.returncode == 1
    assert "no-such-branch" in done.stderr


def test_push_command_brings_what_there_is(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    (set(history.objects()) - set(_objects_of(history, "v0"))).pop().unlink()
    done = history.theta("push", check=False)
    assert done.returncode == 1
    assert "layer.1.weight" in done.stderr
    assert len(bare.objects()) == len(history.objects())


@pytest.mark.parametrize(
    "url", ["https://example.invalid/m.git", "git@example.invalid:m.git", "ext::nothing"]
)
def test_other_protocols_are_refused_before_refs_are_pushed(history: GitRepo, url: str) -> None:
    update = f"refs/heads/main {history.head()} refs/heads/main {'0' * 40}\n"
    done = history.run("git-theta", "hook", "pre-push", "origin", url, stdin=update.encode(), check=False)
    assert done.returncode == 1
    assert url in done.stderr
    assert "later version" in done.stderr


def test_other_protocols_are_fine_where_no_object_is_new(history: GitRepo, pushed: GitRepo) -> None:
    history.write("notes.txt", "only text")
    history.commit()
    update = f"refs/heads/main {history.head()} refs/heads/main {history.head('HEAD~1')}\n"
    history.run(
        "git-theta", "hook", "pre-push", "origin", "https://example.invalid/m.git", stdin=update.encode()
    )


def test_manifest_that_nobody_could_check_out_is_not_pushed(history: GitRepo) -> None:
    bare = history.add_remote("origin")
    good = history.blob("HEAD:model.safetensors")
    damaged = good.replace(b'"size":', b'"size":1', 1)
    history.stage(damaged, "model.safetensors")
    assert history.git("commit", "-m", "damaged", check=False).returncode != 0
    tree = history.git("write-tree").stdout.strip()
    commit = history.git("commit-tree", "-p", "HEAD", "-m", "damaged", tree).stdout.strip()
    done = history.git("push", "origin", f"{commit}:refs/heads/main", check=False)
    assert done.returncode != 0
    assert f"commit {commit[:7]}, model.safetensors" in done.stderr
    assert bare.git("for-each-ref").stdout == ""


def test_push_from_a_linked_work_tree_and_a_folder_in_it(history: GitRepo) -> None:
    bare = GitRepo(history.path.parent / "relative.git")
    bare.path.mkdir()
    bare.git("init", "-q", "--bare")
    history.git("remote", "add", "origin", "../relative.git")
    history.git("worktree", "add", "-q", "../tree")
    folder = GitRepo(history.path.parent / "tree" / "folder")
    folder.path.mkdir()
    folder.git("push", "-q", "origin", "tree")
    assert restorable(bare, "tree") == [version(1)]


def test_manifests_that_a_commit_has_checked_are_not_read_whole_again(history: GitRepo) -> None:
    """What the hook has found whole the index says; what was committed past it is read, once."""
    bare = history.add_remote("origin")

    def whole() -> set[str]:
        with closing(sqlite3.connect(history.path / ".git/theta/index.sqlite")) as database:
            return {blob.hex() for (blob,) in database.execute("SELECT blob FROM whole")}

    def added(seed: int) -> str:
        history.write(MODEL, model(seed, "layer.2.weight"))
        history.git("add", MODEL)
        return history.head(f":{MODEL}")

    checked = added(8)
    assert checked not in whole()
    history.git("commit", "-q", "-m", "past no hook")
    assert checked in whole()
    unchecked = added(9)
    history.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "past the hooks")
    assert unchecked not in whole()
    history.git("push", "-q", "origin", "main")
    assert unchecked in whole()
    assert bare.head("main") == history.head()
