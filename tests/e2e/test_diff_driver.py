"""`git diff` on checkpoints, in every form in which Git runs the diff driver."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from diff_cases import MODEL, make_conflict, rows, write_change
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights
from terminals import on_a_terminal

_ESCAPE = "\x1b["


def stored(repo: GitRepo) -> tuple[list[Path], list[str]]:
    """All objects of git-theta, and all of git's."""
    listed = repo.git("cat-file", "--batch-all-objects", "--batch-check").stdout.splitlines()
    return repo.objects(), listed


def test_two_commits(history: GitRepo) -> None:
    output = history.git("diff", "v0", "v1", "--", MODEL).stdout
    assert output.startswith(f"diff --theta a/{MODEL} b/{MODEL}\n")
    assert "1 of 5 tensors changed; 20.5K of 81.9K parameters" in output
    assert rows(output) == ["M layer.1.weight"]
    assert "F32 160×128" in output
    assert "100%" in output


def test_work_tree_index_and_commit(history: GitRepo) -> None:
    write_change(history, "bias")
    before = stored(history)
    for options, names in ((), ["bias"]), (("v0",), ["layer.1.weight", "bias"]):
        shown = on_a_terminal(history.path, "git", "diff", "--no-color", *options)
        assert rows(shown) == [f"M {name}" for name in names]
    assert history.git("diff", "--cached").stdout == ""
    assert stored(history) == before, "looking must store nothing"
    history.git("add", MODEL)
    assert history.git("diff").stdout == ""
    assert rows(history.git("diff", "--cached").stdout) == ["M bias"]
    assert rows(history.git("diff", "-R", "--cached").stdout) == ["M bias"]


def test_a_touched_file_has_no_difference(history: GitRepo) -> None:
    (history.path / MODEL).touch()
    assert history.git("diff").stdout == ""
    assert history.theta("diff").stdout == ""


def test_in_a_subfolder(history: GitRepo) -> None:
    history.write("models/small.safetensors", version(0))
    history.commit("another model")
    history.write("models/small.safetensors", version(1))
    folder = GitRepo(history.path / "models")
    output = folder.git("diff").stdout
    assert output.startswith("diff --theta a/models/small.safetensors b/models/small.safetensors\n")
    assert folder.git("diff", "--relative").stdout.startswith("diff --theta a/small.safetensors")
    assert rows(folder.theta("diff", "small.safetensors").stdout) == ["M layer.1.weight"]


def test_log_and_show_with_the_driver(history: GitRepo) -> None:
    assert rows(history.git("log", "-p", "--ext-diff", "-1", "--format=", "--", MODEL).stdout) == [
        "M layer.1.weight"
    ]
    assert rows(history.git("show", "--ext-diff", "v1", "--", MODEL).stdout) == ["M layer.1.weight"]
    added = history.git("show", "--ext-diff", "v0", "--", MODEL).stdout
    assert "new file mode 100644" in added
    assert "new checkpoint, 5 tensors" in added
    assert len(rows(added)) == 5


def test_stat_and_names_do_not_run_it(history: GitRepo) -> None:
    write_change(history, "bias")
    assert history.git("diff", "--name-only").stdout == f"{MODEL}\n"
    assert MODEL in history.git("diff", "--stat", "v0", "v1").stdout
    assert "theta" not in history.git("diff", "--stat").stdout


def test_stash(history: GitRepo) -> None:
    write_change(history, "bias")
    history.git("stash", "-q")
    shown = history.git("stash", "show", "-p", "--ext-diff").stdout
    assert rows(shown) == ["M bias"]
    history.git("stash", "pop", "-q")
    assert history.status() == [f" M {MODEL}"]


def test_difftool(history: GitRepo) -> None:
    """With folders it is given whole checkpoints; otherwise git prefers the driver."""
    history.git("config", "difftool.sums.cmd", "sha256sum $LOCAL/* $REMOTE/*")
    output = history.git("difftool", "--dir-diff", "-t", "sums", "v0", "v1", "--", MODEL).stdout
    assert [line.split()[0] for line in output.splitlines()] == [digest(version(0)), digest(version(1))]
    output = history.git("difftool", "-y", "-t", "sums", "v0", "v1", "--", MODEL).stdout
    assert rows(output) == ["M layer.1.weight"]


def test_deleted_moved_and_made_executable(history: GitRepo) -> None:
    history.git("mv", MODEL, "renamed.safetensors")
    output = history.git("diff", "--cached", "-M").stdout
    assert output.splitlines()[:4] == [
        f"diff --theta a/{MODEL} b/renamed.safetensors",
        "similarity index 100%",
        f"rename from {MODEL}",
        "rename to renamed.safetensors",
    ]
    assert "identical files" in output
    history.git("reset", "-q", "--hard")
    (history.path / MODEL).chmod(0o755)
    assert history.git("diff").stdout.splitlines()[1:3] == ["old mode 100644", "new mode 100755"]
    (history.path / MODEL).unlink()
    output = history.git("diff").stdout
    assert output.startswith(f"diff --theta a/{MODEL} /dev/null\ndeleted file mode 100644\n")
    assert len(rows(output)) == 5


def test_became_a_link(history: GitRepo) -> None:
    (history.path / MODEL).unlink()
    (history.path / MODEL).symlink_to("elsewhere.safetensors")
    output = history.git("diff").stdout
    assert "deleted checkpoint" in output
    assert "new file mode 120000" in output
    assert "a symbolic link to elsewhere.safetensors" in output
    assert "a symbolic link to elsewhere.safetensors" in history.theta("diff").stdout


def test_damaged_and_foreign_files(history: GitRepo) -> None:
    history.write(MODEL, version(1)[:9000])
    output = history.git("diff").stdout
    assert "format safetensors → opaque" in output
    assert "! the file has 9000 bytes; its header says" in output
    history.write(MODEL, b"no checkpoint at all")
    output = history.git("diff").stdout
    assert "bytes that git-theta does not see tensors in" in output
    assert rows(output) == []


def test_manifest_with_conflict_markers(history: GitRepo) -> None:
    text = history.blob(f"HEAD:{MODEL}")
    history.write(MODEL, text.replace(b"\n", b"\n<<<<<<< ours\n", 1))
    output = history.git("diff").stdout
    assert f"{MODEL}: this is a text with conflict markers, not the checkpoint" in output
    assert "Traceback" not in output


def test_a_manifest_in_the_work_tree(history: GitRepo) -> None:
    """As theta.skipSmudge leaves them."""
    history.write(MODEL, history.blob(f"v0:{MODEL}"))
    assert rows(history.git("diff").stdout) == ["M layer.1.weight"]


def test_became_tracked_and_stopped_being_so(history: GitRepo) -> None:
    raw = version(0)
    history.write("late.bin", raw)
    history.commit("without git-theta")
    history.theta("track", "*.bin")
    history.git("add", "--renormalize", ".")
    history.commit("with git-theta", ".")
    assert history.blob("HEAD~1:late.bin") == raw
    assert history.blob("HEAD:late.bin").startswith(b'{"git-theta"')
    output = history.git("diff", "HEAD~1", "--", "late.bin").stdout
    assert "identical files" in output
    assert "! was in Git as a whole file, not tracked" in output
    assert "not tracked" in history.theta("diff", "HEAD~1", "HEAD").stdout
    history.theta("untrack", "*.bin")
    history.git("add", "--renormalize", ".")
    history.commit("without it again", ".")
    assert history.blob("HEAD:late.bin") == raw
    output = history.theta("diff", "HEAD~1", "HEAD").stdout
    assert "identical files\n  ! now in Git as a whole file, not tracked" in output
    history.write("late.bin", version(1))
    history.commit("a change of what is not tracked")
    assert rows(history.theta("diff", "HEAD~1", "HEAD", "--", "late.bin").stdout) == ["M layer.1.weight"]
    assert rows(history.theta("diff", "HEAD~2", "--", "late.bin").stdout) == ["M layer.1.weight"]
    assert "! now in Git as a whole file" in history.theta("log", "late.bin").stdout
    history.git("rm", "-q", "--cached", MODEL)
    assert "deleted checkpoint" in history.git("diff", "--cached", "--", MODEL).stdout


def test_no_index(history: GitRepo, tmp_path: Path) -> None:
    history.write("other.safetensors", version(0))
    output = history.git("diff", "--no-index", "other.safetensors", MODEL, check=False).stdout
    assert output.startswith(f"diff --theta a/other.safetensors b/{MODEL}\n")
    assert rows(output) == ["M layer.1.weight"]


def test_no_index_outside_of_a_repository(history: GitRepo, home: Path, tmp_path: Path) -> None:
    attributes = home / "attributes"
    attributes.write_text("*.safetensors diff=theta\n")
    outside = GitRepo(tmp_path / "outside")
    outside.path.mkdir()
    outside.git("config", "--global", "core.attributesFile", str(attributes))
    outside.write("old.safetensors", version(0))
    outside.write("new.safetensors", version(1))
    files = ("--no-index", "old.safetensors", "new.safetensors")
    assert rows(outside.git("diff", *files, check=False, GIT_CEILING_DIRECTORIES=str(tmp_path)).stdout) == [
        "M layer.1.weight"
    ]
    assert rows(outside.theta("diff", *files).stdout) == ["M layer.1.weight"]


def test_a_conflict(history: GitRepo) -> None:
    make_conflict(history)
    for command in (("diff", "--cached"), ("diff", "--ours")):
        output = history.git(*command).stdout
        assert output.startswith(f"diff --theta {MODEL}: base, ours stage 2, theirs stage 3\n")
        assert "1 tensor changed on both sides" in output
    assert rows(history.git("diff", "--ours").stdout) == []
    combined = history.git("diff").stdout
    assert combined.startswith(f"diff --cc {MODEL}")


def test_combined_diff_of_a_conflict(history: GitRepo) -> None:
    make_conflict(history)
    write_change(history, "bias", seed=9)
    output = history.git("diff").stdout
    changed_lines = {line.split()[1] for line in output.splitlines() if re.match(r"^[ +-]{2}\w", line)}
    assert "bias" in output
    assert "layer.0.weight" not in changed_lines


@pytest.mark.parametrize("where", ["nowhere", "on a remote"])
def test_missing_objects(history: GitRepo, where: str) -> None:
    if where == "on a remote":
        history.add_remote("origin")
        history.git("push", "-q", "origin", "main")
    shutil.rmtree(history.path / ".git/theta/objects")
    output = history.git("diff", "v0", "v1", "--", MODEL).stdout
    if where == "on a remote":
        assert rows(output) == ["M layer.1.weight"]
        assert len(history.objects()) == 2, "only what the comparison needs"
    else:
        assert rows(output) == ["? layer.1.weight"]
        assert "unknown: " in output
        assert "is not here (no remote is configured); git theta fetch" in " ".join(output.split())


def test_a_damaged_object(history: GitRepo) -> None:
    for path in history.objects():
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-50])
    output = history.git("diff", "v0", "v1", "--", MODEL).stdout
    assert rows(output) == ["? layer.1.weight"]
    assert "Traceback" not in output


class TestColour:
    def test_not_a_terminal(self, history: GitRepo) -> None:
        assert _ESCAPE not in history.git("diff", "v0", "v1", "--", MODEL).stdout

    def test_configuration(self, history: GitRepo) -> None:
        for key in ("color.ui", "color.diff"):
            assert _ESCAPE in history.git("-c", f"{key}=always", "diff", "v0", "v1", "--", MODEL).stdout

    def test_option(self, history: GitRepo) -> None:
        revisions = ("v0", "v1", "--", MODEL)
        assert _ESCAPE in history.git("diff", "--color", *revisions, NO_COLOR="1").stdout
        settings = ("-c", "color.ui=always")
        assert _ESCAPE not in history.git(*settings, "diff", "--no-color", *revisions).stdout

    def test_no_color(self, history: GitRepo) -> None:
        output = history.git("-c", "color.ui=always", "diff", "v0", "v1", "--", MODEL, NO_COLOR="1").stdout
        assert _ESCAPE not in output.split("diff --theta")[1]

    def test_behind_a_pager(self, history: GitRepo) -> None:
        """git says so to what it runs."""
        behind = {"GIT_PAGER_IN_USE": "1", "TERM": "xterm"}
        for setting, coloured in (("true", True), ("false", False)):
            output = history.git(
                "-c", f"color.pager={setting}", "diff", "v0", "v1", "--", MODEL, **behind
            ).stdout
            assert (_ESCAPE in output) == coloured


def test_width(history: GitRepo) -> None:
    narrow, wide = (
        history.git("diff", "v0", "v1", "--", MODEL, COLUMNS=columns).stdout.partition("diff --git")[0]
        for columns in ("60", "140")
    )
    assert max(map(len, narrow.splitlines())) <= 60
    assert 80 < max(map(len, wide.splitlines())) <= 140


def test_a_plain_locale(history: GitRepo) -> None:
    output = history.git("diff", "v0", "v1", "--", MODEL, PYTHONIOENCODING="ascii").stdout
    assert output.isascii()
    assert "160x128" in output


def test_names_that_need_quotes(history: GitRepo) -> None:
    name = "a model 'quoted' ü.safetensors"
    history.write(name, version(0))
    history.commit("odd name")
    history.write(name, version(1))
    output = history.git("diff").stdout
    assert output.startswith(f"diff --theta a/{name} b/{name}\n")


def test_the_hint_names_a_command_that_works(history: GitRepo) -> None:
    many = weights(0, count=30, shape=(4, 4))
    history.write(MODEL, safetensors_bytes(many))
    history.commit("many tensors")
    history.write(MODEL, safetensors_bytes(changed(many)))
    hint = re.search(r"and 11 more tensors; all of them: (.*)", history.git("diff").stdout)
    assert hint is not None
    output = history.run(*hint.group(1).split()).stdout
    assert len(rows(output)) == 31


def test_arguments_that_are_not_gits(history: GitRepo) -> None:
    done = history.theta("diff-driver", "a", "b", check=False)
    assert done.returncode == 1
    assert "git calls this with 1, 7 or 9 arguments" in done.stderr
