"""git theta mergetool, with answers from a file and in a terminal."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from git_repo import GitRepo, Once, changed, safetensors_bytes, weights
from merge_cases import answer

MODEL = "model.safetensors"


@pytest.fixture
def conflict(once: Once) -> GitRepo:
    """A merge of `other` that has left three tensors open: layer.0.weight, layer.1.weight, bias."""
    return once(stop)


def stop(repo: GitRepo) -> None:
    base = weights(0, count=2, shape=(8, 8))
    repo.write(MODEL, safetensors_bytes(base))
    repo.commit("base")
    repo.git("tag", "v0")
    for seed, branch in enumerate(("other", "main"), 1):
        repo.git("checkout", "-q", "-B", branch, "v0")
        repo.write(MODEL, safetensors_bytes(changed(base, seed=seed)))
        repo.commit(f"tune {branch}")
    assert repo.git("merge", "other", check=False).returncode == 1


def mixed() -> bytes:
    """bias of ours (2), layer.0 of theirs (1), layer.1 of the base."""
    base = weights(0, count=2, shape=(8, 8))
    ours, theirs = changed(base, seed=2), changed(base, seed=1)
    return safetensors_bytes(
        {
            "layer.0.weight": theirs["layer.0.weight"],
            "layer.1.weight": base["layer.1.weight"],
            "bias": ours["bias"],
        }
    )


def test_answers_for_a_tensor_a_layer_and_the_rest(conflict: GitRepo) -> None:
    code, said = answer(conflict, "# the bias comes first", "o", "", "theirs @layer", "base @all")
    assert code == 0, said
    assert "main: " in said  # who and which commit
    assert "A User" in said
    assert "tune other" in said
    assert "layer.0.weight" in said
    assert (conflict.path / MODEL).read_bytes() == mixed()
    assert conflict.status() == [f"M  {MODEL}"]
    conflict.git("commit", "-q", "--no-edit")


def test_what_is_left_open_is_asked_again(conflict: GitRepo) -> None:
    code, said = answer(conflict, "theirs @*.0.*", "skip @all")
    assert code == 1
    assert "2 tensors are still open" in said
    code, said = answer(conflict, "ours", "done")
    assert code == 1
    assert "layer.0.weight" not in said
    code, said = answer(conflict, "base @all")
    assert code == 0, said
    assert (conflict.path / MODEL).read_bytes() == mixed()


def test_wrong_answers_and_quit_change_nothing(conflict: GitRepo) -> None:
    before = (conflict.path / MODEL).read_bytes()
    for lines, words in (
        (["ours", "quit"], "nothing was decided"),
        (["nonsense"], "no merge strategy"),
        (["ours", "ties density=7"], "density=7"),
        (["ours @"], "after the @"),
        ([], "nothing was decided"),
    ):
        code, said = answer(conflict, *lines)
        assert code == 1
        assert words in said
        assert (conflict.path / MODEL).read_bytes() == before
        assert conflict.git("ls-files", "-u").stdout
    done = conflict.theta("mergetool", check=False)
    assert "--answers FILE" in done.stderr


def typed(repo: GitRepo, *lines: str) -> tuple[int, str]:
    """Type lines in a terminal; the exit code and what is shown there."""
    terminal, end = pty.openpty()
    shown = b""
    with subprocess.Popen(
        ["git", "theta", "mergetool"],
        cwd=repo.path,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    ) as process:
        os.close(end)
        os.write(terminal, "".join(f"{line}\n" for line in lines).encode())
        try:
            while data := os.read(terminal, 4096):
                shown += data
        except OSError:  # Linux says so when the other end is closed
            pass
    os.close(terminal)
    return process.returncode, shown.decode()


def test_in_a_terminal(conflict: GitRepo) -> None:
    """It asks again after a mistake, and explains what can be answered."""
    code, shown = typed(conflict, "?", "nonsense", "theirs @nothing.*", "o", "t @layer", "base @all")
    assert code == 0, shown
    assert "Answer with what to do:" in shown
    assert "'nonsense'" in shown
    assert "no tensor that is left matches nothing.*" in shown
    assert shown.count("bias? ") == 4
    assert "|theirs|" in shown
    assert (conflict.path / MODEL).read_bytes() == mixed()
    assert "To finish: git commit" in shown


def test_removed_on_one_side(conflict: GitRepo) -> None:
    conflict.git("merge", "--abort")
    conflict.git("checkout", "-q", "other")
    conflict.git("rm", "-q", MODEL)
    conflict.commit("remove it")
    conflict.git("checkout", "-q", "main")
    conflict.git("merge", "other", check=False)
    conflict.write(".git/answers", "theirs\n")
    conflict.theta("mergetool", MODEL, "--answers", ".git/answers")
    assert not (conflict.path / MODEL).exists()
    assert conflict.status() == [f"D  {MODEL}"]


def test_no_conflict(repo: GitRepo) -> None:
    code, said = answer(repo, "ours @all")
    assert code == 1
    assert "no checkpoint has a conflict" in said
