"""Manifests, objects and indexes of a newer git-theta, and of clones with other settings or plug-ins."""

import json

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights
from merge_cases import MODEL, clean_and_equal

from git_theta.manifest import VERSION

NEWER = "made by a newer git-theta"
UPGRADE = "pip install -U git-theta"


def newer(blob: bytes) -> bytes:
    """A manifest as a later version could write it."""
    head, rest = blob.split(b"\n", 1)
    row = {**json.loads(head), "git-theta": VERSION + 1, "needs": ["something"]}
    return json.dumps(row, separators=(",", ":")).encode() + b'\n{"part":"of another kind"}\n' + rest


@pytest.fixture
def ahead(history: GitRepo) -> GitRepo:
    """The branch `newer`, not checked out, has a manifest that only a newer git-theta can read."""
    commit_text(history, newer(history.blob(f"HEAD:{MODEL}")), "newer")
    return history


def commit_text(repo: GitRepo, text: bytes, branch: str) -> None:
    """Commit this text as the model's blob, on a new branch."""
    oid = repo.hash_object(text)
    tree = repo.git("ls-tree", "HEAD").stdout.replace(repo.head(f"HEAD:{MODEL}"), oid)
    made = repo.git("mktree", stdin=tree.encode()).stdout.strip()
    commit = repo.git("commit-tree", "-p", "HEAD", "-m", branch, made).stdout.strip()
    repo.git("branch", branch, commit)


def says(done: object) -> None:
    said = done.stdout + done.stderr  # type: ignore[attr-defined]
    assert NEWER in said
    assert UPGRADE in said
    assert "Traceback" not in said


def test_a_checkout_says_so_and_leads_back(ahead: GitRepo) -> None:
    before = ahead.digest(MODEL)
    done = ahead.git("checkout", "newer", check=False)
    assert done.returncode
    says(done)
    ahead.follow(done.stderr, "to go back")
    assert ahead.digest(MODEL) == before
    assert ahead.status() == []


@pytest.fixture
def text(ahead: GitRepo) -> GitRepo:
    """The newer manifest lies in the work tree."""
    ahead.git("checkout", "-q", "newer", GIT_THETA_SKIP_SMUDGE="1")
    return ahead


def test_its_text_in_the_work_tree_stays_as_it_is(text: GitRepo) -> None:
    blob = text.head(f"HEAD:{MODEL}")
    (text.path / MODEL).touch()
    assert text.status() == []
    text.git("add", "--renormalize", MODEL)
    text.git("-c", "theta.allowDamaged=true", "add", "--renormalize", MODEL)
    text.write("notes.txt", "more\n")
    text.git("stash", "-q")
    text.git("stash", "pop", "-q", GIT_THETA_SKIP_SMUDGE="1")
    text.git("commit", "-q", "-a", "-m", "notes")
    assert text.head(f"HEAD:{MODEL}") == blob
    assert (text.path / MODEL).read_bytes() == text.blob(f"HEAD:{MODEL}")


def test_one_with_conflict_markers_is_no_newer_one(text: GitRepo) -> None:
    text.write(MODEL, text.blob(f"HEAD:{MODEL}") + b"<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n")
    done = text.git("add", MODEL, check=False)
    assert done.returncode
    assert "conflict markers" in done.stderr


def test_commands_that_look(text: GitRepo) -> None:
    for command in (["diff", "HEAD~1"], ["log", "-1", "-p"], ["show"], ["diff", "--no-ext-diff", "HEAD~1"]):
        says(text.git(*command))
    text.git("blame", MODEL)
    for command in (["ls-files"], ["ls-files", "-l"], ["doctor"], ["fsck"], ["fetch"], ["pull"], ["du"]):
        done = text.theta(*command, check=False)
        assert NEWER in done.stdout + done.stderr, command
        assert "Traceback" not in done.stderr
    for command in (["doctor"], ["fsck"], ["fetch"], ["pull"], ["diff", "HEAD~1"], ["show", MODEL]):
        says(text.theta(*command, check=False))
    assert json.loads(text.theta("ls-files", "--json").stdout)[0]["problem"].startswith(NEWER)
    (text.path / MODEL).unlink()
    text.git("checkout", "-q", "main", "--", MODEL)
    text.git("reset", "-q")
    assert NEWER in text.theta("status", check=False).stdout


def test_a_merge_is_a_conflict_in_which_nothing_is_lost(ahead: GitRepo) -> None:
    ours = safetensors_bytes(changed(weights(0), "bias", seed=3))
    ahead.write(MODEL, ours)
    ahead.commit("ours")
    for options in ([], ["-Xours"], ["-Xtheirs"]):
        done = ahead.git("merge", "--no-edit", *options, "newer", check=False)
        assert done.returncode == 1
        says(done)
        assert ahead.digest(MODEL) == digest(ours)
        assert len(ahead.git("ls-files", "-u").stdout.splitlines()) == 3
        says(ahead.theta("resolve", MODEL, "--strategy", "average", check=False))
        ahead.git("merge", "--abort")
    says(ahead.theta("merge", "newer", check=False))
    assert ahead.status() == []


def test_carrying_it_along_is_allowed_and_pushing_it_is_not(ahead: GitRepo) -> None:
    bare = ahead.add_remote("origin")
    ahead.git("push", "-q", "origin", "main")
    ahead.write("notes.txt", "ours\n")
    ahead.commit("ours")
    ahead.git("merge", "-q", "--no-edit", "newer", GIT_THETA_SKIP_SMUDGE="1")
    assert ahead.head(f"HEAD:{MODEL}") == ahead.head(f"newer:{MODEL}")
    done = ahead.git("push", "origin", "main", check=False)
    assert done.returncode
    says(done)
    assert "nothing is pushed" in done.stderr
    assert bare.head("main") != ahead.head()


def test_what_a_remote_has_already_is_no_obstacle(ahead: GitRepo) -> None:
    ahead.add_remote("origin")
    ahead.git("push", "-q", "origin", "main")
    ahead.git("push", "-q", "--no-verify", "origin", "newer")  # as the newer git-theta has done
    ahead.git("checkout", "-q", "newer", GIT_THETA_SKIP_SMUDGE="1")
    ahead.write("notes.txt", "more\n")
    ahead.commit("more", "notes.txt")
    ahead.git("push", "-q", "origin", "newer")


def test_repack_leaves_it_alone(text: GitRepo) -> None:
    text.theta("repack")
    assert text.blob(f"HEAD:{MODEL}") == (text.path / MODEL).read_bytes()


def test_clones_with_other_settings_make_the_same_blobs(history: GitRepo) -> None:
    other = history.clone("other")
    settings = {"grouping": "off", "maxChainDepth": "1", "maxChainRatio": "0.1", "allowDamaged": "true"}
    for name, value in settings.items():
        other.git("config", f"theta.{name}", value)
    blobs = [history.head(f"v{number}:{MODEL}") for number in range(2)]
    clean_and_equal(other, version(1))
    other.write(MODEL, safetensors_bytes(changed(weights(0), "bias")))
    other.git("stash", "-q")
    other.git("stash", "pop", "-q")
    other.git("restore", MODEL)
    other.git("checkout", "-q", "v0")
    other.write(MODEL, version(1))
    other.git("add", MODEL)
    assert other.head(f":{MODEL}") == blobs[1]
    other.git("reset", "-q", "--hard")
    other.write("other.txt", "x")
    other.commit("other")
    other.git("rebase", "-q", "v1")
    assert [other.head(f"HEAD~{number}:{MODEL}") for number in (1, 2)] == blobs[::-1]
    assert other.status() == []
