"""What the hooks say and refuse when a commit is made."""

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, version, weights


def said(repo: GitRepo, *arguments: str) -> list[str]:
    """The lines about checkpoints that a git command prints."""
    done = repo.git(*arguments)
    return [line for line in (done.stdout + done.stderr).splitlines() if ".safetensors: " in line]


def test_first_version(repo: GitRepo) -> None:
    repo.write("model.safetensors", version(0))
    repo.git("add", "model.safetensors")
    (line,) = said(repo, "commit", "-m", "base")
    assert line.startswith("model.safetensors: 5 tensors, 3")
    assert line.endswith("%)")
    stored = sum(path.stat().st_size for path in repo.objects())
    assert f"{stored / 1000:.0f} KB stored" in line


def test_next_version(history: GitRepo) -> None:
    before = sum(path.stat().st_size for path in history.objects())
    tensors = changed(changed(weights(0), "layer.1.weight"), "layer.0.weight", "bias", seed=5)
    del tensors["layer.3.weight"]
    history.write("model.safetensors", safetensors_bytes(tensors))
    (line,) = said(history, "commit", "-am", "next")
    stored = sum(path.stat().st_size for path in history.objects()) - before
    assert line.startswith("model.safetensors: 3 of 5 tensors changed (2 modified, 1 removed), ")
    assert f"{stored / 1000:.0f} KB stored" in line


def test_nothing_is_said_where_nothing_was_stored(history: GitRepo) -> None:
    history.write("notes.txt", "text only")
    assert said(history, "commit", "-am", "text") == []
    history.git("mv", "model.safetensors", "renamed.safetensors")
    history.write("copy.safetensors", version(1))
    history.git("add", "copy.safetensors")
    assert said(history, "commit", "-m", "moved and copied") == []


def test_two_models_that_share_tensors_are_counted_once(repo: GitRepo) -> None:
    repo.write("a.safetensors", version(0))
    repo.write("b.safetensors", safetensors_bytes(weights(0), {"name": "b"}))
    repo.git("add", "--all")
    first, second = said(repo, "commit", "-m", "two")
    assert first.startswith("a.safetensors: 5 tensors, 3")
    assert second.startswith("b.safetensors: 5 tensors")
    assert float(second.split(", ")[1].split()[0]) < 100 or " B stored" in second


def test_report_can_be_switched_off(history: GitRepo) -> None:
    history.git("config", "theta.report", "false")
    history.write("model.safetensors", version(0))
    assert said(history, "commit", "-am", "back") == []


def test_report_of_tensors(history: GitRepo) -> None:
    history.git("config", "theta.report", "tensors")
    tensors = changed(changed(weights(0), "layer.1.weight"), "layer.0.weight", seed=5)
    del tensors["layer.3.weight"]
    tensors["new"] = weights(7)["bias"][:5]
    history.write("model.safetensors", safetensors_bytes(tensors))
    lines = history.git("commit", "-am", "next").stderr.splitlines()
    assert lines[0].startswith("model.safetensors: 3 of 6 tensors changed (1 modified, 1 added, 1 removed), ")
    assert lines[1].split()[-4:] == ["STORED", "RATIO", "UPDATE", "CHAIN"]
    first, second, removed = (line.split() for line in lines[2:])
    assert first[:4] == ["layer.0.weight", "modified", "F32", "160x128"]
    assert first[-2:] == ["delta", "1"]
    assert second[:2] == ["new", "added"]
    assert second[-2:] == ["dense", "0"]
    assert removed == ["layer.3.weight", "removed"]
    history.git("config", "theta.report", "sometimes")
    history.write("model.safetensors", version(0))
    refused = history.git("commit", "-am", "back", check=False)
    assert refused.returncode != 0
    assert "theta.report is 'sometimes'" in refused.stderr
    assert "git config theta.report true" in refused.stderr


def test_merge_reports_and_fast_forward_does_not(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    history.write("side.safetensors", safetensors_bytes(weights(3)))
    history.git("add", "--all")
    history.git("commit", "-q", "-m", "side")
    history.git("switch", "-q", "-c", "ahead")
    history.write("ahead.safetensors", safetensors_bytes(weights(4)))
    history.git("add", "--all")
    history.git("commit", "-q", "-m", "ahead")
    history.git("switch", "-q", "side")
    assert said(history, "merge", "--ff-only", "ahead") == []
    history.git("switch", "-q", "main")
    # A clean merge stores nothing either: all of it was there on one side.
    assert said(history, "merge", "--no-edit", "side") == []
    history.git("switch", "-q", "-c", "tuned", "v0")
    history.write("model.safetensors", safetensors_bytes(changed(weights(0), "layer.1.weight", seed=6)))
    history.git("commit", "-q", "-a", "-m", "tuned")
    history.git("switch", "-q", "main")
    *_, line = said(history, "-c", "theta.merge=average", "merge", "--no-edit", "tuned")
    assert line.startswith("model.safetensors: 1 of 5 tensors changed, ")
    assert line.endswith("%)")


def test_rebase_is_silent(history: GitRepo) -> None:
    history.git("switch", "-q", "-c", "side", "v0")
    for number in range(2):
        history.write(f"{number}.safetensors", safetensors_bytes(weights(number + 3)))
        history.git("add", "--all")
        history.git("commit", "-q", "-m", "side")
    assert said(history, "rebase", "main") == []


def test_raw_checkpoint_is_refused(history: GitRepo) -> None:
    history.stage(version(0))
    done = history.git("commit", "-m", "raw", check=False)
    assert done.returncode != 0
    assert "model.safetensors: staged as it is (328 KB)" in done.stderr
    assert "git add --renormalize model.safetensors" in done.stderr
    history.write("model.safetensors", version(0))
    history.git("add", "--renormalize", "model.safetensors")
    history.git("commit", "-q", "-m", "converted")


def test_several_raw_checkpoints_are_added_again_by_one_command(history: GitRepo) -> None:
    names = ["a model.safetensors", "model.safetensors"]
    for name in names:
        history.stage(version(0), name)
        history.write(name, version(0))
    refused = history.refused("git", "commit", "-m", "raw")
    history.remedy(refused, f"git add --renormalize '{names[0]}' {names[1]}")
    history.git("commit", "-q", "-m", "converted")
    for name in names:
        assert history.blob(f"HEAD:{name}").startswith(b'{"git-theta":')


def test_remedies_can_be_typed_as_they_stand(history: GitRepo) -> None:
    name = "a model; $(date).safetensors"
    history.stage(version(0), name)
    done = history.git("commit", "-m", "raw", check=False)
    (remedy,) = [line for line in done.stderr.splitlines() if "--renormalize" in line]
    history.write(name, version(0))
    history.run("sh", "-e", "-c", remedy.removeprefix("hint: "))
    history.git("commit", "-q", "-m", "converted")
    assert history.blob(f"HEAD:{name}").startswith(b'{"git-theta":')


def test_symbolic_links_and_empty_files_are_none(history: GitRepo) -> None:
    (history.path / "link.safetensors").symlink_to("model.safetensors")
    history.stage(b"", "empty.safetensors")
    history.git("add", "link.safetensors")
    history.git("commit", "-q", "-m", "links")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"update":"delta"', b'"update":"DELTA"', "line"),
        (b'"format":"safetensors"', b'"format":"pytorch"', "do not belong together"),
        (b"\n", b"\n<<<<<<< ours\n", "conflict markers"),
        (b"\n", b"\nours\n", "not JSON"),
    ],
)
def test_damaged_manifest_is_refused(history: GitRepo, old: bytes, new: bytes, says: str) -> None:
    history.stage(history.blob("HEAD:model.safetensors").replace(old, new, 1))
    done = history.git("commit", "-m", "damaged", check=False)
    assert done.returncode != 0
    assert "model.safetensors" in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_all_problems_are_told_at_once(history: GitRepo) -> None:
    history.stage(b'{"git-theta":1' + b" " * 300, "a.safetensors")
    history.stage(version(0), "b.safetensors")
    done = history.git("commit", "-m", "bad", check=False)
    assert "a.safetensors" in done.stderr
    assert "b.safetensors" in done.stderr


def test_missing_objects_are_refused_unless_they_were_committed_before(history: GitRepo) -> None:
    new = safetensors_bytes(weights(7))
    history.write("model.safetensors", new)
    history.git("add", "model.safetensors")
    for path in history.objects():
        path.unlink()
    done = history.git("commit", "-m", "lost", check=False)
    assert done.returncode != 0
    assert "objects are neither here nor on a remote" in done.stderr
    # The objects of v0 are missing too, but HEAD's manifest names them all.
    history.stage(history.blob("v0:model.safetensors"))
    history.git("commit", "-q", "-m", "older")


def test_check_runs_where_git_skips_pre_commit(history: GitRepo) -> None:
    """Picks and --continue run prepare-commit-msg only."""
    history.git("switch", "-q", "-c", "side", "v0")
    history.write("notes.txt", "other\n")
    history.git("commit", "-q", "-am", "other notes")
    picked = history.git("cherry-pick", "main", check=False)
    assert picked.returncode != 0
    history.write("notes.txt", "solved\n")
    history.git("add", "notes.txt")
    history.stage(version(0))
    done = history.git("cherry-pick", "--continue", check=False, GIT_EDITOR="true")
    assert done.returncode != 0
    assert "staged as it is" in done.stderr


def test_hooks_import_nothing_heavy(history: GitRepo) -> None:
    history.write("model.safetensors", version(0))
    history.git("add", "model.safetensors")
    code = (
        "import sys; from git_theta.cli.entry import main; code = main(sys.argv[1:]); "
        "print('IMPORTED', *sys.modules); sys.exit(code)"
    )
    import sys

    for hook in ("pre-commit", "prepare-commit-msg", "post-commit"):
        done = history.run(sys.executable, "-c", code, "hook", hook)
        modules = set(done.stdout.partition("IMPORTED ")[2].split())
        assert "git_theta.drivers.hooks" in modules
        assert not modules & {"numpy", "torch", "zarr", "git", "safetensors", "zstandard"}
