"""Patches of checkpoints that somebody keeps, and applies when the file itself is gone."""

from __future__ import annotations

import numpy as np
import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights
from stripped_manifests import identity_of
from terminals import on_a_terminal

MODEL = "model.safetensors"
_FLAGS = (
    "--binary --unified=0 --no-color --no-ext-diff --src-prefix=a/ --dst-prefix=b/ --patch --submodule=short"
)


def unsaved(repo: GitRepo) -> str:
    """Changes in the work tree that nobody has stored; the checkpoint's SHA-256."""
    repo.write(MODEL, safetensors_bytes(weights(7)))
    repo.write("notes.txt", "unsaved\n")
    return repo.digest(MODEL)


@pytest.mark.parametrize(
    ("keep", "apply"),
    [
        ("git diff > ../patch", "git apply ../patch"),
        ("git diff HEAD | cat > ../patch", "git apply ../patch"),
        ("git diff --binary > ../patch", "git apply ../patch"),
        ("git diff --no-ext-diff > ../patch", "git apply ../patch"),
        ("git diff --no-ext-diff --output=../patch", "git apply ../patch"),
        ("git diff-index --binary --no-ext-diff HEAD -- > ../patch", "git apply ../patch"),
        ("git diff-files -p > ../patch", "git apply ../patch"),
        (
            f"git diff {_FLAGS} --output ../patch",
            "git apply --whitespace=nowarn --recount --unidiff-zero ../patch",
        ),
        ("git diff HEAD > ../patch", "git apply --index ../patch"),
        ("git diff HEAD > ../patch", "git apply --3way ../patch"),
        ("git diff > ../patch; git stash", "git stash drop -q; git apply ../patch"),
    ],
)
def test_what_a_patch_names_can_be_had_again(history: GitRepo, keep: str, apply: str) -> None:
    wanted = unsaved(history)
    history.run("sh", "-ec", keep)
    history.git("checkout", "-q", "--force", "HEAD")
    assert history.digest(MODEL) == digest(version(1))
    history.run("sh", "-ec", apply)
    assert history.digest(MODEL) == wanted
    assert (history.path / "notes.txt").read_text() == "unsaved\n"


@pytest.mark.parametrize(
    "data",
    [safetensors_bytes(weights(7))[:9000], b"", b"no checkpoint at all", version(1)[:-1]],
    ids=["cut off", "empty", "of no format", "one byte short"],
)
def test_whatever_the_file_is(history: GitRepo, data: bytes) -> None:
    history.write(MODEL, data)
    history.run("sh", "-ec", "git diff-index --binary HEAD > ../patch")
    history.git("checkout", "-q", "--", ".")
    history.git("apply", "../patch")
    assert (history.path / MODEL).read_bytes() == data


def test_new_deleted_moved_and_executable_files(history: GitRepo) -> None:
    history.write("new.safetensors", version(0))
    history.git("add", "--intent-to-add", "new.safetensors")
    (history.path / MODEL).chmod(0o755)
    history.run(
        "sh", "-ec", "git diff > ../patch; rm new.safetensors; git reset -q --hard; git apply ../patch"
    )
    assert history.digest("new.safetensors") == digest(version(0))
    assert (history.path / MODEL).stat().st_mode & 0o100
    history.git("reset", "-q", "--hard")
    history.git("mv", MODEL, "moved.safetensors")
    history.run("sh", "-ec", "git diff --cached -M > ../patch; git reset -q --hard; git apply ../patch")
    assert history.digest("moved.safetensors") == digest(version(1))
    assert not (history.path / MODEL).exists()


def test_taking_back_a_commit(history: GitRepo) -> None:
    history.run("sh", "-ec", f"git diff v0 v1 -- {MODEL} | git apply -R")
    assert history.digest(MODEL) == digest(version(0))
    history.run("sh", "-ec", f"git diff v0 v1 -- {MODEL} | git apply")
    assert history.digest(MODEL) == digest(version(1))


def test_in_another_clone(history: GitRepo, pushed: GitRepo) -> None:
    """Which has the objects of the commits, but never looked at them."""
    clone = pushed.clone("clone", "--no-checkout")
    clone.git("-c", "theta.skipSmudge=true", "checkout", "-q", "v0")
    history.run("sh", "-ec", f"git diff v0 v1 -- {MODEL} > ../patch")
    clone.git("apply", "../patch")
    assert clone.digest(MODEL) == digest(version(1))


def test_without_what_it_names_nothing_is_lost(history: GitRepo) -> None:
    """A patch of a version that was stored elsewhere, applied in a clone that has never seen it."""
    clone = history.clone("clone")
    clone.git("remote", "remove", "origin")
    unsaved(history)
    history.run("sh", "-ec", "git diff --binary > ../patch")
    done = clone.git("apply", "../patch", check=False)
    assert "objects are missing" in done.stderr
    assert "the file stays as it was" in done.stderr
    assert clone.digest(MODEL) == digest(version(1))
    command = "git remote add objects /folder/of/a/clone; git theta fetch objects --all"
    clone.remedy(done.stderr, command, put={"/folder/of/a/clone": str(history.path)})
    clone.git("checkout", "-q", "--", "notes.txt")
    clone.git("apply", "../patch")
    assert clone.digest(MODEL) == history.digest(MODEL)


@pytest.mark.parametrize(
    ("options", "strip"),
    [("--no-prefix", 0), ("--src-prefix=old/a/ --dst-prefix=new/b/", 2), ("--no-prefix --default-prefix", 1)],
)
def test_prefixes(history: GitRepo, options: str, strip: int) -> None:
    wanted = unsaved(history)
    if "default" in options and history.git("diff", *options.split(), check=False).returncode:
        pytest.skip("this git has no --default-prefix")
    history.run(
        "sh", "-ec", f"git diff {options} > ../patch; git checkout -q .; git apply -p{strip} ../patch"
    )
    assert history.digest(MODEL) == wanted
    assert (history.path / "notes.txt").read_text() == "unsaved\n"


def test_prefixes_of_the_configuration_and_names_with_blanks(history: GitRepo) -> None:
    name = "a b/ü b/c.safetensors"
    history.write(name, version(0))
    history.commit("odd name")
    history.write(name, version(1))
    history.git("config", "diff.noprefix", "true")
    history.run("sh", "-ec", "git diff > ../patch; git checkout -q .; git apply -p0 ../patch")
    assert history.digest(name) == digest(version(1))


def test_a_file_gets_the_patch_in_colour_too(history: GitRepo) -> None:
    wanted = unsaved(history)
    history.run("sh", "-ec", f"git -c color.ui=always diff {MODEL} > ../patch; git checkout -q .")
    history.git("apply", "../patch")
    assert history.digest(MODEL) == wanted


def test_git_diff_cannot_have_the_driver_write_to_a_file(history: GitRepo) -> None:
    wanted = unsaved(history)
    refused = history.git("diff", "--output=../patch", check=False)
    assert refused.returncode != 0
    history.remedy(refused.stderr, "git diff --no-ext-diff --output=../patch")
    history.run("sh", "-ec", "git checkout -q .; git apply ../patch")
    assert history.digest(MODEL) == wanted


def test_a_look_at_a_terminal_stores_nothing(history: GitRepo) -> None:
    unsaved(history)
    objects = history.objects()
    for options in (("--no-pager", "diff"), ("diff",), ("-c", "core.pager=sed p", "diff", "--no-ext-diff")):
        assert MODEL in on_a_terminal(history.path, "git", *options)
    assert "diff --git" not in on_a_terminal(history.path, "git", "diff", "--", MODEL)
    history.git("status")
    assert history.objects() == objects


class TestHunks:
    """A hunk is a tensor or several: taking one takes its values."""

    @pytest.fixture
    def tuned(self, history: GitRepo) -> dict[str, np.ndarray]:
        """Two tensors with unsaved changes, first and last."""
        tensors = changed(changed(weights(0), "layer.1.weight"), "bias", "layer.3.weight", seed=5)
        history.write(MODEL, safetensors_bytes(tensors))
        return tensors

    def test_one_tensor_is_taken_back(self, history: GitRepo, tuned: dict[str, np.ndarray]) -> None:
        history.git("checkout", "-p", stdin=b"s\ny\nn\nn\nn\nn\n")
        assert history.digest(MODEL) == digest(safetensors_bytes(tuned | {"bias": weights(0)["bias"]}))

    def test_a_tensor_of_an_older_version(self, history: GitRepo, tuned: dict[str, np.ndarray]) -> None:
        history.commit("tuned")
        history.git("restore", "-p", "--source=v0", MODEL, stdin=b"s\ny\nn\nn\nn\nn\nn\nn\n")
        assert history.digest(MODEL) == digest(safetensors_bytes(tuned | {"bias": weights(0)["bias"]}))

    def test_one_tensor_is_stashed(self, history: GitRepo, tuned: dict[str, np.ndarray]) -> None:
        history.git("stash", "-p", stdin=b"s\ny\nn\nn\nn\nn\n")
        shown = history.theta("diff", "HEAD", "stash@{0}").stdout
        assert "bias" in shown
        assert "layer.1.weight" not in shown
        assert "1 of " in history.git("--no-pager", "stash", "show", "-p", "--ext-diff").stdout
        assert history.digest(MODEL) == digest(safetensors_bytes(tuned | {"bias": weights(0)["bias"]}))
        history.git("checkout", "-q", "--", MODEL)
        history.git("stash", "pop", "-q")
        stashed = changed(weights(0), "layer.1.weight") | {"bias": tuned["bias"]}
        assert history.digest(MODEL) == digest(safetensors_bytes(stashed))

    def test_a_stashed_tensor_is_merged_with_what_was_committed_since(
        self, history: GitRepo, tuned: dict[str, np.ndarray]
    ) -> None:
        history.git("stash", "-p", stdin=b"s\ny\nn\nn\nn\nn\n")
        history.commit("the rest")
        history.git("stash", "pop", "-q")
        assert history.digest(MODEL) == digest(safetensors_bytes(tuned))

    def test_one_tensor_is_staged_and_committing_it_is_refused(
        self, history: GitRepo, tuned: dict[str, np.ndarray]
    ) -> None:
        history.git("add", "-p", stdin=b"s\ny\nn\nn\nn\nn\n")
        done = history.git("commit", "-m", "a part", check=False)
        history.remedy(done.stderr, f"git add {MODEL}")
        history.git("commit", "-q", "-m", "whole")
        assert history.digest(MODEL) == digest(safetensors_bytes(tuned))
        assert history.status() == []

    def test_checksums_of_the_format_are_made_right(self, history: GitRepo) -> None:
        torch = pytest.importorskip("torch")

        def save(first: float, last: float) -> None:
            tensors = {"a": torch.full((200,), first), "b": torch.zeros(200), "c": torch.full((200,), last)}
            torch.save(tensors, history.path / "model.pt")

        save(1, 1)
        history.commit("saved")
        save(2, 2)
        history.git("checkout", "-p", stdin=b"s\ny\nn\nn\nn\nn\nn\n")
        loaded = torch.load(history.path / "model.pt", weights_only=True)
        assert [float(loaded[name][0]) for name in "abc"] == [1, 0, 2]
        history.run("python", "-m", "zipfile", "-t", "model.pt")

    def test_lines_that_make_no_checkpoint_leave_the_file_as_it_was(
        self, history: GitRepo, tuned: dict[str, np.ndarray]
    ) -> None:
        lines = history.git("diff-files", "-p", "-U99").stdout.splitlines()
        number, line = next((n, line) for n, line in enumerate(lines) if "layer.2" in line)
        offset = number - next(n for n, line in enumerate(lines) if line.startswith("@@"))
        patch = [
            f"--- a/{MODEL}",
            f"+++ b/{MODEL}",
            f"@@ -{offset - 2} +{offset - 3},0 @@",
            "-" + line[1:],
            "",
        ]
        done = history.git("apply", "--unidiff-zero", "-", stdin="\n".join(patch).encode())
        assert "the file stays as it was" in done.stderr
        assert history.digest(MODEL) == digest(safetensors_bytes(tuned))


def test_manifests_in_the_work_tree_are_made_whole_as_well(history: GitRepo) -> None:
    history.write(MODEL, history.blob(f"v0:{MODEL}"))
    history.git("checkout", "-p", stdin=b"y\nn\nn\n", GIT_THETA_SKIP_SMUDGE="1")
    text = (history.path / MODEL).read_bytes()
    history.git("add", MODEL)
    assert history.blob(f":{MODEL}") == text == history.blob(f"v1:{MODEL}")


def test_a_manifest_without_storage_is_completed(history: GitRepo) -> None:
    text = history.blob(f"v1:{MODEL}")
    history.write(MODEL, identity_of(text))
    history.git("add", MODEL)
    assert history.blob(f":{MODEL}") == text


def test_a_manifest_whose_data_were_never_stored_is_refused(history: GitRepo) -> None:
    clone = history.clone("clone")
    unsaved(history)
    history.git("add", MODEL)
    text = history.blob(f":{MODEL}")
    clone.write(MODEL, identity_of(text))
    done = clone.git("add", MODEL, check=False)
    assert f"{MODEL}: its data were never stored here" in done.stderr
    clone.remedy(done.stderr, f"git checkout -- {MODEL}")
    assert clone.digest(MODEL) == digest(version(1))
    assert clone.status() == []
    for name, part in (("head.safetensors", text[:300]), ("tail.safetensors", text.partition(b"\n")[2])):
        clone.write(name, part)
        done = clone.git("add", name, check=False)
        clone.remedy(done.stderr, f"rm {name}")
    assert clone.status() == []


def test_manifests_of_data_that_were_never_here_are_compared(history: GitRepo, plain: GitRepo) -> None:
    """Their digests say which tensors changed; nothing has to be stored for that."""
    for number in range(2):
        plain.stage(identity_of(history.blob(f"v{number}:{MODEL}")), MODEL)
        plain.commit_index(f"v{number}")
    shown = plain.theta("diff", "--stat", "HEAD~1", "HEAD").stdout
    assert "layer.1.weight | modified" in shown
    assert "1 of 5 tensors changed" in shown
