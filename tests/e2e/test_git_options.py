"""Options of Git that our drivers, filters and hooks are not told of: they mean what they always mean."""

from git_repo import GitRepo, digest
from merge_cases import BOTH, MODEL, diverge, model


def test_a_dry_run_of_add_stores_nothing(history: GitRepo) -> None:
    before = history.objects()
    history.write("new.safetensors", model(a=[1] * 9))
    for options in (["-n"], ["-nv"], ["--dry-run", "-A"]):
        assert "add 'new.safetensors'" in history.git("add", *options, ".").stdout
    assert history.objects() == before
    history.git("add", "new.safetensors")
    assert len(history.objects()) == len(before) + 1


def test_exit_codes_and_sides_of_a_difference(history: GitRepo) -> None:
    for options in (["--quiet"], ["--exit-code"], ["--exit-code", "--stat"], ["--quiet", "--no-ext-diff"]):
        assert history.git("diff", *options, check=False).returncode == 0
        assert history.git("diff", *options, "v0", check=False).returncode == 1
    (history.path / MODEL).touch()
    assert history.git("diff", "--quiet", check=False).returncode == 0
    assert (
        history.git("diff", "-R", "v0", "v1", "--", MODEL).stdout
        == history.git("diff", "v1", "v0", "--", MODEL).stdout
    )
    assert history.git("log", "-S", "layer.1.weight", "--format=%s").stdout.split() == ["version", "0"]


def test_merges_that_stop_before_the_commit(disjoint: GitRepo) -> None:
    head = disjoint.head()
    for option in ("--squash", "--no-commit"):
        disjoint.git("merge", option, "theirs")
        assert (disjoint.head(), disjoint.digest(MODEL)) == (head, digest(BOTH))
        assert disjoint.staged() == [MODEL]
        disjoint.git("reset", "-q", "--hard")
    disjoint.git("merge", "-q", "--squash", "theirs")
    disjoint.git("commit", "-q", "-m", "squashed")
    assert disjoint.git("log", "-1", "--format=%P").stdout.split() == [head]


def test_autostash_brings_changes_over_a_merge(disjoint: GitRepo) -> None:
    disjoint.write(MODEL, model(a=10, b=2, c=30))
    disjoint.git("merge", "-q", "--autostash", "--no-edit", "theirs")
    assert disjoint.digest(MODEL) == digest(model(a=10, b=20, c=30))
    assert disjoint.status() == [f" M {MODEL}"]


def test_sides_of_a_conflict_are_taken_out_and_the_conflict_made_again(repo: GitRepo) -> None:
    ours, theirs = model(a=10, b=2), model(a=11, b=20)
    diverge(repo, model(a=1, b=2), ours, theirs)
    assert repo.git("merge", "theirs", check=False).returncode == 1
    half = repo.digest(MODEL)
    for command in (["checkout", "--theirs"], ["restore", "--theirs"]):
        repo.git(*command, MODEL)
        assert repo.digest(MODEL) == digest(theirs)
    for command in (["checkout", "-m"], ["restore", "--merge"], ["checkout", "--conflict=diff3"]):
        repo.git(*command, MODEL)
        assert repo.digest(MODEL) == half
        assert repo.status() == [f"UU {MODEL}"]
    repo.git("checkout", "--ours", MODEL)
    assert repo.digest(MODEL) == digest(ours)
    repo.git("merge", "--abort")
    assert (repo.digest(MODEL), repo.status()) == (digest(ours), [])
