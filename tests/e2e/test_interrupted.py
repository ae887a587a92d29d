"""A smudge that fails stops git half-way. What its message says to type leads back, and then on.

Every command here is taken from the message and run as it stands.
"""

from __future__ import annotations

import pytest
from git_repo import GitRepo, digest, safetensors_bytes, version, weights
from lost_objects import LOST, LOST_FILE, MODEL, OTHER, OTHER_FILE, Broken, check_done


def check_others_are_written(repo: GitRepo) -> None:
    """All files but the failing one."""
    assert not (repo.path / LOST).exists()
    assert repo.digest(OTHER) == digest(OTHER_FILE)
    assert repo.digest(MODEL) == digest(version(1))
    assert (repo.path / "z.txt").exists()


def check_message(said: str) -> None:
    assert f"git-theta: {LOST}: " in said
    assert "objects are missing" in said
    assert "layer.0.weight" in said
    assert OTHER not in said


COMMANDS = {
    "checkout other": "main",
    "merge --no-edit other": "main",
    "rebase other": "main",
    "rebase --apply other": "main",
    "switch -c new origin/other": "main",
    "merge other": "early",
    "pull --no-rebase --no-edit origin other": "main",
    "cherry-pick early other": "main",
    "cherry-pick other": "main",
    "checkout --detach other": "main",
}
_FAST = ("checkout other", "merge --no-edit other", "rebase other")


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=[] if name in _FAST else pytest.mark.slow) for name in COMMANDS],
)
def test_way_back_and_on(broken: Broken, command: str) -> None:
    repo = broken.repo
    repo.git("checkout", "-q", COMMANDS[command])
    if command == "cherry-pick early other":
        repo.git("commit", "-q", "--allow-empty", "-m", "to be picked")
        repo.git("branch", "-f", "early")
        repo.git("reset", "-q", "--hard", "HEAD~1")
        command = "cherry-pick --allow-empty early other"
    head, branch = repo.head(), repo.git("symbolic-ref", "HEAD").stdout
    failed = repo.git(*command.split(), check=False)
    assert failed.returncode != 0
    check_message(failed.stderr)
    check_others_are_written(repo)
    repo.follow(failed.stderr, "to go back")  # nothing that is lost is needed for this
    assert repo.status() == ["?? mine.txt"]
    assert (repo.head(), repo.git("symbolic-ref", "HEAD").stdout) == (head, branch)
    broken.mend()
    repo.follow(failed.stderr, "to try again")
    check_done(repo)


def test_checkout_of_the_previous_branch(broken: Broken) -> None:
    """`-` means another branch after the way back."""
    repo = broken.repo
    repo.git("-c", "theta.skipSmudge=true", "checkout", "-q", "other")
    repo.git("-c", "theta.skipSmudge=true", "checkout", "-q", "main")
    failed = repo.git("checkout", "-", check=False)
    assert failed.returncode != 0
    repo.follow(failed.stderr, "to go back")
    broken.mend()
    repo.follow(failed.stderr, "to try again")
    assert repo.git("symbolic-ref", "HEAD").stdout == "refs/heads/other\n"
    check_done(repo)


def test_rebase_that_stops_at_a_lost_commit(broken: Broken) -> None:
    """The way back ends on the branch that lacks the file: its manifest is there instead."""
    repo = broken.repo
    repo.git("-c", "theta.skipMissing=true", "checkout", "-q", "other")
    head = repo.head()
    failed = repo.git("rebase", "main", check=False)
    assert failed.returncode != 0
    check_message(failed.stderr)
    repo.follow(failed.stderr, "to go back")
    assert repo.status() == ["?? mine.txt"]
    assert (repo.head(), repo.git("symbolic-ref", "HEAD").stdout) == (head, "refs/heads/other\n")
    assert repo.digest(OTHER) == digest(OTHER_FILE)
    assert (repo.path / LOST).read_bytes() == repo.blob(f"other:{LOST}")
    broken.mend()
    repo.follow(failed.stderr, "to try again")
    check_done(repo)


def test_half_done_clone(broken: Broken) -> None:
    repo = broken.repo
    folder = repo.path.parent / "new clone"
    failed = repo.git("clone", "-b", "other", str(broken.origin.path), str(folder), check=False)
    assert failed.returncode != 0
    check_message(failed.stderr)
    clone = GitRepo(folder)
    check_others_are_written(clone)
    broken.mend()
    repo.follow(failed.stderr, "then type")
    clone.write("mine.txt", "")
    check_done(clone)
    clone.write(MODEL, version(0))
    clone.git("commit", "-q", "-a", "-m", "the clone can be pushed from")
    clone.git("push", "-q", "origin", "other")
    assert clone.clone("third", "-b", "other", source=str(broken.origin.path)).digest(MODEL) == digest(
        version(0)
    )


@pytest.mark.parametrize(
    "command",
    ["checkout other -- .", "restore --source=other [ab].safetensors", "reset --hard other"],
)
def test_commands_that_are_simply_repeated(broken: Broken, command: str) -> None:
    repo = broken.repo
    repo.write("main.txt", "changed\n")
    repo.git("add", "main.txt")
    failed = repo.git(*command.split(), check=False)
    assert failed.returncode != 0
    check_message(failed.stderr)
    broken.mend()
    repo.follow(failed.stderr, "then type")
    assert repo.digest(LOST) == digest(LOST_FILE)
    assert repo.digest(OTHER) == digest(OTHER_FILE)
    if not command.startswith("reset"):
        assert (repo.path / "main.txt").read_text() == "changed\n"


def test_new_work_tree(broken: Broken) -> None:
    repo = broken.repo
    repo.write("notes.txt", "not committed\n")
    failed = repo.git("worktree", "add", "../linked", "other", check=False)
    assert failed.returncode != 0
    broken.mend()
    repo.follow(failed.stderr, "then type")
    assert GitRepo(repo.path.parent / "linked").digest(LOST) == digest(LOST_FILE)
    assert (repo.path / "notes.txt").read_text() == "not committed\n"


def test_half_done_stash_pop(broken: Broken) -> None:
    """Objects of a stash are nowhere else; here they come back as from a backup."""
    repo = broken.repo
    repo.write(MODEL, version(1))
    repo.write("notes.txt", "stashed\n")
    added = safetensors_bytes(weights(11))
    repo.write("added.safetensors", added)
    before = set(repo.objects())
    repo.git("add", MODEL, "notes.txt", "added.safetensors")
    repo.git("stash")
    kept = {path: path.read_bytes() for path in set(repo.objects()) - before}
    for path in kept:
        path.unlink()
    failed = repo.git("stash", "pop", check=False)
    assert failed.returncode != 0
    assert "git-theta: added.safetensors: " in failed.stderr
    repo.follow(failed.stderr, "to go back")
    assert repo.status() == ["?? mine.txt"]
    for path, data in kept.items():
        path.write_bytes(data)
    repo.follow(failed.stderr, "to try again")
    assert repo.digest("added.safetensors") == digest(added)
    assert repo.digest(MODEL) == digest(version(1))
    assert (repo.path / "notes.txt").read_text() == "stashed\n"
    assert repo.git("stash", "list").stdout == ""


def test_damaged_object_among_several_files(broken: Broken) -> None:
    """It is mended as the message says, and the other files are written all the same."""
    repo = broken.repo
    broken.mend()
    repo.theta("fetch", "origin", "other")
    damaged = []
    for path in broken.lost.rglob("*"):
        place = repo.path / ".git" / "theta" / "objects" / path.relative_to(broken.lost)
        if path.is_file() and place.exists():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            place.unlink()
            place.write_bytes(data)
            damaged.append(path.name)
    assert damaged
    failed = repo.git("checkout", "other", check=False)
    assert failed.returncode != 0
    assert f"git-theta: {LOST}: " in failed.stderr
    assert damaged[0][:12] in failed.stderr
    check_others_are_written(repo)
    repo.follow(failed.stderr, "to go back")
    assert repo.status() == ["?? mine.txt"]
    repo.follow(failed.stderr, "to try again")
    check_done(repo)


def test_manifest_can_be_had_instead(broken: Broken) -> None:
    done = broken.repo.git("-c", "theta.skipMissing=true", "checkout", "other")
    assert f"{LOST}: " in done.stderr
    assert "its manifest was written instead" in done.stderr
    assert (broken.repo.path / LOST).read_bytes() == broken.repo.blob(f"other:{LOST}")
    assert broken.repo.digest(OTHER) == digest(OTHER_FILE)
    broken.mend()
    broken.repo.theta("pull")
    check_done(broken.repo)
