"""Tools that call the filters in their own way: dulwich does not say which file it cleans."""

from __future__ import annotations

import subprocess

import pytest
from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

MODEL = "model.safetensors"


def clean(repo: GitRepo, data: bytes, name: str = "") -> subprocess.CompletedProcess[bytes]:
    command = ["git-theta", "clean", "--", name]
    return subprocess.run(command, cwd=repo.path, input=data, capture_output=True)


def packets(*lines: bytes) -> bytes:
    """Lines of the filter protocol; an empty one is a flush."""
    return b"".join(b"%04x%s" % (len(line) + 4, line) if line else b"0000" for line in lines)


def asked(repo: GitRepo, operation: bytes, data: bytes) -> bytes:
    """What the filter process answers when dulwich asks it."""
    pieces = [data[start : start + 65516] for start in range(0, len(data), 65516)]
    hello = packets(b"git-filter-client", b"version=2", b"", b"capability=clean", b"capability=smudge", b"")
    request = packets(b"command=" + operation, b"pathname=", b"", *pieces, b"")
    done = subprocess.run(
        ["git-theta", "filter-process"], cwd=repo.path, input=hello + request, capture_output=True, check=True
    )
    answer = done.stdout.partition(packets(b"status=success\n", b""))[2]
    assert answer, done
    found = b""
    while size := int(answer[:4], 16):
        found, answer = found + answer[4:size], answer[size:]
    return found


def test_unchanged_file_without_a_name_is_the_same_blob(history: GitRepo) -> None:
    history.write("other.safetensors", safetensors_bytes(weights(3)))
    history.commit("another one")
    before = history.objects()
    for name in (MODEL, "other.safetensors"):
        data, recorded = (history.path / name).read_bytes(), history.blob(f"HEAD:{name}")
        assert clean(history, data).stdout == recorded
        assert asked(history, b"clean", data) == recorded
    assert history.objects() == before


def test_changed_file_without_a_name_is_stored_as_an_update(history: GitRepo) -> None:
    data = safetensors_bytes(changed(weights(0), "layer.2.weight"))
    before = {path.name for path in history.objects()}
    text = asked(history, b"clean", data)
    assert b'"update":"delta"' in text
    assert asked(history, b"smudge", text) == data
    sizes = [path.stat().st_size for path in history.objects() if path.name not in before]
    assert 0 < sum(sizes) < len(data) / 4


def test_nothing_of_it_needs_a_commit_or_an_index(repo: GitRepo) -> None:
    text = clean(repo, version(0)).stdout
    assert asked(repo, b"smudge", text) == version(0)


@pytest.mark.parametrize("folder", ["", "folder"])
def test_smudge_without_a_name(history: GitRepo, folder: str) -> None:
    (history.path / "folder").mkdir()
    where = GitRepo(history.path / folder)
    text = history.blob(f"HEAD:{MODEL}")
    done = subprocess.run(["git-theta", "smudge", "--", ""], cwd=where.path, input=text, capture_output=True)
    assert digest(done.stdout) == digest(version(1))
    assert clean(where, version(1)).stdout == text


def test_messages_without_a_name(history: GitRepo, pushed: GitRepo) -> None:
    cut = clean(history, version(1)[:9000]).stderr.decode()
    assert cut.startswith("error: the file is cut off in tensor")
    assert clean(history, b"no checkpoint").stderr.decode().startswith("no known checkpoint format")
    clone = pushed.clone("clone", "--no-checkout")
    for path in pushed.objects():
        path.unlink()
    text = clone.blob(f"HEAD:{MODEL}")
    lost = clone.run("git-theta", "smudge", "--", "", stdin=text, check=False)
    assert lost.returncode
    assert lost.stdout == ""
    assert lost.stderr.startswith("error: 6 objects are missing (origin does not have it)")
    history.remedy(lost.stderr, f"git theta push --all {pushed.path}")
    clone.remedy(lost.stderr, "git theta fetch origin --all")
    again = subprocess.run(["git-theta", "smudge", "--", ""], cwd=clone.path, input=text, capture_output=True)
    assert again.stdout == version(1)
