"""What is odd, and no bug: objects of impossible shapes, names like options, long names, far callers."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from hashlib import sha256

import pytest
from git_repo import GitRepo, changed, does, safetensors_bytes, weights
from terminals import on_a_terminal

from git_theta.objects.container_writer import ContainerWriter

MODEL = "model.safetensors"


def remade(data: bytes, width: int) -> bytes:
    """An object with arrays of another width, whole in all else."""
    file = io.BytesIO()
    writer = ContainerWriter(file)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.namelist():
            content = archive.read(entry)
            if entry.endswith("/zarr.json"):
                described = json.loads(content)
                described["shape"][1] = width
                content = json.dumps(described).encode()
            writer._begin_entry(entry.encode())
            writer._write(content)
            writer._end_entry(entry.encode())
    writer._directory()
    return file.getvalue()


def test_arrays_of_no_width_are_damage(repo: GitRepo, tmp_path) -> None:  # type: ignore[no-untyped-def]
    repo.write(MODEL, safetensors_bytes(weights(count=1, shape=(8, 8))))
    repo.commit("whole")
    text = repo.blob(f":{MODEL}").decode()
    for path in repo.objects():
        data = remade(path.read_bytes(), 0)
        oid = sha256(data).hexdigest()
        text = text.replace(path.name, oid).replace(path.name[:6], oid[:6])
        text = text.replace(f'"size":{path.stat().st_size}', f'"size":{len(data)}')
        repo.write(f".git/theta/objects/{oid[:2]}/{oid[2:4]}/{oid}", data)
    repo.write(".git/text", text)
    blob = repo.git("hash-object", "-w", "--no-filters", ".git/text").stdout.strip()
    repo.git("update-index", "--cacheinfo", f"100644,{blob},{MODEL}")
    repo.git("-c", "core.hooksPath=/dev/null", "commit", "-qm", "hostile")
    for command in (["clone", "-q", ".", str(tmp_path / "clone")], ["theta", "fsck"]):
        said = repo.refused("git", *command)
        assert "is not the shape of an array" in said
        assert MODEL in said
    assert "is not the shape of an array" in repo.theta("show", f"HEAD:{MODEL}", check=False).stdout


def test_a_name_that_begins_like_an_option(repo: GitRepo) -> None:
    name = "-x.safetensors"
    for seed, branch in ((0, "main"), (1, "side"), (2, "main")):
        repo.git("checkout", "-q", *(["-b"] if branch == "side" else []), branch)
        repo.write(name, safetensors_bytes(weights(seed, count=1, shape=(8, 8))))
        repo.commit(branch)
    shown = repo.git("diff", "--no-ext-diff", "--textconv", "HEAD~1", "HEAD", "--", name).stdout
    assert "+layer.0.weight" in shown
    assert "layer.0.weight" in repo.git("blame", "--", name).stdout
    for command in ("show", "log", "blame"):
        assert "0.weight" in repo.theta(command, "--", name).stdout or command == "log"
    repo.git("merge", "side", check=False)
    repo.theta("checkout", "--theirs", "--", name)
    assert repo.digest(name) == sha256(safetensors_bytes(weights(1, count=1, shape=(8, 8)))).hexdigest()
    repo.theta("checkout", "--ours", "--", name)
    repo.theta("resolve", "--theirs", "--", name)
    repo.git("commit", "-qm", "merged")
    assert repo.digest(name) == sha256(safetensors_bytes(weights(1, count=1, shape=(8, 8)))).hexdigest()


@pytest.mark.parametrize("letters", [240, 255])
def test_a_name_as_long_as_names_can_be(repo: GitRepo, letters: int) -> None:
    name = "n" * (letters - len(".safetensors")) + ".safetensors"
    base = weights(0, count=1, shape=(8, 8))
    for seed, branch in ((0, "main"), (1, "side"), (2, "main")):
        repo.git("checkout", "-q", *(["-b"] if branch == "side" else []), branch)
        repo.write(name, safetensors_bytes(changed(base, seed=seed) if seed else base))
        repo.commit(branch)
    repo.git("merge", "side", check=False)
    repo.theta("checkout", "--theirs", name)
    repo.theta("checkout", "--ours", name)
    assert repo.theta("resolve", name, "--tensor", "bias", "--theirs", check=False).returncode == 1
    repo.theta("resolve", name, "--ours")
    merged = changed(base, seed=2) | {"bias": changed(base, seed=1)["bias"]}
    assert repo.digest(name) == sha256(safetensors_bytes(merged)).hexdigest()
    repo.git("commit", "-qm", "merged")


def test_what_a_pager_starts_is_stored(repo: GitRepo) -> None:
    """`git log` only looks; a program that somebody starts from its pager stores all the same."""
    tool = repo.write(
        ".git/tool.py",
        "import subprocess, sys\n"
        f"text = subprocess.run(['git-theta', 'clean', '--', {MODEL!r}], stdin=open({MODEL!r}, 'rb'),"
        " stdout=subprocess.PIPE).stdout\n"
        "open('.git/cleaned', 'wb').write(text)\n",
    )
    data = safetensors_bytes(weights(5, count=1, shape=(8, 8)))
    repo.write(MODEL, data)
    on_a_terminal(repo.path, "git", "log", code=0, GIT_PAGER=f"{sys.executable} {tool}")
    cleaned = (repo.path / ".git" / "cleaned").read_bytes()
    (repo.path / MODEL).unlink()
    restored = repo.run("git-theta", "smudge", "--", MODEL, stdin=cleaned)
    assert "layer.0.weight" in restored.stdout


def test_a_file_that_the_system_refuses_is_named(repo: GitRepo) -> None:
    driver = ("git", "theta", "merge-driver", "side", "side", "side", "7", MODEL)
    said = repo.refused(*driver)
    assert "side: No such file or directory" in said
    does(said, "see that it is there, and can be read and written; then type the command again")
    repo.write(MODEL, safetensors_bytes(weights(count=1, shape=(8, 8))))
    repo.commit("model")
    repo.write("side", repo.blob(f":{MODEL}"))
    repo.run(*driver)
    said = repo.refused("git", "theta", "textconv", "n" * 300)
    assert "File name too long" in said
    does(said, "see that it is there, and can be read; then type the command again")
    assert "layer.0.weight" in repo.theta("textconv", MODEL).stdout
